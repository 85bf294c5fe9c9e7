//! A daemon that does not run, and a status that may not look.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    LONG, findings, json, status,
    support::{Device, Generation, SOON, process::tied, skip},
    wait_until_well,
};

#[test]
fn a_daemon_that_never_ran() {
    let device = Device::new("never", Generation::V05, LONG);
    let value = json(&device);
    assert_eq!((&value["state"], &value["running"]), (&"down".into(), &false.into()));
    assert_eq!(value["exit_code"], 69);
    fs::remove_dir_all(&device.runtime_directory).unwrap();
    let (screen, code) = status(&device, &[]);
    assert_eq!(code, 69);
    let place = device.runtime_directory.display();
    let line = format!(
        "! daemon-not-running: edgerotate does not run: it has left nothing in {place} since boot"
    );
    assert_eq!(screen.lines().nth(2), Some(line.as_str()));
}

#[test]
fn a_daemon_that_was_stopped_or_killed_shows_what_it_left() {
    let mut device = Device::new("down", Generation::V05, LONG);
    device.start();
    wait_until_well(&device);
    // One that ends while it guards leaves a replica that may lack rows.
    device.wait_for_log("holds its own read lock", SOON);
    device.stop();
    let (screen, code) = status(&device, &[]);
    assert_eq!(code, 69);
    assert!(screen.starts_with("edgerotate on line-7-press-12: NOT RUNNING\n"), "{screen}");
    assert!(screen.contains("edgerotate does not run: stopped by SIGTERM at "), "{screen}");
    assert!(screen.contains("  credentials  good until "), "{screen}");
    assert!(screen.contains("Litestream can upload until its credentials expire at "), "{screen}");

    device.start();
    wait_until_well(&device);
    device.kill();
    let (screen, code) = status(&device, &[]);
    assert_eq!(code, 69);
    assert!(
        screen.contains("edgerotate does not run: killed, or crashed; last seen at "),
        "{screen}"
    );
    assert_eq!(findings(&json(&device)), ["daemon-not-running"]);
}

#[test]
fn a_record_that_is_broken_is_told() {
    let device = Device::new("broken", Generation::V05, LONG);
    for text in ["{", "{\"version\":1}", ""] {
        fs::write(device.runtime_directory.join("status.json"), text).unwrap();
        assert_eq!(findings(&json(&device)), ["daemon-not-running", "state-unreadable"], "{text}");
    }
}

/// The group that the image gives the runtime directory may look, and nobody else.
#[test]
fn who_may_look() {
    if !nix::unistd::Uid::effective().is_root() {
        return skip("only root can become others");
    }
    let mut device = Device::new("rights", Generation::V05, LONG);
    device.start();
    wait_until_well(&device);
    // What stands on the way to it is not what is tested.
    for directory in [&*device.scratch, device.runtime_directory.parent().unwrap()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    const GROUP: u32 = 54_321;
    // As systemd makes it for a unit with this group; here the bit gives it to what is made in it.
    let runtime = &device.runtime_directory;
    std::os::unix::fs::chown(runtime, None, Some(GROUP)).unwrap();
    fs::set_permissions(runtime, fs::Permissions::from_mode(0o2750)).unwrap();

    let (text, code) = as_somebody(&device, GROUP - 1);
    assert_eq!(code, 77, "{text}");
    assert!(text.contains("! state-not-permitted: "), "{text}");

    device.wait_until("a record that its group can read", SOON, |device| {
        let (text, code) = as_somebody(device, GROUP);
        code == 0 && text.contains("all is well")
    });
    device.stop();
}

fn as_somebody(device: &Device, group: u32) -> (String, i32) {
    let mut command = device.edgerotate(&["status"]);
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    // Behind setpriv and its own arguments.
    let program = arguments.iter().position(|argument| argument == "--").unwrap();
    let copy = readable_copy(device, Path::new(&arguments[program + 1]));
    let group = group.to_string();
    command = tied("setpriv");
    command
        .args(["--reuid", "54321", "--regid", &group, "--clear-groups"])
        .arg(copy)
        .args(&arguments[program + 2..]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.code().unwrap())
}

/// The build's own directory need not be open to others.
fn readable_copy(device: &Device, program: &Path) -> std::path::PathBuf {
    let copy = device.scratch.join("edgerotate");
    if !copy.exists() {
        fs::copy(program, &copy).unwrap();
    }
    copy
}
