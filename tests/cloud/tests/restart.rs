//! The process itself: what it keeps, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use serde_json::{Value, json};
use support::{Cloud, Device, cloud, text, tool, wait_for};

#[test]
fn a_restart_finds_everything_as_it_was() {
    let (scratch, first) = cloud(&["--lifetime", "1200"]);
    let device = Device::new(&first, scratch.path(), "device-1");
    let session = device.session(&first, Some("device-1"));
    let directory = first.directory.clone();
    let mut before = first.description.clone();
    assert!(first.stop().success());

    let second = Cloud::start(&directory, &[]);
    let mut after = second.description.clone();
    before["pid"] = Value::Null;
    after["pid"] = Value::Null;
    assert_eq!(before, after);
    assert_eq!(device.ask(&second, Some("device-1")).status, Some(200));
    let alias =
        &second.control("GET", "/state", &json!(null))["role_aliases"]["edgerotate-role-alias"];
    assert_eq!(alias["lifetime_s"], 1200);

    let list = session
        .client(&tool("venv/bin/aws"), scratch.path())
        .args([
            "--endpoint-url",
            second.text("s3_endpoint"),
            "s3api",
            "list-objects-v2",
            "--bucket",
            "replica",
        ])
        .output()
        .unwrap();
    assert!(list.status.success(), "{}", text(&list.stderr));
}

#[test]
fn one_directory_has_one_cloud() {
    let (_scratch, cloud) = cloud(&[]);
    let second = support::command(&cloud.directory, &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another edgerotate-cloud"), "{}", text(&second.stderr));
}

#[test]
fn it_ends_with_its_parent() {
    let scratch = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", "\"$0\" --tie-to-parent --directory \"$1\" & wait"])
        .arg(env!("CARGO_BIN_EXE_edgerotate-cloud"))
        .arg(scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let description: Value = serde_json::from_str(&line).unwrap();
    let pid = Pid::from_raw(description["pid"].as_i64().unwrap().try_into().unwrap());
    assert_eq!(kill(pid, None), Ok(()));
    shell.kill().unwrap();
    shell.wait().unwrap();
    // Whoever adopts it may leave it as a zombie: then it has no memory any more.
    wait_for("the cloud's end", || {
        let gone = kill(pid, None) == Err(Errno::ESRCH);
        let empty = || {
            std::fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.is_empty())
        };
        (gone || empty()).then_some(())
    });
}

#[test]
fn a_mistake_on_the_command_line_is_told() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_edgerotate-cloud")).arg("--directroy").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
