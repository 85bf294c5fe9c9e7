//! Suspect replicas that are mended when Litestream starts.

use std::{fs, time::Duration};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Device, Generation, SOON};

const LONG: Duration = Duration::from_secs(3600);

fn suspect(device: &Device) -> String {
    fs::read_to_string(device.state_directory.join("suspect")).unwrap_or_default()
}

/// A device whose Litestream holds its own, and mends at its starts.
fn running(name: &str, generation: Generation) -> Device {
    let mut device = Device::new(name, generation, LONG);
    device.set("HEARTBEAT_INTERVAL", "100ms");
    device.set("SNAPSHOT_TIMEOUT", "10s");
    device.mend_at_starts();
    device.start();
    device.wait_for_log("holds its own read lock", SOON);
    device
}

#[test]
fn a_litestream_that_ended_by_itself_mends_its_replica_when_it_starts_again() {
    for generation in Generation::BOTH {
        let mut device = running("mend-crash", generation);
        device.litestream.signal(Signal::SIGKILL);
        device.wait_for_problem("its replica may lack rows", SOON);
        device.wait_for_log("a new snapshot was made", SOON);
        device.wait_for_log_times("holds its own read lock", 2, SOON);
        assert_eq!(suspect(&device), "", "{}", device.log_tail());
        assert_eq!(device.litestream.starts().len(), 2, "no restart is needed for it");
        let rows = device.rows();
        device.litestream.restore_whole(&device.scratch.join("copy.db"), &rows, 2 * SOON);
        assert_eq!(suspect(&device), "", "{}", device.log_tail());
        device.stop();
    }
}

#[test]
fn a_snapshot_that_fails_keeps_nothing_from_starting_and_is_not_tried_at_each_start() {
    let mut device = running("mend-fails", Generation::V05);
    device.cloud.s3_fault(&json!({"refuse_connections": true}));
    device.litestream.signal(Signal::SIGKILL);
    device.wait_for_problem("no new snapshot was made", 2 * SOON);
    device.wait_for_log_times("holds its own read lock", 2, SOON);
    assert!(suspect(&device).contains("device.db"), "{}", suspect(&device));

    device.cloud.heal();
    device.litestream.signal(Signal::SIGKILL);
    device.wait_for_log_times("holds its own read lock", 3, SOON);
    assert_eq!(device.count_in_log("no new snapshot was made"), 1, "{}", device.log_tail());
    assert_eq!(device.count_in_log("a new snapshot was made"), 0, "{}", device.log_tail());
    assert!(suspect(&device).contains("device.db"), "{}", suspect(&device));
    device.stop();
}

#[test]
fn a_mark_that_is_there_while_litestream_runs_has_it_restarted_once() {
    let mut device = running("mend-restart", Generation::V05);
    let issued = device.cloud.issued().len();
    let reasons = json!([{"since": "2026-01-01T00:00:00Z", "what": "made up by the test"}]);
    let marked = json!({"databases": {device.database.to_str().unwrap(): reasons}});
    fs::write(device.state_directory.join("suspect"), marked.to_string()).unwrap();
    device.wait_for_log("a new snapshot was made", SOON);
    device.wait_for_log_times("restart success litestream", 2, SOON);
    device.wait_for_log_times("holds its own read lock", 2, SOON);
    assert_eq!(suspect(&device), "");
    assert_eq!(device.litestream.starts().len(), 2);
    assert_eq!(device.cloud.issued().len(), issued, "with the credentials at hand");

    device.stop();
}

#[test]
fn a_suspect_database_that_is_not_replicated_is_said_and_litestream_left_alone() {
    let mut device = running("mend-unlisted", Generation::V05);
    let reasons = json!([{"since": "2026-01-01T00:00:00Z", "what": "made up by the test"}]);
    let marked = json!({"databases": {"/data/forgotten.db": reasons}});
    fs::write(device.state_directory.join("suspect"), marked.to_string()).unwrap();
    device.wait_for_problem("/data/forgotten.db: its replica stays suspect", SOON);
    device.wait_for_log_times("holds its own read lock", 2, SOON);
    assert_eq!(device.count_in_log("a new snapshot was made"), 0, "{}", device.log_tail());
    assert!(suspect(&device).contains("forgotten.db"), "{}", suspect(&device));
    device.stop();
}

#[test]
fn a_litestream_of_another_generation_makes_its_replicas_suspect_until_it_has_begun_anew() {
    for generation in Generation::BOTH {
        let mut device = running("generation", generation);
        device.stop();
        // An update and a rollback: what is beside the database is older than it seems.
        let other = Generation::BOTH.into_iter().find(|other| *other != generation).unwrap();
        let kept = device.state_directory.join("litestream-version");
        assert_eq!(fs::read_to_string(&kept).unwrap(), format!("{}\n", generation.version()));
        fs::write(&kept, format!("{}\n", other.version())).unwrap();
        device.start();
        let why = format!("Litestream {} replicates, and before it was", generation.version());
        device.wait_for_problem(&why, SOON);
        // The daemon is new: it does not know yet that starts ask, and so asks for none.
        device.litestream.signal(Signal::SIGTERM);
        device.wait_until("Litestream to hold its own after it was mended", SOON, |device| {
            let log = device.log();
            let (_, since) = log.split_once("a new snapshot was made").unwrap_or_default();
            since.contains("holds its own read lock")
        });
        assert_eq!(suspect(&device), "", "{}", device.log_tail());
        device.stop();
        let held = device.count_in_log("holds its own read lock");
        device.start();
        device.wait_for_log_times("holds its own read lock", held + 1, SOON);
        assert_eq!(suspect(&device), "", "said once for each change: {}", device.log_tail());
        device.stop();
    }
}
