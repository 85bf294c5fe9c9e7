# Units: those of packages, those of options, and an option's as a drop-in where a package has that unit.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.systemd;
  strings = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };
  section = mkOption {
    type = types.attrsOf types.anything;
    default = { };
  };

  common = {
    enable = mkOption {
      type = types.bool;
      default = true;
    };
    description = mkOption {
      type = types.str;
      default = "";
    };
    after = strings;
    before = strings;
    requires = strings;
    wants = strings;
    wantedBy = strings;
    requiredBy = strings;
    onFailure = strings;
    unitConfig = section;
  };
  units =
    options:
    mkOption {
      type = types.attrsOf (types.submodule { options = common // options; });
      default = { };
    };
  packages = mkOption {
    type = types.listOf types.package;
    default = [ ];
  };

  lines =
    set:
    lib.concatStrings (
      lib.mapAttrsToList (
        name: value: lib.concatMapStrings (v: "${name}=${text v}\n") (lib.toList value)
      ) set
    );
  text = v: if builtins.isBool v then lib.boolToString v else toString v;
  list = name: value: lib.optionalAttrs (value != [ ]) { ${name} = toString value; };
  unit =
    def: body:
    "[Unit]\n"
    + lines (
      lib.optionalAttrs (def.description != "") { Description = def.description; }
      // list "After" def.after
      // list "Before" def.before
      // list "Requires" def.requires
      // list "Wants" def.wants
      // list "OnFailure" def.onFailure
      // def.unitConfig
    )
    + body;
  service =
    def:
    unit def (
      "\n[Service]\n"
      + lib.concatStrings (
        lib.mapAttrsToList (name: value: "Environment=${name}=${value}\n") def.environment
      )
      + lib.optionalString (
        def.restartTriggers != [ ]
      ) "X-Restart-Triggers=${toString def.restartTriggers}\n"
      + lines (
        def.serviceConfig
        // lib.optionalAttrs (def.script != "") {
          ExecStart = pkgs.writeTextFile {
            name = "script";
            text = "#!/bin/bash\nset -e\n${def.script}";
            executable = true;
          };
        }
      )
    );

  named =
    suffix: render: set:
    lib.mapAttrsToList (name: def: {
      name = "${name}.${suffix}";
      inherit (def) wantedBy requiredBy;
      text = render def;
    }) (lib.filterAttrs (_: def: def.enable) set);
  all =
    named "service" service cfg.services
    ++ named "path" (def: unit def ("\n[Path]\n" + lines def.pathConfig)) cfg.paths
    ++ named "socket" (def: unit def ("\n[Socket]\n" + lines def.socketConfig)) cfg.sockets
    ++ named "target" (def: unit def "") cfg.targets;
in
{
  options.systemd = {
    inherit packages;
    enableEmergencyMode = mkOption {
      type = types.bool;
      default = true;
    };
    package = lib.mkPackageOption pkgs "systemd" { };
    tmpfiles.packages = packages;
    services = units {
      environment = section;
      path = mkOption {
        type = types.listOf types.anything;
        default = [ ];
      };
      script = mkOption {
        type = types.lines;
        default = "";
      };
      restartTriggers = mkOption {
        type = types.listOf types.anything;
        default = [ ];
      };
      serviceConfig = section;
    };
    paths = units { pathConfig = section; };
    sockets = units { socketConfig = section; };
    targets = units { };
  };

  # Whoever asks for the system gets its units and its files.
  config.system.build.toplevel = pkgs.runCommand "nixos-system" { } (
    "mkdir -p $out/etc\n"
    + lib.concatStrings (
      lib.mapAttrsToList (name: file: ''
        mkdir -p $out/etc/$(dirname ${name}) && cp -rL ${file.source} $out/etc/${name}
      '') config.environment.etc
    )
    + "ln -s ${config.system.build.units} $out/units\n"
  );
  config.system.build.units = pkgs.runCommand "system-units" { } (
    ''
      mkdir $out
      for package in ${toString cfg.packages}; do
        cp -rL --no-preserve=mode $package/lib/systemd/system/. $out/
      done
    ''
    + lib.concatMapStrings (
      def:
      ''
        unit=$out/${def.name}
        [ ! -e $unit ] || { mkdir -p $unit.d && unit=$unit.d/overrides.conf; }
        cp ${
          pkgs.writeTextFile {
            name = "unit";
            inherit (def) text;
          }
        } $unit
      ''
      + lib.concatMapStrings (target: ''
        mkdir -p $out/${target}.wants && ln -s ../${def.name} $out/${target}.wants/
      '') def.wantedBy
      + lib.concatMapStrings (target: ''
        mkdir -p $out/${target}.requires && ln -s ../${def.name} $out/${target}.requires/
      '') def.requiredBy
    ) all
  );
}
