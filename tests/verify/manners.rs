//! What it must leave alone, and what it must not leave behind.

use std::{fs, process::Command, time::Duration};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    harness::{answer, device, held, replicate, verified, verify, work, write},
    support::{Device, Generation, SOON, process::descendants, secrets::Secrets},
};

#[test]
fn the_live_database_is_only_read() {
    for generation in Generation::BOTH {
        let mut device = device("only-read", generation);
        write(&device, 1..=200);
        replicate(&mut device);
        write(&device, 201..=210);
        let files = |device: &Device| {
            ["", "-wal"]
                .map(|suffix| fs::read(format!("{}{suffix}", device.database.display())).unwrap())
        };
        let before = files(&device);
        assert_eq!(verify(&device, &[]).code, Some(0));
        assert!(before == files(&device), "{generation:?}: no checkpoint, no change");
    }
}

#[test]
fn leftovers_go_and_two_runs_do_not_meet() {
    let mut device = device("leftovers", Generation::V05);
    write(&device, 1..=5);
    replicate(&mut device);
    device.cloud.s3_fault(&json!({"delay_s": 3600}));
    let mut first = held(&mut device);
    let second = verify(&device, &["--json"]);
    assert_eq!((second.code, &second.json()["cause"]), (Some(75), &json!("another-run")));
    assert_eq!(work(&device).len(), 1, "the first one's");
    let children = descendants(first.pid());
    first.kill();
    device.wait_until("the end of its Litestream", SOON, |_| {
        children.iter().all(|child| !child.is_alive())
    });
    assert_eq!(work(&device).len(), 1, "nobody was left to remove it");
    device.cloud.heal();
    let (answer, _) = verified(&device);
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

#[test]
fn a_signal_ends_it_and_it_tidies_up() {
    for (generation, signal) in Generation::BOTH.into_iter().zip([Signal::SIGTERM, Signal::SIGINT])
    {
        let mut device = device("signal", generation);
        write(&device, 1..=5);
        replicate(&mut device);
        device.cloud.s3_fault(&json!({"delay_s": 3600}));
        let mut running = held(&mut device);
        let children = descendants(running.pid());
        running.signal(signal);
        assert_eq!(running.wait(SOON).code(), Some(75), "{}", running.output());
        assert!(children.iter().all(|child| !child.is_alive()), "{children:?}");
        assert!(work(&device).is_empty());
        assert!(running.output().contains("ended by a signal"), "{}", running.output());
    }
}

#[test]
fn a_long_restore_says_that_it_gets_on() {
    let mut device = device("meter", Generation::V05);
    write(&device, 1..=5);
    replicate(&mut device);
    device.cloud.s3_fault(&json!({"delay_s": 3600}));
    let running = held(&mut device);
    device.wait_until("a line of progress", SOON, |_| {
        running.output().lines().any(|line| line.starts_with("restoring: "))
    });
    device.cloud.heal();
}

#[test]
fn no_secret_is_shown_and_a_foreign_environment_does_no_harm() {
    for generation in Generation::BOTH {
        let mut device = Device::new("secret", generation, Duration::from_secs(3600));
        device.start();
        device.wait_until("a replica", 2 * SOON, |device| verified(device).0.code == Some(0));
        let mut secrets = Secrets::of(&device);

        let mut command = device.edgerotate(&["verify"]);
        // What a shell may have. Each of these would keep Litestream from restoring.
        command.env("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt");
        command.env("AWS_PROFILE", "no-such-profile").env("AWS_ACCESS_KEY_ID", "AKIANOTTHISONE");
        let found = answer(&mut command);
        assert_eq!(found.code, Some(0), "{found:?}");
        secrets.assert_none_in("the answer", format!("{found:?}").as_bytes());

        device.cloud.s3_fault(&json!({"code": "AccessDenied"}));
        let found = verify(&device, &[]);
        secrets.assert_none_in("the answer", format!("{found:?}").as_bytes());
        device.cloud.s3_fault(&json!({"delay_s": 3600}));
        let running = held(&mut device);
        let all = descendants(running.pid());
        secrets.observe(&device);
        for process in &all {
            secrets.assert_none_in("the arguments", process.command_line.as_bytes());
        }
        assert!(all.iter().any(|process| process.command_line.contains(" restore ")), "{all:?}");
        secrets.assert_none_below(&device.state_directory, &[]);
        drop(running);
        device.cloud.heal();
        device.stop();
    }
}

#[test]
fn help_tells_of_it() {
    let device = device("help", Generation::V05);
    let found = answer(Command::new(crate::support::device::program()).args(["verify", "--help"]));
    assert!(found.errors.is_empty(), "{found:?}");
    assert!(found.text.contains("--json") && found.text.contains("65"), "{found:?}");
    drop(device);
}
