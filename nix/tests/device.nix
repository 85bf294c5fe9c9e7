# A device with its cloud on itself: the names of the test cloud end in .localhost.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.edgerotate;
  cloud = pkgs.callPackage ../cloud.nix { };

  # As it is done in the field (docs/provisioning.md); the cloud stands in for AWS.
  provision = pkgs.writeShellApplication {
    name = "provision";
    runtimeInputs = [
      pkgs.curl
      pkgs.jq
      pkgs.opensc
      pkgs.openssl
      pkgs.softhsm
      pkgs.util-linux
    ];
    text = ''
      module=${cfg.pkcs11.module}
      as_edgerotate() {
        runuser -u edgerotate -- env \
          SOFTHSM2_CONF=${cfg.package}/share/edgerotate/hsm/softhsm/lib/edgerotate/softhsm2.conf \
          PKCS11_MODULE_PATH=$module OPENSSL_ENGINES=${lib.getLib pkgs.libp11}/lib/engines "$@"
      }
      cloud() { jq -r ".$1" /var/lib/cloud/cloud.json; }

      as_edgerotate softhsm2-util --init-token --free --label edgerotate --so-pin 11223344 --pin 55667788
      as_edgerotate pkcs11-tool --module "$module" --token-label edgerotate --login --pin 55667788 \
        --keypairgen --key-type EC:prime256v1 --sensitive --usage-sign --label device --id 01
      install -m 640 -g edgerotate <(echo 55667788) /data/edgerotate/pin
      csr=$(as_edgerotate openssl req -new -sha256 -engine pkcs11 -keyform engine -subj /CN=vm \
        -key 'pkcs11:token=edgerotate;object=device;type=private' -passin file:/data/edgerotate/pin)

      jq -n --arg csr "$csr" '{csr: $csr, thing: "vm"}' |
        curl --fail --silent --data @- "$(cloud control)/certificates" |
        jq -r .certificate_pem >/data/edgerotate/device.crt
      cp "$(cloud ca_file)" /data/edgerotate/ca.pem
      chmod 644 /data/edgerotate/ca.pem

      cat >/data/edgerotate/device.env.new <<END
      EDGEROTATE_ENDPOINT=$(cloud endpoint)
      EDGEROTATE_ROLE_ALIAS=$(cloud role_alias)
      EDGEROTATE_THING_NAME=vm
      EDGEROTATE_PKCS11_PIN_FILE=/data/edgerotate/pin
      EDGEROTATE_CA_FILE=/data/edgerotate/ca.pem
      EDGEROTATE_REGION=$(cloud region)
      END
      chgrp edgerotate /data/edgerotate/device.env.new
      chmod 640 /data/edgerotate/device.env.new
      mv /data/edgerotate/device.env.new /data/edgerotate/device.env
    '';
  };
in
{
  services.edgerotate = {
    enable = true;
    # The build wants them; what the device is given goes before.
    endpoint = "c1a2b3c4d5e6f7.credentials.iot.eu-west-1.amazonaws.com";
    roleAlias = "litestream-replica";
    pkcs11.hsm = "softhsm";
    litestream.bucket = "replica";
    heartbeat.interval = lib.mkDefault "1s";
  };

  services.litestream.settings = lib.mkForce {
    dbs = [
      {
        path = cfg.database;
        replica = {
          type = "s3";
          bucket = "replica";
          path = "\${EDGEROTATE_THING_NAME}/v0.5/heartbeat";
          region = "\${AWS_DEFAULT_REGION}";
          endpoint = "http://127.0.0.1:9000";
          force-path-style = true;
          sync-interval = "1s";
        };
      }
    ];
  };

  systemd.services.cloud = {
    description = "The test cloud";
    wantedBy = [ "multi-user.target" ];
    serviceConfig = {
      ExecStart = "${lib.getExe cloud} --directory /var/lib/cloud --lifetime 60";
      StateDirectory = "cloud";
    };
  };
  # litestream.yml is the image's, and the cloud's port is another each time.
  systemd.services.s3 = {
    description = "The test cloud's S3 at a port that is known";
    wantedBy = [ "multi-user.target" ];
    after = [ "cloud.service" ];
    path = [
      pkgs.jq
      pkgs.socat
    ];
    serviceConfig.Restart = "always";
    script = ''
      port=$(jq -r .s3_endpoint /var/lib/cloud/cloud.json | sed 's/.*://')
      exec socat TCP-LISTEN:9000,bind=127.0.0.1,fork,reuseaddr TCP:127.0.0.1:"$port"
    '';
  };

  environment.systemPackages = [
    provision
    pkgs.jq
    pkgs.sqlite
  ];
}
