# refused: services.edgerotate.pkcs11.hsm
{
  services.edgerotate.pkcs11.hsm = "yubikey";
}
