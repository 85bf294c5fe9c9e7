# What would be wrong on the device is said when the image is built.
{ config, lib, ... }:

let
  cfg = config.services.edgerotate;
  table = import ./settings.nix { inherit lib; };

  inStore = path: path != null && lib.hasPrefix builtins.storeDir path;
  optionOf = lib.listToAttrs (
    map (setting: lib.nameValuePair setting.key (lib.concatStringsSep "." setting.path)) table
    ++ [ (lib.nameValuePair "EDGEROTATE_PKCS11_MODULE" "pkcs11.module") ]
  );
  secret = {
    "pkcs11.pinFile" = cfg.pkcs11.pinFile;
    "pkcs11.pinCredential" = cfg.pkcs11.pinCredential;
    "proxy.userFile" = cfg.proxy.userFile;
    inherit (cfg) privateKey;
  };
  byToken = cfg.privateKey != null && lib.hasPrefix "pkcs11:" cfg.privateKey;
in
{
  config.assertions = lib.mkIf cfg.enable (
    lib.mapAttrsToList (option: path: {
      assertion = !inStore path;
      message = ''
        services.edgerotate.${option} names a file in the Nix store, which every user of the device can read. Name a file
        that is brought to the device by itself, as a string: "/data/edgerotate/…".
      '';
    }) secret
    ++ [
      {
        assertion = cfg.pkcs11.pinFile == null || cfg.pkcs11.pinCredential == null;
        message = "services.edgerotate: set pkcs11.pinFile or pkcs11.pinCredential, not both.";
      }
      {
        assertion =
          !(lib.any (lib.hasInfix "pin-value=") (
            lib.filter lib.isString ([ cfg.privateKey ] ++ lib.attrValues cfg.settings)
          ));
        message = ''
          services.edgerotate: a pkcs11: URI has the PIN in it (pin-value=), and would be written to the Nix store, which
          every user of the device can read. Put the PIN into a file on the device, and its path into
          services.edgerotate.pkcs11.pinFile.
        '';
      }
      {
        assertion = byToken -> cfg.pkcs11.module != null;
        message = ''
          services.edgerotate: the key is in a token (${toString cfg.privateKey}), and nothing says by which PKCS#11 module
          it is reached. Set services.edgerotate.pkcs11.hsm, or services.edgerotate.pkcs11.module to the library's path.
        '';
      }
      {
        assertion =
          byToken && cfg.pkcs11.route != "provider" -> lib.versionOlder cfg.package.openssl.version "4";
        message = ''
          services.edgerotate: OpenSSL ${cfg.package.openssl.version} has no engines, by which the token would be reached.
          Set services.edgerotate.pkcs11.route = "provider", or build the package with OpenSSL 3.
        '';
      }
    ]
    ++ lib.mapAttrsToList (key: _: {
      assertion = !(optionOf ? ${key});
      message = ''
        services.edgerotate.settings.${key} has an option of its own: use services.edgerotate.${optionOf.${key} or ""}.
      '';
    }) cfg.settings
  );
}
