//! Starts and stops: one instance, no orphans, and good credentials taken up again.

use std::{path::PathBuf, process::Command, time::Duration};

use crate::support::{
    Device, Generation, SOON,
    process::{Seen, run},
    root,
};

const LONG: Duration = Duration::from_secs(3600);

/// Past this, systemd's patience is not what ends the daemon.
const STOP: Duration = Duration::from_secs(10);

#[test]
fn a_second_instance_says_so_and_leaves_the_first_alone() {
    let mut device = Device::new("second", Generation::V05, LONG);
    device.start();
    device.wait_for_log("sqlite3 write success", SOON);

    let mut second = device.start_another();
    assert_eq!(second.wait(SOON).code(), Some(75), "{}", second.output());
    let output = second.output();
    assert!(output.contains("already") && output.contains("run"), "{output}");
    assert!(output.lines().count() <= 4, "one line says it: {output}");

    let rows = device.rows().len();
    device.wait_until("the first to go on", SOON, |device| device.rows().len() > rows);
    assert_eq!(device.stop(), Some(0));

    // The lock goes with its process, however that ends.
    device.start();
    device.wait_for_log_times("start app", 2, SOON);
    device.kill();
    device.start();
    device.wait_for_log_times("start app", 3, SOON);
    assert_eq!(device.stop(), Some(0));
}

#[test]
fn a_stop_in_the_middle_of_a_hung_fetch_leaves_no_orphan() {
    let mut device = Device::new("hung", Generation::V05, LONG);
    device.set("PKCS11_MODULE", hanging_module(&device).to_str().unwrap());
    device.start();
    let fetch = fetch_child(&device);
    device.wait_for_log("sqlite3 write success", SOON);
    assert_eq!(device.daemon().terminate(STOP).code(), Some(0), "{}", device.log_tail());
    // Killed before the daemon ended; the kernel may take a moment longer to be done with it.
    crate::support::wait_until("the end of the fetch", SOON, || !fetch.is_alive());
}

#[test]
fn a_killed_daemon_takes_its_fetch_with_it() {
    let mut device = Device::new("killed", Generation::V05, LONG);
    device.set("PKCS11_MODULE", hanging_module(&device).to_str().unwrap());
    device.start();
    let fetch = fetch_child(&device);
    device.kill();
    crate::support::wait_until("the end of the fetch", SOON, || !fetch.is_alive());
}

#[test]
fn a_fetch_that_hangs_in_the_module_is_killed_at_its_deadline() {
    let mut device = Device::new("deadline", Generation::V05, LONG);
    device.set("PKCS11_MODULE", hanging_module(&device).to_str().unwrap());
    device.set("CONNECT_TIMEOUT", "1s");
    device.set("FETCH_TIMEOUT", "1s");
    device.set("FETCH_DEADLINE", "2s");
    device.start();
    let first = fetch_child(&device);
    device.wait_until("the end of the fetch", SOON, |_| !first.is_alive());
    device.wait_for_problem("was killed: after 2 s", SOON);
    let second = fetch_child(&device);
    assert_ne!(second.pid, first.pid);
    assert_eq!(device.stop(), Some(0));
}

#[test]
fn good_credentials_are_taken_up_again_without_a_fetch() {
    let mut device = Device::new("resume", Generation::V05, LONG);
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    let before = device.variables();
    for round in 2..=3 {
        // Once asked to stop and once not.
        if round == 2 {
            assert_eq!(device.stop(), Some(0))
        } else {
            device.kill()
        }
        let rows = device.rows().len();
        device.start();
        device.wait_for_log_times("start app", round, SOON);
        device.wait_until("heartbeats", SOON, |device| device.rows().len() > rows + 3);
    }
    assert_eq!(device.variables(), before);
    assert_eq!(device.cloud.fetches(), 1);
    assert_eq!(device.litestream.starts().len(), 1, "a confirmed restart is not done again");
    device.stop();
}

#[test]
fn state_of_an_earlier_boot_counts_for_nothing() {
    let mut device = Device::new("boot", Generation::V05, LONG);
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    device.stop();
    // What is on tmpfs does not outlive a boot; here it is damaged instead of gone.
    std::fs::write(device.runtime_directory.join("state.json"), "{\"half\":").unwrap();
    device.start();
    device.wait_for_log_times("restart success litestream", 2, SOON);
    assert_eq!(device.cloud.fetches(), 2);
    assert_eq!(device.stop(), Some(0));
}

fn fetch_child(device: &Device) -> Seen {
    device.wait_for("a fetch", SOON, |device| {
        device.children().into_iter().find(|child| child.command_line.contains("edgerotate fetch"))
    })
}

/// A module that never comes back from its first call, as a bus that is stuck does it.
fn hanging_module(device: &Device) -> PathBuf {
    let module = device.scratch.join("hanging.so");
    run(Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&module)
        .arg(root().join("tests/support/hanging-module.c")));
    module
}
