# refused: services.edgerotate.heartbeat.keepRows
{
  services.edgerotate.heartbeat.keepRows = "many";
}
