# Files, users, hardware.
{ lib, pkgs, ... }:
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
    fileSystems = named {
      device = unset types.str;
      fsType = unset types.str;
      options = list;
    };
    hardware.i2c.enable = switch;
    security.tpm2.enable = switch;
    security.polkit.enable = switch;
    nix.package = lib.mkPackageOption pkgs "nix" { };
    # What it holds is a configuration of its own: whoever asks for the system evaluates it together with the rest.
    specialisation = named { configuration = mkOption { type = types.anything; }; };
    system.stateVersion = unset types.str;
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
