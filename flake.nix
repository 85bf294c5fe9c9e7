{
  description = "Short-lived AWS credentials from a key in an HSM, and Litestream replicating with them";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      # Where one builds; what one builds for are these and armv7.
      eachHost =
        f:
        lib.genAttrs [
          "x86_64-linux"
          "aarch64-linux"
        ] (system: f nixpkgs.legacyPackages.${system});
      package = pkgs: pkgs.callPackage ./nix/package.nix { };
    in
    {
      overlays.default = final: _: { edgerotate = package final; };

      packages = eachHost (pkgs: rec {
        default = edgerotate;
        edgerotate = package pkgs;
        edgerotate-aarch64 = package pkgs.pkgsCross.aarch64-multiplatform;
        edgerotate-armv7 = package pkgs.pkgsCross.armv7l-hf-multiplatform;
        device-image-aarch64 = self.nixosConfigurations.device.config.system.build.sdImage;
      });

      nixosModules.default.imports = [ ./nix/module ];

      # To be built on an aarch64 machine, or on one that can run its programs.
      nixosConfigurations.device = lib.nixosSystem {
        system = "aarch64-linux";
        modules = [ ./nix/image ];
      };

      devShells = eachHost (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { edgerotate = package pkgs; };
      });

      apps = eachHost (pkgs: {
        demo = {
          type = "app";
          program = lib.getExe (pkgs.callPackage ./nix/demo.nix { });
        };
      });

      checks = eachHost (
        pkgs:
        import ./nix/tests {
          inherit pkgs;
          module = self.nixosModules.default;
        }
        // {
          package = package pkgs;
        }
      );

      formatter = eachHost (pkgs: pkgs.nixfmt);
    };
}
