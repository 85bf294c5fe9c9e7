# refused: services.edgerotate.privateKey names a file in the Nix store
{
  services.edgerotate.privateKey = "${builtins.toFile "key" "-----BEGIN PRIVATE KEY-----"}";
}
