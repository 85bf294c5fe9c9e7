# Credentials live a minute. Three rotations on: nothing was refused, nothing is missing.
for _ in range(3):
    wait_for_more("rotations", rotations)
assert count('.error == "ExpiredToken"') == 0
whole()

# What the daemon may do is what systemd/ says.
device.fail("systemctl show -p User edgerotate.service | grep -q root")
device.succeed("test $(stat -c %U:%G:%a /data/edgerotate/replica) = root:replica:2770")
device.succeed("test $(stat -c %a /run/edgerotate/litestream.env) = 600")
