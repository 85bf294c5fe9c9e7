//! A restart command that fails, hangs, or was cut off.

use std::time::Duration;

use crate::support::{Device, Generation, SOON, wait_until};

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
