//! Behind, or too early to tell.

use std::{fs, ops::RangeInclusive, time::Duration};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    harness::{device, replicate, table, verified, verify, write},
    support::{Device, Generation, SOON},
};

#[test]
fn without_a_heartbeat_or_a_replica_it_is_too_early() {
    for generation in Generation::BOTH {
        let device = device("early", generation);
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(75), &json!("too-early")), "{answer:?}");
        assert!(!device.database.exists(), "verify makes no database");

        table(&device.database);
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(75), &json!("too-early")), "{answer:?}");

        write(&device, 1..=3);
        let answer = verify(&device, &[]);
        assert_eq!(answer.code, Some(75), "{answer:?}");
        let first = answer.text.lines().next().unwrap();
        assert_eq!(first, "too early to tell: there is no replica yet of 3 heartbeats");
    }
}

#[test]
fn rows_that_wait_too_long_are_behind() {
    for generation in Generation::BOTH {
        let mut device = device("behind", generation);
        // No replica at all, for rows that were written over 6 minutes.
        write_each_second(&device, 1..=361);
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(75), &json!("behind")), "{answer:?}");
        assert_eq!(json["newer_rows"], 361);

        replicate(&mut device);
        write_each_second(&device, 362..=723);
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(75), &json!("behind")), "{answer:?}");
        assert_eq!((&json["restored"]["rows"], &json["newer_rows"]), (&json!(361), &json!(362)));
        assert!(json["lag_s"].as_u64().unwrap() >= 361, "{json}");
        assert!(json["summary"].as_str().unwrap().contains("EDGEROTATE_VERIFY_MAX_LAG is 5 min"));

        // The clock that wrote them was years behind; the limit is what counts.
        device.set("VERIFY_MAX_LAG", "24h");
        table(&device.database).execute("INSERT INTO HealthCheck (id) VALUES (800)", ()).unwrap();
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(0), &json!("whole")), "{answer:?}");
    }
}

#[test]
fn heartbeats_that_go_on_without_litestream_fall_behind_and_catch_up() {
    let mut device = Device::new("lagging", Generation::V05, Duration::from_secs(3600));
    device.set("VERIFY_MAX_LAG", "2s");
    device.start();
    let verdict = |device: &Device| verified(device).1["verdict"].clone();
    device.wait_until("a replica", 2 * SOON, |device| verdict(device) == "whole");
    // A Litestream that hangs looks healthy to everyone else.
    device.litestream.signal(Signal::SIGSTOP);
    device.wait_until("a replica that is behind", 2 * SOON, |device| verdict(device) == "behind");
    device.litestream.signal(Signal::SIGCONT);
    device.wait_until("a whole replica", 2 * SOON, |device| verdict(device) == "whole");
    device.stop();
}

/// Litestream's retention deletes what the restore has listed and not read yet. Short times stand
/// in for a slow link.
#[test]
fn files_that_retention_deletes_under_a_restore_are_no_loss() {
    let mut device = Device::new("retention", Generation::V05, Duration::from_secs(3600));
    let text = fs::read_to_string(&device.litestream.configuration).unwrap();
    let short = "l0-retention: 3s\nl0-retention-check-interval: 1s\nlevels:\n  - interval: 2s\n  - \
                 interval: 6s\n";
    fs::write(&device.litestream.configuration, format!("{short}{text}")).unwrap();
    device.start();
    let verdict = |device: &Device| verified(device).1["verdict"].clone();
    device.wait_until("a replica", 2 * SOON, |device| verdict(device) == "whole");
    device.cloud.s3_fault(&json!({"delay_s": 0.25}));
    for _ in 0..3 {
        let (answer, _) = verified(&device);
        assert_ne!(answer.code, Some(65), "{answer:?}");
    }
    device.cloud.heal();
    device.wait_until("a whole replica", 2 * SOON, |device| verdict(device) == "whole");
    device.stop();
}

/// Heartbeats a second apart, by a clock that is years behind.
fn write_each_second(device: &Device, ids: RangeInclusive<i64>) {
    let connection = table(&device.database);
    for id in ids {
        let sql = "INSERT INTO HealthCheck VALUES (?1, datetime(1700000000 + ?1, 'unixepoch'))";
        connection.execute(sql, [id]).unwrap();
    }
}
