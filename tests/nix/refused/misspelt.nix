# refused: services.edgerotate.roleAlais
{
  services.edgerotate.roleAlais = "litestream-replica";
}
