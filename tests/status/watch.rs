//! `--watch`, and a terminal.

use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::{
    LONG,
    support::{Device, Generation, Process, SOON, process::tied},
    wait_until_well,
};

#[test]
fn watch_shows_it_again_and_again_until_a_signal() {
    let mut device = Device::new("watch", Generation::V05, LONG);
    device.start();
    wait_until_well(&device);
    let output = device.scratch.join("watch");
    let mut command = device.edgerotate(&["status", "--watch", "--json"]);
    let mut watch = Process::start("status --watch", &mut command, &output);
    device.wait_until("three looks", SOON, |_| watch.output().lines().count() >= 3);
    for line in watch.output().lines().take(3) {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["running"], true);
    }
    let before = watch.output().lines().count();
    device.stop();
    device.wait_until("the daemon's end in it", SOON, |_| {
        watch.output().lines().skip(before).any(|line| line.contains("\"state\":\"down\""))
    });
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.wait(SOON).code(), Some(69), "the last state's");
}

#[test]
fn a_terminal_gets_colours_unless_they_are_not_wanted() {
    let mut device = Device::new("tty", Generation::V05, LONG);
    device.start();
    wait_until_well(&device);
    let command = device.edgerotate(&["status"]);
    let words: Vec<_> = command.get_args().map(|word| format!("'{}'", word.display())).collect();
    let on_a_terminal = |variable: (&str, &str)| {
        let mut script = tied("script");
        script.args(["-qec", &format!("setpriv {}", words.join(" ")), "/dev/null"]);
        let output = script.env("TERM", "xterm").env(variable.0, variable.1);
        let output = output.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let green = "\u{1b}[1;32mall is well\u{1b}[0m";
    assert!(on_a_terminal(("A", "b")).contains(green));
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(!on_a_terminal(plain).contains('\u{1b}'), "{plain:?}");
    }
    device.stop();
}
