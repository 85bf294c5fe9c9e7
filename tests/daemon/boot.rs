//! A daemon that the boot starts, in a namespace of time in which the machine has just booted.

use std::{fs, process::Command, time::Duration};

use crate::support::{Device, Generation, SOON, skip};

#[test]
fn what_the_boot_starts_waits_for_its_turn_and_so_does_the_gate() {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    // Twenty seconds ago.
    let offset = format!("-{}", uptime.saturating_sub(20));
    let booted = ["unshare", "--time", "--boottime", &offset];
    let can = Command::new(booted[0]).args(&booted[1..]).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        return skip("needs root and a kernel with namespaces of time, for a boot just now");
    }
    let mut device = Device::new("boot", Generation::V05, Duration::from_secs(3600));
    device.run_as(&booted, &crate::support::device::program());
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
    device.run_as(&later, &crate::support::device::program());
    device.start();
    device.wait_for_log("updated credential success", SOON);
    assert_eq!(device.count_in_log("asks for the first credentials"), 1);
    device.stop();
}
