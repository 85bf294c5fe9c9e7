# What builds: the shapes of nixpkgs' builders, with the host's compilers.
{
  lib,
  host,
  pkgs,
  buildPlatform,
  hostPlatform,
}:
let
  derivation =
    script: attrs:
    let
      own = builtins.removeAttrs attrs [
        "cargoLock"
        "meta"
        "passthru"
      ];
      built = builtins.derivation (
        {
          builder = "/bin/bash";
          args = [
            "-eu"
            script
          ];
          name = attrs.name or "${attrs.pname}-${attrs.version}";
          # What is listed is there to be run; what it is made with is the host's.
          nativePath = lib.makeBinPath (attrs.nativeBuildInputs or [ ]);
          hostPath = host.path;
        }
        // own
        // {
          inherit (buildPlatform) system;
        }
      );
    in
    built
    // {
      meta = attrs.meta or { };
      version = attrs.version or "";
      pname = attrs.pname or attrs.name;
    }
    // (attrs.passthru or { });
in
{
  stdenv = {
    inherit buildPlatform hostPlatform;
  };

  runCommand =
    name: attrs: text:
    derivation ./command.sh (
      {
        inherit name text;
      }
      // attrs
    );
  runCommandLocal = pkgs.runCommand;
  writeText = name: text: pkgs.writeTextFile { inherit name text; };
  writeTextFile =
    {
      name,
      text,
      destination ? "",
      executable ? false,
    }:
    pkgs.runCommand name { content = text; } ''
      mkdir -p "$(dirname $out${destination})"
      printf %s "$content" >$out${destination}
      ${lib.optionalString executable "chmod 755 $out${destination}"}
    '';
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
    }:
    pkgs.writeTextFile {
      inherit name;
      destination = "/bin/${name}";
      executable = true;
      text = ''
        #!/bin/bash
        set -euo pipefail
        PATH=${lib.makeBinPath runtimeInputs}:$PATH
        ${text}
      '';
    }
    // {
      meta.mainProgram = name;
    };
  mkShell = attrs: pkgs.runCommand "shell" attrs "touch $out";

  makeBinaryWrapper = pkgs.runCommand "wrapper" { pname = "wrapper"; } ''
    install -D -m 755 ${./wrap-program} $out/bin/wrapProgram
  '';

  rustPlatform.buildRustPackage =
    attrs:
    derivation ./rust.sh (
      {
        CARGO_HOME = host.cargoHome;
        RUSTUP_HOME = host.rustupHome;
        inherit (host) cache;
        rustTarget = hostPlatform.rust.rustcTarget;
        cross = "${host.cross}/${hostPlatform.system}/environment";
        rustBuild = buildPlatform.rust.rustcTarget;
        doCheck = attrs.doCheck or true && buildPlatform.canExecute hostPlatform;
      }
      // attrs
    );

  formats.yaml = _: {
    # A YAML reader reads JSON.
    type = lib.types.value;
    generate = name: value: pkgs.writeText name (builtins.toJSON value);
  };
}
