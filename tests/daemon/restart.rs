//! A restart command that fails, hangs, or was cut off.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use crate::support::{Device, Generation, SOON, process::Seen, wait_until};

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_failed_restart_is_reported_and_tried_again() {
    let mut device = Device::new("restart", Generation::V05, LONG);
    device.litestream.fail_restarts(2);
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    assert_eq!(device.litestream.failed_restarts(), 2);
    assert_eq!(device.litestream.starts().len(), 1);
    assert_eq!(device.cloud.fetches(), 1, "a failed restart is no reason to fetch");
    // What the command itself said is the best hint there is.
    assert!(device.log().contains("ordered by the test"), "{}", device.log_tail());
    device.stop();
}

#[test]
fn a_restart_that_hangs_is_ended_and_keeps_nothing_up() {
    let mut device = Device::new("hang", Generation::V05, Duration::from_secs(10));
    device.set("RESTART_TIMEOUT", "1s");
    device.litestream.hang_restarts(true);
    device.start();
    let fetches = |device: &Device| device.cloud.fetches();
    device.wait_until("fetches all the same", SOON, |device| fetches(device) >= 2);
    let rows = device.rows().len();
    device.wait_until("heartbeats all the same", SOON, |device| device.rows().len() > rows + 5);
    assert_eq!(device.litestream.starts().len(), 0);

    device.litestream.hang_restarts(false);
    device.wait_for_log("restart success litestream", 4 * SOON);
    device.stop();
}

#[test]
fn a_restart_that_was_never_confirmed_is_done_again_after_a_restart_of_the_daemon() {
    let mut device = Device::new("confirm", Generation::V05, LONG);
    device.litestream.hang_restarts(true);
    device.start();
    device.wait_for_log("start restart litestream", SOON);
    device.wait_until("the environment file", SOON, |device| device.access_key_id().is_some());
    device.kill();
    device.litestream.hang_restarts(false);

    device.start();
    device.wait_for_log("restart success litestream", SOON);
    assert_eq!(device.cloud.fetches(), 1, "the credentials were still good");
    wait_until("Litestream", SOON, || device.litestream.pid().is_some());
    let starts = device.litestream.starts();
    assert_eq!(starts.last().map(|s| s.access_key_id.clone()), device.access_key_id());
    device.stop();
}

/// Makes `script` the restart command; `{}` in it is the command that really restarts.
fn restart_by(device: &mut Device, script: &str) {
    let real = device.unset("RESTART_COMMAND");
    let path = device.scratch.join("restart");
    fs::write(&path, format!("#!/bin/bash\n{}\n", script.replace("{}", &real))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    device.set("RESTART_COMMAND", path.to_str().unwrap());
}

#[test]
fn what_a_hanging_restart_began_ends_with_it() {
    for ended_by in ["timeout", "stop"] {
        let mut device = Device::new("began", Generation::V05, LONG);
        let pids = device.scratch.join("pids");
        let script = format!("sleep 3600 & echo $! >>{}; wait", pids.display());
        restart_by(&mut device, &script);
        device.set("RESTART_TIMEOUT", if ended_by == "timeout" { "1s" } else { "10min" });
        device.start();
        let first = || fs::read_to_string(&pids).ok()?.lines().next()?.parse().ok();
        let sleeper = device.wait_for("the script's child", SOON, |_| first().and_then(Seen::new));
        if ended_by == "timeout" {
            device.wait_until("its end", SOON, |_| !sleeper.is_alive());
        }
        assert_eq!(device.stop(), Some(0));
        wait_until("the end of the script's child", SOON, || !sleeper.is_alive());
    }
}

#[test]
fn a_litestream_that_ends_at_once_was_not_restarted() {
    let mut device = Device::new("ends", Generation::V05, LONG);
    device.set("RESTART_TIMEOUT", "5s");
    // It starts, finds the file that it can't read, and ends.
    let configuration = device.scratch.join("litestream/litestream.yml");
    let good = fs::read(&configuration).unwrap();
    fs::write(&configuration, "dbs: what?").unwrap();
    device.start();
    let line = device.wait_for_problem("no start of Litestream that lasted", SOON);
    assert!(line.contains("EDGEROTATE_LITESTREAM_PID_FILE"), "{line}");
    fs::write(&configuration, good).unwrap();
    device.wait_for_log("restart success litestream", 2 * SOON);
    device.stop();
}

#[test]
fn a_restart_that_took_longer_than_its_timeout_is_not_done_again() {
    let mut device = Device::new("slow", Generation::V05, LONG);
    device.set("RESTART_TIMEOUT", "3s");
    // The command asks for the restart and does not wait for it, and the restart comes late.
    let log = device.scratch.join("asked");
    let script = format!("echo >>{}; (exec setsid bash -c 'sleep 4; {{}}') &", log.display());
    restart_by(&mut device, &script);
    device.start();
    device.wait_for_problem("no start of Litestream that lasted", SOON);
    device.wait_for_log("restart success litestream", 2 * SOON);
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1);
    assert_eq!(device.litestream.starts().len(), 1);
    device.stop();
}
