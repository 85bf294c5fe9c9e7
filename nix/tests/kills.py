# Both are killed, again and again, and come back by themselves.
for unit in ["edgerotate", "litestream"] * 3:
    device.succeed(f"systemctl kill --signal=KILL {unit}.service")
    device.wait_until_succeeds(f"systemctl is-active {unit}.service")
    wait_for_more("uploads", uploads)
wait_for_more("rotations", rotations)
whole()
