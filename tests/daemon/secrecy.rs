//! A search for the secrets in all that a device writes, prints and shows.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;

use crate::support::{
    Device, Generation, Process, SOON,
    process::{Seen, descendants},
    secrets::{Secrets, files_below, mode},
    wait_for, wait_until,
};

/// No child of the daemon is given more than it needs: the restart command, which hands its
/// environment on, least of all.
#[test]
fn no_setting_that_may_be_secret_is_in_the_restart_commands_environment() {
    let mut device = Device::new("environment", Generation::V05, Duration::from_secs(8));
    let shown = device.scratch.join("shown");
    let script = format!("env >>{} && exec \"$@\"", shown.display());
    let restart = device.unset("RESTART_COMMAND");
    device.set("RESTART_COMMAND", format!("/bin/sh -c '{script}' sh {restart}"));
    let configuration = device.environment["SOFTHSM2_CONF"].clone();
    let word = "not-for-others-3141";
    let module = format!("SOFTHSM2_CONF={configuration} CARD_PIN={word}");
    device.environment.insert("EDGEROTATE_MODULE_ENVIRONMENT".to_owned(), module);
    for name in ["CARD_PIN", "DEVICE_PRIVATE_KEY_PKCS11_PHRASE_OLD", "SOME_TOKEN"] {
        device.environment.insert(name.to_owned(), word.to_owned());
    }
    device.start();
    device.wait_until("a rotation", 4 * SOON, |device| device.litestream.restarts() >= 1);
    device.stop();
    let shown = fs::read_to_string(shown).unwrap();
    assert!(shown.contains("PATH="), "{shown}");
    assert!(!shown.contains(word), "{shown}");
    for name in edgerotate::settings::table::names_of_secrets() {
        assert!(!shown.contains(name), "{name}");
    }
}

#[test]
fn secrets_are_only_where_they_must_be() {
    let mut device = Device::new("secrets", Generation::V05, Duration::from_secs(8));
    device.set("LOG", "debug");
    device.start();
    let watcher = Watcher::start(device.pid());

    // Good days, and bad ones that make it talk.
    device.wait_until("two rotations", 4 * SOON, |device| device.litestream.restarts() >= 2);
    let bad_days = [
        json!({"status": 200, "garbage": "not-credentials"}),
        json!({"replace_field": {"field": "expiration", "value": "tomorrow"}}),
        json!({"replace_field": {"field": "sessionToken"}}),
        json!({"status": 403, "message": "Access Denied"}),
    ];
    for fault in bad_days {
        let told = device.problems().len();
        device.cloud.provider_fault(&fault);
        device.wait_until("a failure that is told", 4 * SOON, |device| {
            device.problems().len() > told
        });
        device.cloud.heal();
        // A mistake in the set-up is tried again slowly; a restart does it at once.
        device.stop();
        device.start();
        watcher.follow(device.pid());
    }
    device.wait_until("a rotation after that", 4 * SOON, |device| {
        device.access_key_id() == device.cloud.issued().last().map(|i| i.access_key_id.clone())
    });

    assert_dumps_no_core(device.pid());

    let shown = watcher.stop();
    device.stop();
    let secrets = Secrets::of(&device);
    assert!(secrets.len() > 6, "the search has to know what it is looking for");
    secrets.assert_none_in("an argument or the environment of a process", shown.as_bytes());

    // The whole scratch directory: logs, databases, settings, leftovers.
    let token = device.token.pin_file.parent().unwrap();
    let state = device.runtime_directory.join("state.json");
    let allowed = [device.environment_file.as_path(), &state, token, device.cloud.directory()];
    secrets.assert_none_below(&device.scratch, &allowed);

    // A lock and the mark of a refused PIN may be read by others: root's fetch by hand shares them.
    for directory in [&device.runtime_directory, &device.state_directory] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
        for file in files_below(directory) {
            assert_eq!(mode(&file) & 0o022, 0, "{} can be written by others", file.display());
        }
    }
    let holders = secrets.holders_below(&device.runtime_directory);
    assert!(holders.contains(&device.environment_file), "the search finds what is there");
    for holder in holders {
        assert_eq!(mode(&holder), 0o600, "{}", holder.display());
    }
    assert_eq!(secrets.holders_below(&device.state_directory), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_fetch_by_hand_dumps_no_core_either() {
    let device = Device::new("hand-core", Generation::V05, Duration::from_secs(3600));
    device.cloud.provider_fault(&json!({"delay_s": 600}));
    let log = device.scratch.join("fetch.log");
    let mut command = device.edgerotate(&["fetch"]);
    let mut fetch = Process::start("a fetch by hand", &mut command, &log);
    // By then it has read the settings.
    let children = wait_for("the fetch's child", SOON, || {
        assert!(fetch.has_exited().is_none(), "{}", fetch.output());
        Some(descendants(fetch.pid())).filter(|children| !children.is_empty())
    });
    assert_dumps_no_core(fetch.pid());
    assert_dumps_no_core(children[0].pid);
    fetch.kill();
    wait_until("the child's end", SOON, || children.iter().all(|child| !child.is_alive()));
}

fn assert_dumps_no_core(pid: u32) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

/// Looks over and over at the arguments and the environment of the daemon and its children.
struct Watcher {
    end: Arc<AtomicBool>,
    daemon: Arc<Mutex<u32>>,
    thread: thread::JoinHandle<String>,
}

impl Watcher {
    fn start(pid: u32) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let daemon = Arc::new(Mutex::new(pid));
        let (flag, shared) = (Arc::clone(&end), Arc::clone(&daemon));
        let thread = thread::spawn(move || {
            let mut shown = String::new();
            while !flag.load(Ordering::Relaxed) {
                let pid = *shared.lock().unwrap();
                for process in Seen::new(pid).into_iter().chain(descendants(pid)) {
                    let environment =
                        fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
                    let seen = format!(
                        "{}\n{}\n",
                        process.command_line,
                        String::from_utf8_lossy(&environment)
                    );
                    if !shown.contains(&seen) {
                        shown += &seen;
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
            shown
        });
        Self { end, daemon, thread }
    }

    /// The daemon has another process id now.
    fn follow(&self, pid: u32) {
        *self.daemon.lock().unwrap() = pid;
    }

    fn stop(self) -> String {
        self.end.store(true, Ordering::Relaxed);
        let shown = self.thread.join().unwrap();
        assert!(shown.contains("edgerotate fetch"), "no fetch was ever caught:\n{shown}");
        shown
    }
}
