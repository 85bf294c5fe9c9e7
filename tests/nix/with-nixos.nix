# The real NixOS modules and the real lib, with the stand-in's packages: what proves that nixpkgs has each option that the
# module sets, of that type.
{
  nixos,
  lib,
  stub,
}:

let
  realLib = import (lib + "/lib");
  pkgs =
    import (stub + "/pkgs") {
      lib = realLib;
      system = "x86_64-linux";
    }
    //
      realLib.genAttrs
        [
          "coreutils"
          "zfs"
          "polkit"
          "pcscliteWithPolkit"
          "bash"
          "bcache-tools"
          "lvm2"
          "dbus"
          "findutils"
          "glibcLocales"
          "gnugrep"
          "gnused"
          "kexec-tools"
          "shadow"
          "tzdata"
        ]
        (
          name:
          realLib.makeOverridable (
            _:
            pkgs.runCommand name {
              pname = name;
              version = "99";
            } "exit 1"
          ) { }
        )
    // {
      _type = "pkgs";
      config = { };
      overlays = [ ];
      stdenv =
        let
          platform = realLib.systems.elaborate "x86_64-linux";
        in
        platform
        // {
          hostPlatform = platform;
          buildPlatform = platform;
          cc.bintools.dynamicLinker = "/lib64/ld-linux-x86-64.so.2";
        };
      writeShellScriptBin =
        name: text:
        let
          script = pkgs.writeTextFile {
            inherit name text;
            executable = true;
            destination = "/bin/${name}";
          };
        in
        script // { overrideAttrs = _: script; };
      linuxPackages = {
        kernel = pkgs.coreutils // {
          kernelOlder = _: false;
          kernelAtLeast = _: true;
          features = { };
        };
        extend = _: pkgs.linuxPackages;
      };
      appendOverlays = _: pkgs;
      __splicedPackages = pkgs;
      # Other modules' options ask for these types; only YAML is written.
      formats =
        realLib.genAttrs
          [
            "elixirConf"
            "gitIni"
            "hocon"
            "ini"
            "iniWithGlobalSection"
            "javaProperties"
            "json"
            "keyValue"
            "libconfig"
            "lua"
            "nixConf"
            "php"
            "pythonVars"
            "systemd"
            "toml"
            "xml"
            "yaml"
          ]
          (
            _: _: {
              type = realLib.types.attrsOf realLib.types.anything;
              generate = name: value: pkgs.writeText name (builtins.toJSON value);
            }
          );
    };
in
{
  nixosSystem =
    { modules }:
    import (nixos + "/nixos/lib/eval-config.nix") {
      lib = realLib;
      system = null;
      modules = modules ++ [
        {
          nixpkgs.pkgs = pkgs;
          # What this asks of packages is not to the point.
          environment.stub-ld.enable = false;
          system.stateVersion = realLib.mkDefault "25.05";
        }
      ];
    };
}
