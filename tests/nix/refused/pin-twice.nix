# refused: set pkcs11.pinFile or pkcs11.pinCredential, not both
{
  services.edgerotate.pkcs11 = {
    pinFile = "/data/edgerotate/pin";
    pinCredential = "/run/secrets/pin";
  };
}
