//! A daemon that runs: well, and in trouble.

use std::fs;

use serde_json::json as value;

use crate::{
    LONG, findings, json, status,
    support::{Device, Generation, SOON, database, token::write_private},
    wait_for_finding, wait_until_well,
};

#[test]
fn a_healthy_device_is_well_on_one_screen() {
    for generation in Generation::BOTH {
        let mut device = Device::new("well", generation, LONG);
        // A status before all of it has come about is one as well.
        device.litestream.hold_starts();
        device.start();
        assert_eq!(wait_for_finding(&device, "not-handed-over")["state"], "starting");
        device.litestream.allow_starts();
        let value = wait_until_well(&device);
        assert_eq!(value["running"], true);
        assert_eq!(value["record"]["fetch"]["succeeded"], 1);
        let left = value["record"]["credentials"]["expires"]["in_s"].as_f64().unwrap();
        assert!(left > 3000.0 && left < 3600.0, "{left}");

        let (screen, code) = status(&device, &[]);
        assert_eq!(code, 0, "{screen}");
        let lines: Vec<_> = screen.lines().collect();
        assert_eq!(lines[0], "edgerotate on line-7-press-12: all is well");
        assert!(lines.len() <= 12, "{screen}");
        for name in ["credentials  good until", "next fetch", "last error   none", "heartbeat"] {
            assert!(lines.iter().any(|line| line.trim_start().starts_with(name)), "{screen}");
        }
        assert!(!screen.contains('\u{1b}'), "no colour in a pipe");
        device.stop();
    }
}

#[test]
fn a_provider_that_is_away_is_told_until_it_is_back() {
    let mut device = Device::new("offline", Generation::V05, LONG);
    device.cloud.provider_fault(&value!({"refuse_connections": true}));
    device.start();
    let found = wait_for_finding(&device, "connect-refused");
    assert_eq!(found["state"], "wrong");
    assert_eq!(found["exit_code"], 75);
    assert_eq!(found["record"]["credentials"], value!(null));
    let (screen, code) = status(&device, &[]);
    assert_eq!(code, 75);
    assert!(screen.contains("check the port in EDGEROTATE_ENDPOINT"), "{screen}");

    device.cloud.heal();
    let over = wait_until_well(&device);
    assert_eq!(over["record"]["fetch"]["failure"]["cause"], "connect-refused");
    assert!(over["record"]["fetch"]["failure"]["over"]["in_s"].is_number());
    let (screen, _) = status(&device, &[]);
    assert!(screen.contains("last error   connect-refused, "), "{screen}");
    device.stop();
}

#[test]
fn a_fault_that_passes_is_no_alarm_while_credentials_are_good() {
    let mut device = Device::new("retrying", Generation::V05, std::time::Duration::from_secs(60));
    device.start();
    wait_until_well(&device);
    device.cloud.provider_fault(&value!({"status": 503, "message": "Slow down"}));
    let found = device.wait_for("a failed rotation in the status", 2 * SOON, |device| {
        let found = json(device);
        findings(&found).contains(&"server-error").then_some(found)
    });
    assert_eq!(found["state"], "notice", "{found:#}");
    assert_eq!(found["exit_code"], 0);
    device.stop();
}

#[test]
fn what_aws_denies_is_told_with_what_to_do() {
    let mut device = Device::new("denied", Generation::V05, LONG);
    device.cloud.provider_fault(&value!({"status": 403, "message": "Access Denied"}));
    device.start();
    let found = wait_for_finding(&device, "access-denied");
    assert_eq!(found["exit_code"], 77);
    let finding = &found["findings"][0];
    assert!(finding["found"].as_str().unwrap().contains("HTTP 403"), "{finding}");
    assert!(finding["remedy"].as_str().unwrap().contains("iot:AssumeRoleWithCertificate"));
    device.stop();
}

#[test]
fn a_refused_pin_is_told_also_by_the_next_daemon() {
    let mut device = Device::new("pin", Generation::V05, LONG);
    write_private(&device.token.pin_file, "0000000000\n");
    device.start();
    assert_eq!(wait_for_finding(&device, "pin-incorrect")["exit_code"], 77);
    let (screen, _) = status(&device, &[]);
    assert!(screen.contains("next fetch   none until the PIN is changed"), "{screen}");
    device.stop();
    device.start();
    let found = wait_for_finding(&device, "pin-refused-earlier");
    assert_eq!(found["record"]["fetch"]["failed"]["pin_refused"], 0, "nothing was tried");
    device.stop();
}

#[test]
fn heartbeats_that_fail_are_told_with_since_when() {
    let mut device = Device::new("beat", Generation::V05, LONG);
    device.start();
    wait_until_well(&device);
    let mut other = database::open(&device.database).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let found = wait_for_finding(&device, "heartbeat-fails");
    assert_eq!(found["exit_code"], 69);
    assert!(found["findings"][0]["found"].as_str().unwrap().contains("the database is locked"));
    drop(lock);
    wait_until_well(&device);
    device.stop();
}

#[test]
fn a_restart_that_fails_is_told() {
    let mut device = Device::new("restart", Generation::V05, LONG);
    device.set("RESTART_COMMAND", "/bin/false");
    device.start();
    let found = wait_for_finding(&device, "hand-over-fails");
    assert_eq!(found["exit_code"], 69);
    assert!(found["findings"][0]["found"].as_str().unwrap().contains("/bin/false failed"));
    device.stop();
}

#[test]
fn a_suspect_replica_is_told_also_when_the_daemon_is_down() {
    let mut device = Device::new("suspect", Generation::V05, LONG);
    let mark = value!({"databases": {
        device.database.to_str().unwrap(): [{"since": "2026-11-21T08:00:00Z", "what": "unguarded"}]
    }});
    fs::write(device.state_directory.join("suspect"), mark.to_string()).unwrap();
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    let found = wait_for_finding(&device, "suspect");
    let (screen, _) = status(&device, &[]);
    assert!(screen.contains("force-snapshot"), "{screen}");
    assert!(screen.contains("replica      SUSPECT"), "{screen}");
    assert_eq!(found["state"], "wrong");
    device.stop();
    assert!(findings(&json(&device)).contains(&"suspect"));
}

#[test]
fn no_secret_is_in_the_status() {
    let mut device = Device::new("secret", Generation::V05, LONG);
    device.start();
    wait_until_well(&device);
    let issued = device.cloud.issued().pop().unwrap();
    let told = [status(&device, &[]).0, status(&device, &["--json"]).0];
    let file = fs::read_to_string(device.runtime_directory.join("status.json")).unwrap();
    for text in told.iter().chain([&file]) {
        for secret in
            [&issued.secret_access_key, &issued.session_token, &device.token.pin().to_owned()]
        {
            assert!(!text.contains(secret.as_str()));
        }
    }
    device.stop();
}
