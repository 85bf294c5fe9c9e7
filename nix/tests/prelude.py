# What each of the tests begins with, and the words they are written in.
REQUESTS = "/var/lib/cloud/requests.jsonl"
DATABASE = "/data/edgerotate/replica/heartbeat.db"


def count(condition):
    """How many requests in the cloud's log are of that kind."""
    return int(device.succeed(f"jq -c 'select({condition})' {REQUESTS} | wc -l"))


def rotations():
    return count('.operation == "AssumeRoleWithCertificate" and .status == 200')


def uploads():
    return count('.side == "s3" and .operation == "PutObject" and .error == null')


def rows():
    return int(device.succeed(f"sqlite3 {DATABASE} 'SELECT count(*) FROM HealthCheck'"))


def wait_for_more(what, value):
    """Waits until `value()` has grown by two: one of them may have been on its way."""
    before = value()
    with device.nested(f"waiting for more {what}"):
        retry(lambda _: value() >= before + 2)


def whole():
    device.wait_until_succeeds("runuser -u edgerotate -- edgerotate verify")


start_all()
device.wait_for_unit("multi-user.target")
device.wait_until_succeeds("test -s /var/lib/cloud/cloud.json")

# Not provisioned: it beats, and Litestream waits without having failed.
device.wait_for_unit("edgerotate.service")
device.fail("systemctl is-failed litestream.service")
wait_for_more("heartbeats", rows)

device.succeed("provision")
device.wait_until_succeeds("systemctl is-active litestream.service")
wait_for_more("uploads", uploads)
