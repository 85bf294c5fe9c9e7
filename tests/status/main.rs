//! What the daemon tells about itself, and what `edgerotate status` makes of it; on real daemons in
//! real trouble.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]

#[path = "../support/mod.rs"]
mod support;

mod down;
mod kinds;
mod metrics;
mod record;
mod trouble;
mod watch;

use std::time::Duration;

use serde_json::Value;

use support::{Device, SOON};

/// Credentials that outlive the test.
const LONG: Duration = Duration::from_secs(3600);

/// What `edgerotate status` prints, and its exit code.
fn status(device: &Device, arguments: &[&str]) -> (String, i32) {
    let arguments: Vec<_> = ["status"].iter().chain(arguments).copied().collect();
    let output = device.edgerotate(&arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.is_empty(), "{errors}");
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

/// The same as JSON; both say the same exit code.
fn json(device: &Device) -> Value {
    let (text, code) = status(device, &["--json"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["exit_code"], code, "{text}");
    value
}

fn findings(value: &Value) -> Vec<&str> {
    let findings = value["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// Waits for a finding, which may have others beside it.
fn wait_for_finding(device: &Device, name: &str) -> Value {
    device.wait_for(&format!("{name} in the status"), SOON, |device| {
        let value = json(device);
        findings(&value).contains(&name).then_some(value)
    })
}

/// Waits until nothing is wrong.
fn wait_until_well(device: &Device) -> Value {
    device.wait_for("a status in which all is well", SOON, |device| {
        let value = json(device);
        (value["state"] == "ok").then_some(value)
    })
}
