//! Suspect replicas that are mended when Litestream starts.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    application::checkpoint,
    harness::{LET_GO, LONG, suspect},
    support::{Device, Generation, SOON, database, process::tied},
};

/// What the log says of a mended replica. Litestream 0.3 makes the snapshot while it runs, so it is
/// proven later.
fn mended(generation: Generation) -> &'static str {
    match generation {
        Generation::V03 => "Litestream 0.3 begins a new generation",
        Generation::V05 => "a new snapshot was made",
    }
}

fn assert_mended(device: &Device, generation: Generation) {
    match generation {
        Generation::V03 => {
            let marks: Value = serde_json::from_str(&suspect(device)).unwrap();
            let reasons = &marks["databases"][device.database.to_str().unwrap()];
            assert_eq!(reasons.as_array().unwrap().len(), 1, "{marks}");
            assert!(reasons[0]["what"].as_str().unwrap().contains(mended(generation)), "{marks}");
        }
        Generation::V05 => assert_eq!(suspect(device), "", "{}", device.log_tail()),
    }
}

/// A device whose Litestream holds its own, and mends at its starts.
fn running(name: &str, generation: Generation) -> Device {
    let mut device = Device::new(name, generation, LONG);
    device.set("HEARTBEAT_INTERVAL", "100ms");
    device.set("SNAPSHOT_TIMEOUT", "10s");
    device.mend_at_starts();
    device.start();
    device.wait_for_log(LET_GO, SOON);
    device
}

/// The same after neither edgerotate nor Litestream ran for a while, and rows were overwritten that
/// nobody had read. Litestream waits to start.
fn with_a_hole(name: &str) -> Device {
    let mut device = running(name, Generation::V05);
    // What overwrites is shorter than what was read, so that Litestream would go on behind the
    // hole.
    let rows = device.rows().len();
    device.wait_until("a longer WAL", SOON, |device| device.rows().len() > rows + 30);
    device.wait_until("uploads", SOON, |device| !device.cloud.uploads().is_empty());
    device.kill();
    device.litestream.hold_starts();
    let (restart, port) = device.litestream.restart_command.split_once(' ').unwrap();
    let mut restart = tied(restart).arg(port).spawn().unwrap();
    device
        .wait_until("Litestream to be stopped", SOON, |device| device.litestream.waits_to_start());
    let other = database::open(&device.database).unwrap();
    other.execute_batch("CREATE TABLE unread (a); INSERT INTO unread VALUES (1)").unwrap();
    checkpoint(&other);
    other.execute_batch("INSERT INTO unread VALUES (2)").unwrap();
    device.start();
    let why = "its WAL began anew before Litestream had read all of it";
    device.wait_for_problem(why, SOON);
    // Whoever asked for that restart waits no more, and the daemon asks for its own.
    restart.kill().unwrap();
    restart.wait().unwrap();
    device
}

#[test]
fn rows_that_nobody_had_read_are_found_and_mended_when_litestream_starts_again() {
    let mut device = with_a_hole("mend-hole");
    assert!(suspect(&device).contains("device.db"), "{}", suspect(&device));
    let starts = device.litestream.starts().len();
    let held = device.count_in_log(LET_GO);
    device.litestream.allow_starts();
    device.wait_for_log(mended(Generation::V05), 2 * SOON);
    device.wait_for_log_times(LET_GO, held + 1, SOON);
    assert_mended(&device, Generation::V05);
    assert!(device.litestream.starts().len() > starts);
    let rows = device.rows();
    device.litestream.restore_whole(&device.scratch.join("copy.db"), &rows, 2 * SOON);
    device.stop();
}

#[test]
fn a_snapshot_that_fails_keeps_nothing_from_starting_and_is_not_tried_at_each_start() {
    let mut device = with_a_hole("mend-fails");
    device.cloud.s3_fault(&json!({"refuse_connections": true}));
    let held = device.count_in_log(LET_GO);
    device.litestream.allow_starts();
    device.wait_for_problem("no new snapshot was made", 2 * SOON);
    assert!(suspect(&device).contains("device.db"), "{}", suspect(&device));

    device.cloud.heal();
    device.wait_for_log_times(LET_GO, held + 1, 2 * SOON);
    device.litestream.signal(Signal::SIGKILL);
    device.wait_for_problem("1 suspect; the next snapshot may be tried in", SOON);
    device.wait_for_log_times(LET_GO, held + 2, SOON);
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
    device.wait_for_log_times(LET_GO, 2, SOON);
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
    device.wait_for_log_times(LET_GO, 2, SOON);
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
            let (_, since) = log.split_once(mended(generation)).unwrap_or_default();
            since.contains(LET_GO)
        });
        assert_mended(&device, generation);
        device.stop();
        let held = device.count_in_log(LET_GO);
        device.start();
        device.wait_for_log_times(LET_GO, held + 1, SOON);
        // Said once for each change.
        assert_mended(&device, generation);
        device.stop();
    }
}
