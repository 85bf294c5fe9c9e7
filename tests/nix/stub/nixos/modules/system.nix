# Files, users, hardware.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  list = mkOption {
    type = types.listOf types.anything;
    default = [ ];
  };
  switch = mkOption {
    type = types.bool;
    default = false;
  };
  named =
    options:
    mkOption {
      type = types.attrsOf (types.submodule { inherit options; });
      default = { };
    };
  unset =
    type:
    mkOption {
      type = types.nullOr type;
      default = null;
    };
in
{
  options = {
    assertions = list;
    warnings = list;
    boot.kernelModules = list;
    environment.systemPackages = list;
    environment.etc = named {
      source = mkOption { type = types.path; };
      mode = unset types.str;
    };
    hardware.i2c.enable = switch;
    security.tpm2.enable = switch;
    security.polkit.enable = switch;
    users.users = named {
      uid = unset types.int;
      isSystemUser = switch;
      isNormalUser = switch;
      group = unset types.str;
      extraGroups = list;
      description = unset types.str;
      password = unset types.str;
    };
    users.groups = named { gid = unset types.int; };
    system.build = mkOption {
      type = types.attrsOf types.anything;
      default = { };
    };
  };
}
