# refused: EDGEROTATE_FETCH_TIMEOUT
{
  services.edgerotate.fetchTimeout = "1h";
}
