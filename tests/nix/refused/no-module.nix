# refused: Set services.edgerotate.pkcs11.hsm
{ lib, ... }:
{
  services.edgerotate.pkcs11.hsm = lib.mkForce null;
}
