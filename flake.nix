{
  description = "Short-lived AWS credentials from a key in an HSM, and Litestream replicating with them";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
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
      });

      nixosModules.default = ./nix/module;

      formatter = eachHost (pkgs: pkgs.nixfmt);
    };
}
