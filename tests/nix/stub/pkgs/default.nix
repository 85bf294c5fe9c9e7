# Packages: some that build, by the host's tools; some that are the host's own, linked to; and names, for all that is only
# evaluated.
{
  lib,
  system,
  target ? system,
}:
let
  host = import ../host.nix;

  platform = name: {
    system = name;
    isLinux = true;
    canExecute = other: other.system == name;
    rust.rustcTarget =
      {
        x86_64-linux = "x86_64-unknown-linux-gnu";
        aarch64-linux = "aarch64-unknown-linux-gnu";
        armv7l-linux = "armv7-unknown-linux-gnueabihf";
      }
      .${name};
  };

  # Where the machine that is built for has its libraries.
  root = if target == system then "" else "${host.cross}/${target}/root";
  libraries =
    if target == system then
      host.libraries
    else
      root
      + {
        aarch64-linux = "/usr/lib/aarch64-linux-gnu";
        armv7l-linux = "/usr/lib/arm-linux-gnueabihf";
      }
      .${target};

  # On the host, at a path of its own there.
  linked =
    pname: version: links:
    pkgs.runCommand "${pname}-${version}" { inherit pname version; } (
      "mkdir $out\n"
      + lib.concatStrings (
        lib.mapAttrsToList (place: file: ''
          [ -e ${file} ] || { echo "the host has no ${file}, which stands in for ${pname}" >&2; exit 1; }
          mkdir -p $out/$(dirname ${place}) && ln -s ${file} $out/${place}
        '') links
      )
    );

  # To be named, not to be built.
  named =
    pname:
    lib.nameValuePair pname (
      pkgs.runCommand pname {
        inherit pname;
        version = "0";
      } "echo 'tests/nix/stub has no ${pname}: only nixpkgs does' >&2; exit 1"
    );

  pkgs =
    import ./build.nix {
      inherit lib host pkgs;
      buildPlatform = platform system;
      hostPlatform = platform target;
    }
    // builtins.listToAttrs (
      map named [
        "cargo"
        "clippy"
        "deadnix"
        "e2fsprogs"
        "gcc"
        "gnumake"
        "jq"
        "nix"
        "nixfmt"
        "optee-client"
        "parted"
        "python3"
        "rustc"
        "rustfmt"
        "shellcheck"
        "socat"
        "sqlite"
        "systemd"
        "tpm2-pkcs11"
        "util-linux"
      ]
    )
    // {
      inherit lib system pkgs;
      testers.runNixOSTest =
        {
          name,
          nodes,
          testScript,
        }:
        let
          # With what it can be switched to.
          systems =
            node:
            let
              inherit (configured [ node ]) config;
            in
            [ config.system.build.toplevel ]
            ++ lib.mapAttrsToList (
              _: next:
              (configured [
                node
                next.configuration
              ]).config.system.build.toplevel
            ) config.specialisation;
          configured =
            modules:
            import ../nixos {
              inherit lib pkgs modules;
              modulesPath = ../nixos/modules;
            };
        in
        pkgs.runCommand "vm-test-${name}" {
          inherit testScript;
          systems = builtins.concatMap systems (builtins.attrValues nodes);
        } "echo 'tests/nix/stub runs no machines: only nixpkgs does' >&2; exit 1";
      buildFHSEnv =
        {
          name,
          targetPkgs,
          profile,
          runScript,
        }:
        pkgs.writeShellApplication {
          inherit name;
          runtimeInputs = targetPkgs pkgs;
          text = profile + "\n" + runScript;
        };

      callPackage = lib.callPackageWith pkgs;
      buildPackages = if target == system then pkgs else import ./. { inherit lib system; };
      pkgsCross = {
        aarch64-multiplatform = import ./. {
          inherit lib system;
          target = "aarch64-linux";
        };
        armv7l-hf-multiplatform = import ./. {
          inherit lib system;
          target = "armv7l-linux";
        };
      };

      # The compiler finds these two by itself, below the host's /usr.
      curl = linked "curl" "7.88.1" { };
      openssl = linked "openssl" host.opensslVersion { };
      pkg-config = linked "pkg-config" "1" { "bin/pkg-config" = "/usr/bin/pkg-config"; };
      libp11 = linked "libp11" "0.4.12" {
        "lib/engines/pkcs11.so" = "${libraries}/engines-3/pkcs11.so";
      };
      pkcs11-provider = linked "pkcs11-provider" "1" { };
      softhsm = linked "softhsm" "2.6.1" {
        "lib/softhsm/libsofthsm2.so" = "${root}/usr/lib/softhsm/libsofthsm2.so";
      };
      opensc = linked "opensc" "0.23" { "lib/opensc-pkcs11.so" = "${libraries}/opensc-pkcs11.so"; };
      litestream = linked "litestream" "0.5.17" { "bin/litestream" = host.litestream; };
    };
in
pkgs
