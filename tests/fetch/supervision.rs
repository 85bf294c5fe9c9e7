//! The parent's side: modules that hang, crash and shout, and what of the child can be seen from
//! outside.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use edgerotate::{
    commands::fetch::by_hand,
    core::secret::Secret,
    fetch::protocol::{FetchOrder, Purpose, VERSION},
    problems::{exit_code, failure::Cause},
    settings::Pin,
};
use nix::fcntl::{Flock, FlockArg};

use crate::{
    bench::{Bench, LISTENER, count},
    support::{
        Process, SOON,
        process::{Seen, tied},
        wait_for, wait_until,
    },
};

// Each is a test, and shows these causes.
cases! {
    a_module_that_hangs_is_killed_at_the_deadline: FetchHung;
    modules_that_end_the_process: FetchCrashed FetchBroken;
    what_a_module_starts_ends_with_the_fetch_and_does_not_hold_it_up: FetchCrashed;
    a_token_that_another_holds_is_waited_for_but_not_for_ever: TokenBusy TokenLockUnusable;
    a_lock_that_leads_elsewhere_gives_nothing_away: TokenLockUnusable;
    a_program_that_is_none: FetchNotStarted FetchBroken;
}

/// Who hangs in the shim: the child and the one it started.
fn hanging(log: &Path) -> Option<[Seen; 2]> {
    let text = fs::read_to_string(log).ok()?;
    let ids = text.lines().filter_map(|line| line.strip_prefix("hangs ")?.parse().ok());
    ids.filter_map(Seen::new).collect::<Vec<_>>().try_into().ok()
}

/// The child does; what it started does not.
fn leads_session(process: &Seen) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap();
    let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned();
    session == process.pid.to_string()
}

fn assert_gone(processes: &[Seen]) {
    wait_until("the end of what hung", SOON, || {
        processes.iter().all(|process| !process.is_alive())
    });
}

fn a_module_that_hangs_is_killed_at_the_deadline() {
    let mut bench = Bench::new("hang");
    let log = bench.shim("hang");
    bench.provider.fetch_timeout = Duration::from_secs(1);
    bench.provider.fetch_deadline = Duration::from_secs(2);
    let seen = thread::scope(|scope| {
        let seen = scope.spawn(|| wait_for("two that hang", SOON, || hanging(&log)));
        bench.assert_fails(Cause::FetchHung, &["after 2 s", "shim.so"]);
        seen.join().unwrap()
    });
    assert_gone(&seen);
}

#[test]
fn a_fetch_that_is_given_up_leaves_nobody() {
    let mut bench = Bench::new("given-up");
    let log = bench.shim("hang");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = runtime.block_on(async {
        tokio::select! {
            _ = bench.launcher.fetch(&bench.provider, |_| {}) => panic!("it ended"),
            seen = async {
                loop {
                    if let Some(seen) = hanging(&log) {
                        break seen;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            } => seen,
        }
    });
    assert_gone(&seen);
}

fn modules_that_end_the_process() {
    for (behaviour, cause, words) in [
        ("abort", Cause::FetchCrashed, "by SIGABRT"),
        ("segv", Cause::FetchCrashed, "by SIGSEGV"),
        ("exit", Cause::FetchBroken, "exit status: 3, 0 bytes"),
    ] {
        let mut bench = Bench::new(behaviour);
        bench.shim(behaviour);
        bench.assert_fails(cause, &[words]);
    }
}

#[test]
fn what_happens_after_the_reply_does_no_harm() {
    for behaviour in ["abort-at-end", "hang-at-end"] {
        let mut bench = Bench::new(behaviour);
        let log = bench.shim(behaviour);
        bench.fetch_credentials();
        assert_eq!(count(&log, "C_Finalize"), 1);
    }
}

fn what_a_module_starts_ends_with_the_fetch_and_does_not_hold_it_up() {
    for behaviour in ["fork", "fork-and-abort"] {
        let mut bench = Bench::new(behaviour);
        let log = bench.shim(behaviour);
        match behaviour {
            "fork" => drop(bench.fetch_credentials()),
            _ => bench.assert_fails(Cause::FetchCrashed, &["by SIGABRT"]),
        }
        let text = fs::read_to_string(&log).unwrap();
        let helper = text.lines().find_map(|line| line.strip_prefix("helper ")?.parse().ok());
        let helper: u32 = helper.unwrap_or_else(|| panic!("no helper in {text}"));
        wait_until("the helper's end", SOON, || {
            Seen::new(helper).is_none_or(|process| !process.is_alive())
        });
    }
}

#[test]
fn a_module_that_shouts() {
    let mut bench = Bench::new("noise");
    bench.shim("noise");
    bench.fetch_credentials();
}

#[test]
fn what_a_module_prints_is_for_the_debug_log_without_the_pin() {
    let mut bench = Bench::new("print-pin");
    bench.shim("print-pin");
    bench.fetch_credentials();
    assert!(!LISTENER.lines("PIN is [PIN]").is_empty());
    assert!(LISTENER.lines(bench.token.pin()).is_empty());
}

#[test]
fn nothing_secret_can_be_seen_from_outside() {
    let mut bench = Bench::new("outside");
    let log = bench.shim("hang");
    bench.token_settings().pin = Pin::Value(Secret::new(bench.token.pin().to_owned()));
    bench.launcher.environment.push(("LD_LIBRARY_PATH".into(), "/elsewhere".into()));
    bench.provider.fetch_timeout = Duration::from_secs(1);
    bench.provider.fetch_deadline = Duration::from_secs(3);
    thread::scope(|scope| {
        scope.spawn(|| bench.fetch());
        let seen = wait_for("two that hang", SOON, || hanging(&log));
        let of = |what: &str| {
            String::from_utf8_lossy(&fs::read(format!("/proc/{}/{what}", seen[0].pid)).unwrap())
                .into_owned()
        };
        assert_eq!(of("cmdline").split('\0').skip(1).collect::<Vec<_>>(), ["fetch", "--child", ""]);
        let environment = of("environ");
        assert!(environment.contains("SOFTHSM2_CONF=") && environment.contains("SHIM=hang"));
        assert!(
            !environment.contains(bench.token.pin()) && !environment.contains("LD_"),
            "{environment}"
        );
        let limits = of("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
        // A session of its own, so no terminal to ask for a PIN.
        assert_eq!(seen.iter().filter(|process| leads_session(process)).count(), 1);
        let stat = of("stat");
        let terminal = stat.rsplit_once(") ").unwrap().1.split(' ').nth(4).unwrap();
        assert_eq!(terminal, "0");
    });
}

#[test]
fn an_order_of_another_version_is_known_as_such() {
    let bench = Bench::new("version");
    let mut child = tied(&bench.launcher.program)
        .args(["fetch", "--child"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Whatever else it may hold.
    let order = format!(r#"{{"version":{},"parent":"who","more":[]}}"#, VERSION + 1);
    child.stdin.take().unwrap().write_all(order.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(exit_code::OTHER_VERSION.into()), "{ended:?}");
    assert!(ended.stdout.is_empty());
}

#[test]
fn the_child_dies_with_its_parent() {
    let mut bench = Bench::new("orphan");
    let log = bench.shim("hang");
    // Another parent than this one, which is to stay.
    let order = FetchOrder {
        version: VERSION,
        parent: 0,
        purpose: Purpose::Fetch,
        provider: bench.provider.clone(),
        runtime_directory: bench.launcher.runtime_directory.clone(),
        state_directory: bench.launcher.state_directory.clone(),
    };
    let order_file = bench.scratch.join("order.json");
    fs::write(&order_file, serde_json::to_string(&order).unwrap()).unwrap();
    let script = "import json, os, subprocess, sys
order = json.load(open(sys.argv[2]))
order['parent'] = os.getpid()
child = subprocess.Popen([sys.argv[1], 'fetch', '--child'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(json.dumps(order).encode())
child.stdin.close()
child.wait()";
    let mut command = tied("python3");
    command.args(["-c", script]).arg(&bench.launcher.program).arg(&order_file);
    command.envs(bench.launcher.environment.iter().map(|(name, value)| (name, value)));
    let mut parent = Process::start("the parent", &mut command, &bench.scratch.join("parent.log"));
    let seen = wait_for("two that hang", SOON, || hanging(&log));
    let child = seen.iter().find(|process| leads_session(process)).unwrap().clone();
    parent.kill();
    // What the module started is beyond reach now; the child itself is not.
    assert_gone(std::slice::from_ref(&child));
    for process in seen {
        // Killed by its id, which is still its own: the test that started it looks after it.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(process.pid.try_into().unwrap()),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
}

fn a_token_that_another_holds_is_waited_for_but_not_for_ever() {
    let mut bench = Bench::new("busy");
    bench.fetch_credentials();
    let lock = bench.launcher.runtime_directory.join("token.lock");
    // Whoever can open it can keep the device from its token.
    assert_eq!(fs::metadata(&lock).unwrap().mode() & 0o777, 0o640);
    let held = Flock::lock(fs::File::open(&lock).unwrap(), FlockArg::LockExclusive).unwrap();
    bench.provider.fetch_timeout = Duration::from_secs(1);
    bench.provider.fetch_deadline = Duration::from_secs(3);
    bench.assert_fails(Cause::TokenBusy, &["token.lock"]);
    drop(held);
    bench.provider.fetch_timeout = Duration::from_secs(30);
    bench.provider.fetch_deadline = Duration::from_secs(60);
    bench.fetch_credentials();

    bench.launcher.runtime_directory = bench.token.pin_file.clone();
    bench.assert_fails(Cause::TokenLockUnusable, &["token.lock"]);
}

fn a_lock_that_leads_elsewhere_gives_nothing_away() {
    let bench = Bench::new("lock-link");
    bench.fetch_credentials();
    let lock = bench.launcher.runtime_directory.join("token.lock");
    let victim = bench.scratch.join("of-another");
    fs::write(&victim, "").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::geteuid().is_root() {
        // As the daemon's user has it, and root fetches.
        chown(&bench.launcher.runtime_directory, Some(65534), Some(65534)).unwrap();
    }
    let seen = || fs::metadata(&victim).map(|m| (m.mode() & 0o777, m.uid())).unwrap();
    let before = seen();
    fs::remove_file(&lock).unwrap();
    symlink(&victim, &lock).unwrap();
    bench.assert_fails(Cause::TokenLockUnusable, &["token.lock"]);
    assert_eq!(seen(), before);
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&victim, &lock).unwrap();
    bench.fetch_credentials();
    assert_eq!(seen(), before);
}

#[test]
fn of_many_at_once_with_a_wrong_pin_one_is_refused() {
    let mut bench = Bench::new("many");
    let log = bench.shim("");
    bench.token_settings().pin = Pin::Value(Secret::new("0000000000".to_owned()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| bench.fetch_failure());
        }
    });
    assert_eq!(count(&log, "C_Login"), 1);
}

fn a_program_that_is_none() {
    let mut bench = Bench::with_key_file("no-program");
    bench.launcher.program = "/nonexistent/edgerotate".into();
    bench.assert_fails(Cause::FetchNotStarted, &["/nonexistent/edgerotate"]);
    bench.launcher.program = "/bin/echo".into();
    bench.assert_fails(Cause::FetchBroken, &["exit status: 0"]);
    bench.launcher.program = "/usr/bin/yes".into();
    bench.assert_fails(Cause::FetchBroken, &[]);
}

#[test]
fn a_person_reads_no_secret() {
    let bench = Bench::new("by-hand");
    let mut out = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(by_hand(&bench.provider, &bench.launcher, &mut out)).unwrap();
    let out = String::from_utf8(out).unwrap();
    let issued = &bench.cloud.issued()[0];
    assert!(
        out.contains(&issued.access_key_id) && out.contains("agrees with the provider's"),
        "{out}"
    );
    assert!(!out.contains(&issued.secret_access_key) && !out.contains(&issued.session_token));
}
