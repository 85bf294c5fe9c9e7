# An image for a 64-bit Raspberry Pi or any board that boots from it: edgerotate, a data partition of its own, and the way
# back to the last good generation. A device's own project imports this and adds its endpoint, its HSM and its access.
{
  lib,
  modulesPath,
  pkgs,
  ...
}:

{
  imports = [
    "${modulesPath}/installer/sd-card/sd-image-aarch64.nix"
    ../module
    ./data-partition.nix
    ./rollback.nix
  ];

  services.edgerotate = {
    enable = true;
    # The fleet's; these are examples. A device that is not provisioned beats, and says what it lacks.
    endpoint = lib.mkDefault "c1a2b3c4d5e6f7.credentials.iot.eu-west-1.amazonaws.com";
    roleAlias = lib.mkDefault "litestream-replica";
    litestream.bucket = lib.mkDefault "example-device-replicas";
    pkcs11.hsm = lib.mkDefault "tpm2";
  };

  # Nothing is logged to flash for ever. By a file, as NixOS 26.11 has another option for this than 26.05.
  environment.etc."systemd/journald.conf.d/size.conf".source = pkgs.writeText "size.conf" ''
    [Journal]
    SystemMaxUse=64M
  '';
  system.stateVersion = "26.05";
}
