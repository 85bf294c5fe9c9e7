# refused: use services.edgerotate.log
{
  services.edgerotate.settings.EDGEROTATE_LOG = "debug";
}
