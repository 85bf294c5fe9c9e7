//! The main job: credentials rotate in time and every row is in S3.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use crate::support::{
    Device, Generation, SOON,
    database::{integrity, rows},
    device::{THING, program},
    machine,
    process::{run, tied},
    tool,
};

/// Long enough for a busy machine to rotate in half of it, short enough for several rotations in a
/// test.
const LIFETIME: Duration = Duration::from_secs(12);

#[test]
fn every_row_survives_rotations_with_litestream_0_3() {
    rotate_and_restore("rotate-03", Generation::V03);
}

#[test]
fn every_row_survives_rotations_with_litestream_0_5() {
    rotate_and_restore("rotate-05", Generation::V05);
}

fn rotate_and_restore(name: &str, generation: Generation) {
    // qemu takes seconds for what a processor does at once.
    let lifetime = if machine().is_some() { 4 * LIFETIME } else { LIFETIME };
    let mut device = Device::new(name, generation, lifetime);
    device.start();
    device.wait_until("three rotations", 10 * lifetime, |device| device.litestream.restarts() >= 3);
    device.wait_until("uploads with the newest credentials", SOON, |device| {
        let newest = device.access_key_id();
        device.cloud.uploads().iter().any(|upload| upload.access_key_id == newest)
    });
    device.stop();

    let original = rows(&device.database);
    let restored =
        device.litestream.restore_whole(&device.scratch.join("restored.db"), &original, SOON);
    assert_eq!(original, restored);
    assert_eq!(integrity(&device.scratch.join("restored.db")), "ok");
    assert_eq!(device.cloud.count_error("ExpiredToken"), 0);
    assert!(original.windows(2).all(|pair| pair[0] < pair[1]), "ids rise: {original:?}");

    // Each start of Litestream had credentials of its own, and no fetch was for nothing.
    let keys: Vec<_> = device.litestream.starts().into_iter().map(|s| s.access_key_id).collect();
    let issued: Vec<_> = device.cloud.issued().into_iter().map(|i| i.access_key_id).collect();
    assert_eq!(keys, issued[..keys.len()], "{}", device.log_tail());
    assert!(issued.len() <= keys.len() + 1, "a fetch was for nothing: {issued:?}");
}

#[test]
fn an_upgrade_in_place_costs_the_old_daemon_no_rotation() {
    let mut device = Device::new("upgrade", Generation::V05, LIFETIME);
    // As apt, opkg and a NixOS switch do it: the daemon runs on, and its file is another one's.
    let installed = device.scratch.join("edgerotate");
    std::fs::copy(program(), &installed).unwrap();
    device.run_as(&["env"], &installed);
    device.start();
    device.wait_until("a rotation", 4 * LIFETIME, |device| device.litestream.restarts() >= 1);
    let newer = device.scratch.join("edgerotate.new");
    std::fs::write(&newer, "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(&newer, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&newer, &installed).unwrap();
    let fetches = device.cloud.fetches();
    device.wait_until("two more", 6 * LIFETIME, |device| device.cloud.fetches() >= fetches + 2);
    assert_eq!(device.problems(), [""; 0]);
    device.stop();
}

#[test]
fn the_log_tells_the_milestones_in_order() {
    let mut device = Device::new("milestones", Generation::V05, LIFETIME);
    device.set("LOG", "info");
    device.start();
    device.wait_for_log_times("restart success litestream", 2, 5 * LIFETIME);
    device.wait_for_log("sqlite3 write success", SOON);
    device.stop();

    let log = device.log();
    let mut rest = log.as_str();
    for milestone in [
        "start app",
        "start update credential",
        "init credential",
        "updated credential success. expired at ",
        "start restart litestream",
        "restart success litestream",
        "start update credential",
        "updated credential success. expired at ",
        "start restart litestream",
        "restart success litestream",
    ] {
        let at =
            rest.find(milestone).unwrap_or_else(|| panic!("{milestone:?} is missing in:\n{log}"));
        rest = &rest[at + milestone.len()..];
    }
    // One heartbeat at info, the others at debug: a log that says the same every 5 s hides the
    // rest.
    assert_eq!(device.count_in_log("sqlite3 write success"), 1, "{log}");
    // RFC 3339 with an offset, where no journal puts a time of its own.
    for line in log.lines() {
        let time = line.split_whitespace().next().unwrap_or_default();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "no time in {line:?}");
    }
}

/// The file is for Litestream, but nothing in it is: what AWS's own tool can use, any program can.
#[test]
fn the_aws_cli_can_use_the_environment_file() {
    let mut device = Device::new("aws-cli", Generation::V05, Duration::from_secs(3600));
    device.start();
    device.wait_until("an upload", SOON, |device| !device.cloud.uploads().is_empty());
    let listing = run(tied(tool("venv/bin/aws"))
        .envs(device.variables())
        .args(["--endpoint-url", &device.cloud.s3_endpoint(), "s3", "ls", "--recursive"])
        .arg(format!("s3://{}/{THING}/", device.cloud.bucket())));
    assert!(listing.contains(&format!("{THING}/db/")), "{listing}");
    device.stop();
}
