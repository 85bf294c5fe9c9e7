# services.edgerotate: a device that rotates its credentials, beats and replicates.
#
# The units are those of systemd/, out of the package, and so are the sandbox and the directories; this adds what NixOS
# keeps elsewhere: which units are wanted, users, settings.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) types;
  cfg = config.services.edgerotate;

  table = import ./settings.nix { inherit lib; };
  envFile = import ./env-file.nix { inherit lib; };
  install = import ./install.nix { inherit lib; };
  hsms = import ./hsm.nix { inherit lib pkgs; };
  hsm = hsms.${cfg.pkcs11.hsm};

  # What systemd/ has for every image; the options start from it.
  imageDefaults = envFile.read (builtins.readFile ../../systemd/edgerotate.env);

  settingOptions = lib.foldl' lib.recursiveUpdate { } (
    map (
      setting:
      lib.setAttrByPath setting.path (
        lib.mkOption {
          type = types.nullOr setting.type;
          default = imageDefaults.${setting.key} or null;
          description = "${setting.description} Written as `${setting.key}`.";
        }
      )
    ) table
  );

  # Key by key, as edgerotate reads it.
  written = lib.filterAttrs (_: value: value != null) (
    {
      EDGEROTATE_PKCS11_MODULE = cfg.pkcs11.module;
    }
    // lib.listToAttrs (
      map (setting: lib.nameValuePair setting.key (lib.getAttrFromPath setting.path cfg)) table
    )
    // cfg.settings
  );

  # Not for this machine's processor, perhaps: then the one that builds has its own.
  checker =
    if pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then
      cfg.package
    else
      pkgs.buildPackages.callPackage ../package.nix { };

  settingsFile =
    pkgs.runCommand "edgerotate.env"
      {
        content = envFile.write written;
        passAsFile = [ "content" ];
      }
      ''
        cp "$contentPath" $out
        ${lib.getExe checker} check --config-only --config $out
      '';

  # What this device has besides, for the daemon and for the gate, which looks at the same things.
  reach.serviceConfig = {
    ReadWritePaths = lib.unique (
      map dirOf (
        lib.optionals (cfg.guard.databases != null) cfg.guard.databases
        ++ lib.optional (cfg.metricsFile != null) cfg.metricsFile
      )
    );
    LoadCredential = lib.mkIf (cfg.pkcs11.pinCredential != null) "pin:${cfg.pkcs11.pinCredential}";
    # As in systemd/pin-credential.conf.
    SetCredential = lib.mkIf (cfg.pkcs11.pinCredential != null) "pin:\\n";
    Environment = lib.mkIf (cfg.pkcs11.pinCredential != null) "EDGEROTATE_PKCS11_PIN_FILE=%d/pin";
  };

  hsmFiles = pkgs.runCommand "edgerotate-hsm-${cfg.pkcs11.hsm}" { } ''
    ln -s ${cfg.package}/share/edgerotate/hsm/${cfg.pkcs11.hsm} $out
  '';
in
{
  imports = [
    ./assertions.nix
    ./litestream.nix
  ];

  options.services.edgerotate = lib.recursiveUpdate settingOptions {
    enable = lib.mkEnableOption "edgerotate, which keeps short-lived AWS credentials fresh";

    package = lib.mkOption {
      type = types.package;
      default = pkgs.callPackage ../package.nix { };
      defaultText = lib.literalExpression "edgerotate's own flake's package";
      description = "The package with the program and its units.";
    };

    pkcs11.hsm = lib.mkOption {
      type = types.nullOr (types.enum (lib.attrNames hsms));
      default = null;
      example = "tpm2";
      description = ''
        The device's HSM: brings what edgerotate's unit may reach of it, what NixOS needs for it, and
        {option}`services.edgerotate.pkcs11.module`. `softhsm` protects nothing and is for trials. Only `softhsm` was tried
        by the project.
      '';
    };

    pkcs11.module = lib.mkOption {
      type = types.nullOr (types.strMatching "/.*");
      default = if cfg.pkcs11.hsm == null then null else hsm.module;
      defaultText = lib.literalExpression "the HSM's, as far as nixpkgs has it";
      example = lib.literalExpression ''"''${cryptoauthlib}/lib/libcryptoauth.so"'';
      description = "The HSM's PKCS#11 module, a shared library. Written as `EDGEROTATE_PKCS11_MODULE`.";
    };

    pkcs11.pinCredential = lib.mkOption {
      type = types.nullOr (types.strMatching "/.*");
      default = null;
      example = "/run/secrets/pin";
      description = ''
        File with the token's PIN that need be readable to root only: systemd hands it to edgerotate when it starts;
        with another PIN, edgerotate has to be restarted. Instead of {option}`services.edgerotate.pkcs11.pinFile`.
      '';
    };

    settings = lib.mkOption {
      type = types.attrsOf (
        types.oneOf [
          types.str
          types.int
          types.bool
        ]
      );
      default = { };
      example = {
        EDGEROTATE_LOG = "debug";
      };
      description = "Further settings by their keys, for what has no option here.";
    };

    settingsFile = lib.mkOption {
      type = types.package;
      readOnly = true;
      default = settingsFile;
      defaultText = lib.literalExpression "the settings";
      description = "The settings as a file, which edgerotate itself found in order.";
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge (
      [
        {
          environment.systemPackages = [ cfg.package ];
          environment.etc."edgerotate/edgerotate.env".source = cfg.settingsFile;

          systemd.packages = [ cfg.package ];
          systemd.tmpfiles.packages = [ cfg.package ];
          systemd.services = lib.mkMerge [
            install.services
            { edgerotate.restartTriggers = [ cfg.settingsFile ]; }
            (lib.mapAttrs (_: _: reach) install.services)
          ];
          systemd.paths = install.paths;
          # So that no other program takes the port while edgerotate restarts; as systemd/units/edgerotate.socket.
          systemd.sockets.edgerotate = lib.mkIf (cfg.delivery == "endpoint" || cfg.endpointListen != null) {
            description = "Where this device's programs ask for AWS credentials";
            wantedBy = [ "sockets.target" ];
            socketConfig = {
              ListenStream = [
                ""
                (if cfg.endpointListen == null then "127.0.0.1:9170" else cfg.endpointListen)
              ];
              FlushPending = "yes";
              TriggerLimitIntervalSec = 0;
            };
          };

          # As in systemd/sysusers.conf: the data partition keeps the numbers.
          users.users.edgerotate = {
            uid = 780;
            isSystemUser = true;
            group = "edgerotate";
            extraGroups = [ "replica" ];
            description = "edgerotate";
          };
          users.groups.edgerotate.gid = 780;
          users.groups.replica.gid = 782;
        }

        (lib.mkIf (cfg.pkcs11.hsm != null) {
          systemd.packages = [ hsmFiles ];
          services.udev.packages = [ hsmFiles ];
          # polkit's rules among them.
          environment.systemPackages = [ hsmFiles ];
        })
        (lib.mkIf (cfg.pkcs11.hsm == "softhsm" || cfg.pkcs11.hsm == "tpm2") {
          systemd.tmpfiles.packages = [ hsmFiles ];
        })
      ]
      ++ lib.mapAttrsToList (name: of: lib.mkIf (cfg.pkcs11.hsm == name) of.config) hsms
    )
  );
}
