# refused: services.edgerotate.pkcs11.pinFile
{
  services.edgerotate.pkcs11.pinFile = ./pin;
}
