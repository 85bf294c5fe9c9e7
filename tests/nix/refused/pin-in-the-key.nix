# refused: has the PIN in it (pin-value=)
{
  services.edgerotate.privateKey = "pkcs11:token=edgerotate;object=device?pin-value=12345678";
}
