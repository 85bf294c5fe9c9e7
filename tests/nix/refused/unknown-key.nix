# refused: EDGEROTATE_HARTBEAT_INTERVAL
{
  services.edgerotate.settings.EDGEROTATE_HARTBEAT_INTERVAL = "5s";
}
