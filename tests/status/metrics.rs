//! The file for node_exporter, as Prometheus's own tool reads it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::json;

use crate::{
    LONG,
    support::{Device, Generation, SOON, process::tied, root, skip},
};

fn metrics(file: &Path) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// A device that writes metrics.
fn device(name: &str) -> (Device, PathBuf) {
    let mut device = Device::new(name, Generation::V05, LONG);
    let directory = device.scratch.join("metrics");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("edgerotate.prom");
    device.set("METRICS_FILE", file.to_str().unwrap());
    (device, file)
}

#[test]
fn a_rotation_and_the_end_are_in_the_metrics() {
    let (mut device, file) = device("metrics");
    device.start();
    device.wait_until("a running Litestream in the metrics", SOON, |_| {
        metrics(&file).get("edgerotate_litestream_running") == Some(&1.0)
    });
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
    let expires = metrics(&file)["edgerotate_credentials_expiry_timestamp_seconds"];
    let issued = device.cloud.issued().pop().unwrap().expiration.timestamp() as f64;
    // It counts from before the request, and a busy machine takes its time to sign one.
    assert!((expires - issued).abs() < 120.0, "{expires} {issued}");
    let tool = root().join("target/tools/promtool");
    if tool.exists() {
        let mut promtool = tied(tool);
        promtool.args(["check", "metrics"]).stdin(Stdio::from(File::open(&file).unwrap()));
        let output = promtool.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    } else {
        skip("promtool is not in target/tools");
    }
    device.stop();
    assert_eq!(metrics(&file)["edgerotate_running"], 0.0);
    // Nothing else is left for the collector to stumble over.
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_failure_is_in_the_metrics_at_once() {
    let (mut device, file) = device("metrics-403");
    device.cloud.provider_fault(&json!({"status": 403, "message": "Access Denied"}));
    device.start();
    device.wait_until("the failure in the metrics", SOON, |_| {
        metrics(&file).get("edgerotate_fetch_failing") == Some(&1.0)
    });
    let found = metrics(&file);
    assert_eq!(found["edgerotate_fetch_failures_total{class=\"setup\"}"], 1.0);
    assert!(!found.contains_key("edgerotate_credentials_expiry_timestamp_seconds"));
    device.stop();
}

#[test]
fn a_directory_that_is_not_there_is_told_and_stops_nothing() {
    let (mut device, file) = device("metrics-dir");
    fs::remove_dir(file.parent().unwrap()).unwrap();
    device.start();
    device.wait_for_problem("EDGEROTATE_METRICS_FILE: ", SOON);
    device.wait_for_log("restart success litestream", SOON);
    assert_eq!(device.stop(), Some(0));
}
