# NixOS, as far as edgerotate's module and image touch it: the options they set, units as text, and assertions.
{
  lib,
  pkgs,
  modules,
  modulesPath,
  specialArgs ? { },
}:
let
  evaluated = lib.evalModules {
    modules = [
      ./modules/system.nix
      ./modules/systemd.nix
      ./modules/services.nix
    ]
    ++ modules;
    specialArgs = {
      inherit pkgs modulesPath;
    }
    // specialArgs;
  };
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) evaluated.config.assertions);
  checked =
    if failed == [ ] then
      evaluated.config
    else
      throw "\nFailed assertions:\n${lib.concatMapStrings (message: "- ${message}\n") failed}";
in
{
  inherit (evaluated) options;
  inherit pkgs;
  config = checked;
}
