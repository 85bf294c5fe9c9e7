# A stand-in for nixpkgs, of this project's own making: what edgerotate's flake uses of nixpkgs, and not a bit more. With
# it the flake can be evaluated, and the package built by the host's compilers, where nixpkgs is not to be had.
#
# It proves that the flake is in order by itself: that it evaluates, that options and types are right, that each assertion
# speaks up. It does not prove that nixpkgs offers what the flake asks of it; docs/nix.md says what was done about that.
{
  outputs =
    { self }:
    let
      lib = import ./lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      pkgsFor = system: import ./pkgs { inherit lib system; };
    in
    {
      lib = lib // {
        nixosSystem =
          {
            modules,
            system ? "x86_64-linux",
            pkgs ? pkgsFor system,
            specialArgs ? { },
          }:
          import ./nixos {
            inherit
              lib
              modules
              pkgs
              specialArgs
              ;
            modulesPath = "${self}/nixos/modules";
          };
      };
      legacyPackages = lib.genAttrs systems pkgsFor;
    };
}
