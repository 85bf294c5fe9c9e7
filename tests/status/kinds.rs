//! What only the daemon can find, each with a cause that is real; the whole line is compared, and what to do.

use std::{fs, time::Duration};

use edgerotate::status::findings::Kind;
use nix::sys::signal::Signal;
use serde_json::json as value;

use crate::{
    LONG, json, status,
    support::{Device, Generation, SOON},
    wait_until_well,
};

/// Waits until it is on the screen, with this detail, in which `*` is what differs from run to run; and is told alike
/// in the JSON.
fn assert_told(device: &Device, kind: Kind, detail: &str) {
    let colon = if detail.is_empty() { "" } else { ": " };
    let line = format!("! {}: {}{colon}{detail}", kind.name(), kind.what());
    device.wait_for(&line, 3 * SOON, |device| assert_on(&status(device, &[]).0, kind, &line));
    let found = json(device);
    let all = found["findings"].as_array().unwrap();
    let own = all.iter().find(|finding| finding["code"] == kind.name());
    let own = own.unwrap_or_else(|| panic!("{} in {found:#}", kind.name()));
    assert_eq!(own["exit_code"], kind.exit_code());
    assert_eq!(own["level"], if kind.exit_code() == 0 { "warning" } else { "wrong" });
}

/// `None` as long as the line is not there.
fn assert_on(screen: &str, kind: Kind, line: &str) -> Option<()> {
    let is_it = |shown: &&str| match line.split_once('*') {
        None => *shown == line,
        Some((start, end)) => shown.starts_with(start) && shown.ends_with(end),
    };
    let mut lines = screen.lines().skip_while(|line| !is_it(line));
    lines.next()?;
    let remedy = lines.find_map(|line| line.trim_start().strip_prefix("what to do: "));
    let (start, end) = kind.remedy().split_once("FILE").unwrap_or((kind.remedy(), ""));
    let remedy = remedy.unwrap_or_else(|| panic!("{screen}"));
    assert!(remedy.starts_with(start) && remedy.ends_with(end), "{screen}");
    Some(())
}

#[test]
fn of_the_credentials_and_their_way() {
    let mut device = Device::new("no-credentials", Generation::V05, Duration::from_secs(20));
    device.cloud.provider_fault(&value!({"delay_s": 600.0}));
    device.start();
    assert_told(&device, Kind::NoCredentials, "");
    device.stop();
    device.cloud.heal();

    device.litestream.hold_starts();
    device.start();
    assert_told(&device, Kind::NotHandedOver, "");
    device.litestream.allow_starts();
    device.wait_for_log("restart success litestream", SOON);
    device.cloud.provider_fault(&value!({"refuse_connections": true}));
    assert_told(&device, Kind::CredentialsExpired, "");
    device.stop();
}

#[test]
fn of_litestream() {
    let mut device = Device::new("no-litestream", Generation::V05, LONG);
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    device.litestream.stop();
    assert_told(&device, Kind::LitestreamNotRunning, "");
    device.stop();
}

#[test]
fn of_uploads() {
    let mut device = Device::new("behind", Generation::V05, LONG);
    let metrics = device.litestream.serve_metrics();
    device.set("LITESTREAM_METRICS", metrics);
    device.set("VERIFY_MAX_LAG", "4s");
    device.start();
    wait_until_well(&device);
    device.cloud.s3_fault(&value!({"refuse_connections": true}));
    assert_told(&device, Kind::ReplicaBehind, "");
    device.stop();

    device.cloud.heal();
    device.set("LITESTREAM_METRICS", "http://127.0.0.1:1/metrics");
    device.start();
    assert_told(&device, Kind::UploadsUnseen, "http://127.0.0.1:1/metrics: Connection refused*");
    device.stop();
}

#[test]
fn of_the_guard() {
    let mut device = Device::new("unguarded", Generation::V05, LONG);
    let journal = device.database.with_file_name("journal.db");
    let connection = rusqlite::Connection::open(&journal).unwrap();
    connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
    device.set("GUARD_DATABASES", journal.to_str().unwrap());
    device.litestream.hold_starts();
    device.start();
    assert_told(&device, Kind::GuardNotHad, &format!("{}*", journal.display()));
    device.litestream.allow_starts();
    device.stop();
}

#[test]
fn of_the_clock() {
    for (offset, kind, detail) in [
        (121, Kind::ClockOff, "2 min* behind the provider's"),
        (-121, Kind::ClockOff, "* ahead of the provider's"),
        (-7300, Kind::ClockWrong, "2 h * ahead of the provider's"),
    ] {
        let mut device = Device::new(&format!("clock{offset}"), Generation::V05, LONG);
        device.cloud.provider_fault(&value!({"date_offset_s": offset}));
        device.start();
        assert_told(&device, kind, detail);
        device.stop();
    }
}

#[test]
fn of_the_record() {
    let mut device = Device::new("stands-still", Generation::V05, LONG);
    device.start();
    wait_until_well(&device);
    device.daemon().signal(Signal::SIGSTOP);
    let file = device.runtime_directory.join("status.json");
    fs::remove_file(&file).unwrap();
    assert_told(&device, Kind::StateNotWritten, &format!("{} is not there", file.display()));
    device.daemon().signal(Signal::SIGCONT);
    wait_until_well(&device);
    device.stop();
}
