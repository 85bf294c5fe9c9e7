//! A daemon that the boot starts, in a namespace of time in which the machine has just booted.

use std::{fs, process::Command, time::Duration};

use serde_json::Value;

use crate::support::{Device, Generation, SOON, device::program, skip};

/// Runs the device as if the machine had booted twenty seconds ago. Whether that can be.
fn just_booted(device: &mut Device) -> bool {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    let offset = format!("-{}", uptime.saturating_sub(20));
    let booted = ["unshare", "--time", "--boottime", &offset];
    let can = Command::new(booted[0]).args(&booted[1..]).arg("true").output();
    device.run_as(&booted, &program());
    can.is_ok_and(|output| output.status.success())
}

const CAN_T: &str = "needs root and a kernel with namespaces of time, for a boot just now";

#[test]
fn a_daemon_that_starts_again_keeps_the_turn_that_was_drawn_after_the_boot() {
    let mut device = Device::new("turn", Generation::V05, Duration::from_secs(3600));
    device.set("BOOT_SPREAD", "1h");
    let file = device.runtime_directory.join("turn.json");
    let read = || -> Value { serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap() };
    let mut drawn = None;
    for start in 1..=4 {
        if !just_booted(&mut device) {
            return skip(CAN_T);
        }
        device.start();
        device.wait_for_log_times("asks for the first credentials", start, SOON);
        if drawn.is_none() {
            // Chance may have drawn what comes before the next start, or after the latest moment.
            let mut turn = read();
            turn["at_ms"] = 1_800_000.into();
            fs::write(&file, turn.to_string()).unwrap();
            drawn = Some(turn);
        }
        assert_eq!(drawn, Some(read()));
        if start % 2 == 0 { device.kill() } else { assert_eq!(device.stop(), Some(0)) }
    }
    // It has come meanwhile.
    let mut turn = drawn.unwrap();
    turn["at_ms"] = 1000.into();
    fs::write(&file, turn.to_string()).unwrap();
    just_booted(&mut device);
    device.start();
    device.wait_for_log("updated credential success", SOON);
    assert_eq!(device.count_in_log("asks for the first credentials"), 4);
    device.stop();
}

#[test]
fn what_the_boot_starts_waits_for_its_turn_and_so_does_the_gate() {
    let mut device = Device::new("boot", Generation::V05, Duration::from_secs(3600));
    if !just_booted(&mut device) {
        return skip(CAN_T);
    }
    device.set("BOOT_SPREAD", "1h");
    device.start();
    device.wait_for_log("asks for the first credentials", SOON);
    device.wait_until("heartbeats", SOON, |device| device.rows().len() > 3);
    let gate = device.edgerotate(&["check", "--gate", "--patience", "0"]).output().unwrap();
    let said = String::from_utf8(gate.stdout).unwrap();
    assert_eq!(gate.status.code(), Some(0), "{said}");
    let has = |start: &str, end: &str| {
        said.lines().any(|line| line.starts_with(start) && line.ends_with(end))
    };
    assert!(has("ok           key ", "it signs"), "{said}");
    assert!(has("not reached  endpoint ", "needs: daemon"), "{said}");
    assert!(device.cloud.requests().iter().all(|request| request.side != "provider"));

    // Whoever starts it later than the boot does gets an answer at once.
    device.stop();
    let later = ["unshare", "--time", "--boottime", "600"];
    device.run_as(&later, &program());
    device.start();
    device.wait_for_log("updated credential success", SOON);
    assert_eq!(device.count_in_log("asks for the first credentials"), 1);
    device.stop();
}
