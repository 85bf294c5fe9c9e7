# To the next image and back, on one database: what the device had, it keeps.
before = rows()
device.succeed("/run/current-system/specialisation/next/bin/switch-to-configuration test")
device.wait_for_unit("edgerotate.service")
device.succeed("grep -q HEARTBEAT_INTERVAL=2s /etc/edgerotate/edgerotate.env")
wait_for_more("uploads", uploads)

device.succeed("/run/booted-system/bin/switch-to-configuration test")
device.wait_for_unit("edgerotate.service")
device.fail("grep -q HEARTBEAT_INTERVAL=2s /etc/edgerotate/edgerotate.env")
wait_for_more("rotations", rotations)
wait_for_more("uploads", uploads)
assert rows() > before
whole()
