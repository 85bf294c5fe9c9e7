# Five settings: a device that rotates, beats and replicates.
{
  services.edgerotate = {
    enable = true;
    endpoint = "c1a2b3c4d5e6f7.credentials.iot.eu-west-1.amazonaws.com";
    roleAlias = "litestream-replica";
    pkcs11.hsm = "softhsm";
    litestream.bucket = "example-device-replicas";
  };
}
