# refused: services.edgerotate.litestream.bucket is not set
{ lib, ... }:
{
  services.edgerotate.litestream.bucket = lib.mkForce null;
}
