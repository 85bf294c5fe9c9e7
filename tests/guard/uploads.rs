//! Litestream's uploads, watched by its metrics.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::{LET_GO, LONG},
    support::{Device, Generation, SOON},
};

/// A device whose Litestream serves metrics.
fn watched(name: &str, generation: Generation) -> Device {
    let mut device = Device::new(name, generation, LONG);
    let metrics = device.litestream.serve_metrics();
    device.set("LITESTREAM_METRICS", metrics);
    device.set("VERIFY_MAX_LAG", "4s");
    device
}

fn uploads(device: &Device) -> Value {
    let text = fs::read(device.runtime_directory.join("status.json")).unwrap_or_default();
    let record: Value = serde_json::from_slice(&text).unwrap_or_default();
    record["uploads"].clone()
}

#[test]
fn a_replica_that_stops_moving_is_said_and_one_that_moves_again_is_too() {
    for generation in Generation::BOTH {
        let mut device = watched("uploads", generation);
        device.start();
        device.wait_until("the replica to move", SOON, |d| !uploads(d)["last_moved"].is_null());
        assert_eq!(uploads(&device)["behind"], false);
        device.cloud.s3_fault(&json!({"refuse_connections": true}));
        device.wait_for_problem("the replica has not moved for", SOON);
        device.wait_until("it in the status", SOON, |d| uploads(d)["behind"] == true);
        assert!(!uploads(&device)["waiting_since"].is_null());
        device.cloud.heal();
        device.wait_for_log("the replica moves again", 2 * SOON);
        device.wait_until("it in the status", SOON, |d| uploads(d)["behind"] == false);
        assert_eq!(device.count_in_log("reads nothing of it"), 0, "S3 was away, that was all");
        device.stop();
    }
}

/// Longer than it takes to call a Litestream stuck.
const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
#[ignore = "ten minutes: make test-all"]
fn a_litestream_that_is_stuck_makes_its_replica_suspect_and_is_restarted() {
    let mut device = watched("stuck", Generation::V05);
    device.start();
    device.wait_until("the replica to move", SOON, |d| !uploads(d)["last_moved"].is_null());
    // What it keeps beside the database is gone, as after a fault of the storage: it goes on, and
    // reads no more.
    let kept = device.database.with_file_name(".device.db-litestream").join("ltx");
    fs::remove_dir_all(&kept).unwrap();
    fs::write(&kept, "").unwrap();
    device.wait_for_problem("Litestream runs, and reads nothing of it any more", TEN_MINUTES);
    device.wait_until("a restart", SOON, |device| device.litestream.starts().len() >= 2);
    device.stop();
}

#[test]
#[ignore = "ten minutes: make test-all"]
fn a_litestream_that_was_stopped_is_neither_taken_for_a_stuck_one_nor_started() {
    let mut device = watched("metrics-gone", Generation::V05);
    device.start();
    device.wait_until("the replica to move", SOON, |d| !uploads(d)["last_moved"].is_null());
    device.wait_for_log(LET_GO, SOON);
    device.litestream.stop_by_hand();
    // So many looks take longer than it takes to call one stuck that answers.
    device.wait_for_problem("uploads can't be watched (512 times in a row)", 2 * TEN_MINUTES);
    assert_eq!(device.count_in_log("reads nothing of it"), 0, "{}", device.log_tail());
    assert_eq!(device.count_in_log("start restart litestream"), 1, "{}", device.log_tail());
    device.stop();
}

#[test]
fn metrics_that_are_not_there_are_said() {
    let mut device = watched("no-metrics", Generation::V05);
    device.set("LITESTREAM_METRICS", "http://127.0.0.1:1/metrics");
    device.start();
    let line = device.wait_for_problem("uploads can't be watched", SOON);
    assert!(line.contains("look at EDGEROTATE_LITESTREAM_METRICS"), "{line}");
    assert!(uploads(&device)["failing"]["what"].as_str().unwrap().contains("127.0.0.1:1"));
    device.stop();
}
