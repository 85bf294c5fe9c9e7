# refused: services.edgerotate.heartbeat.interval
{
  services.edgerotate.heartbeat.interval = "often";
}
