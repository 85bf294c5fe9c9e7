# refused: services.edgerotate.pkcs11.pinFile names a file in the Nix store
{
  services.edgerotate.pkcs11.pinFile = "${builtins.toFile "pin" "12345678"}";
}
