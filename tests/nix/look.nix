# One configuration of a device, and what the checks look at in it.
{ nixosSystem, modules }:

let
  nixos = nixosSystem { modules = [ ../../nix/module ] ++ modules; };
  inherit (nixos) config;
  inherit (nixos.pkgs) lib;
  cfg = config.services.edgerotate;
in
{
  inherit config;
  inherit (cfg) package settingsFile;
  # What the module itself has against the configuration, when the real NixOS is asked: its other modules have packages to
  # ask for that are not there.
  refusals = map (assertion: assertion.message) (
    builtins.filter (assertion: !assertion.assertion) (
      builtins.concatMap (definition: definition.value) (
        builtins.filter (
          definition: lib.hasPrefix (toString ../../nix/module) (toString definition.file)
        ) nixos.options.assertions.definitionsWithLocations
      )
    )
  );
  inherit (config.system.build) units;
  litestream = config.services.litestream.settings;
  keys = map (setting: setting.key) (import ../../nix/module/settings.nix { inherit lib; });
  # As systemd-sysusers reads them.
  users =
    let
      ids =
        kind: of: id:
        lib.concatStrings (
          lib.mapAttrsToList (name: user: "${kind} ${name} ${toString user.${id}}\n") (
            lib.filterAttrs (_: user: (user.${id} or null) != null) of
          )
        );
    in
    ids "u" config.users.users "uid" + ids "g" config.users.groups "gid";
}
