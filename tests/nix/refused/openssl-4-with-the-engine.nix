# refused: OpenSSL 4.0.0 has no engines
{ pkgs, ... }:
{
  services.edgerotate.package = pkgs.callPackage ../../../nix/package.nix {
    openssl = pkgs.openssl // {
      version = "4.0.0";
    };
  };
}
