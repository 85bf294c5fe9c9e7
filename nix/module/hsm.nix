# Each HSM of systemd/hsm: where nixpkgs has its PKCS#11 module, and what of NixOS belongs to it. What edgerotate's unit may
# reach of it stands in systemd/hsm, and comes with the package.
{ pkgs, lib }:

{
  softhsm = {
    module = "${lib.getLib pkgs.softhsm}/lib/softhsm/libsofthsm2.so";
    config.environment.systemPackages = [
      pkgs.softhsm
      pkgs.opensc
    ];
  };
  tpm2 = {
    module = "${lib.getLib pkgs.tpm2-pkcs11}/lib/libtpm2_pkcs11.so";
    config = {
      # The group tss, and the rule that gives it the device.
      security.tpm2.enable = true;
      users.users.edgerotate.extraGroups = [ "tss" ];
      # As in systemd/hsm/tpm2.env: for edgerotate's commands by hand.
      services.edgerotate.pkcs11.moduleEnvironment = lib.mkDefault [
        "TPM2_PKCS11_TCTI=device:/dev/tpmrm0"
        "TPM2_PKCS11_STORE=/data/edgerotate/tpm2"
      ];
      environment.systemPackages = [ pkgs.tpm2-pkcs11 ];
    };
  };
  opensc = {
    module = "${lib.getLib pkgs.opensc}/lib/opensc-pkcs11.so";
    config = {
      services.pcscd.enable = true;
      security.polkit.enable = true;
      environment.systemPackages = [ pkgs.opensc ];
    };
  };
  optee = {
    module = "${lib.getLib pkgs.optee-client}/lib/libckteec.so";
    config.users.groups.teeclnt = { };
    config.users.users.edgerotate.extraGroups = [ "teeclnt" ];
  };
  # nixpkgs has no cryptoauthlib: its path is yours to give.
  atecc608 = {
    module = null;
    config.hardware.i2c.enable = true;
    config.users.users.edgerotate.extraGroups = [ "i2c" ];
  };
}
