//! Everything that `status` can find, each with a cause that is real; the whole line is compared,
//! and what to do.
//!
//! A kind that is in no scenario fails [`there_is_a_scenario_for_each_kind`]; a scenario that does
//! not show its kinds fails as well.

use std::{cell::RefCell, fs, os::unix::fs::PermissionsExt, time::Duration};

use edgerotate::problems::kinds::Kind;
use nix::sys::signal::Signal;
use serde_json::json as value;

use crate::{
    LONG, json, status,
    support::{
        Device, Generation, SOON, database,
        device::program,
        fits,
        process::{run, tied},
        skip,
    },
    wait_until_well,
};

/// Each scenario is a test, and shows these kinds.
macro_rules! scenarios {
    ($($name:ident: $($kind:ident)*;)*) => {
        $(
            #[test]
            fn $name() {
                if scenario::$name() == Played::Skipped {
                    return;
                }
                let shown = SHOWN.take();
                for kind in [$(Kind::$kind),*] {
                    assert!(shown.contains(&kind), "{} was not shown", kind.name());
                }
            }
        )*

        const SHOWN_BY_SCENARIOS: &[Kind] = &[$($(Kind::$kind,)*)*];
    };
}

scenarios! {
    of_the_credentials_and_their_way: NoCredentials NotHandedOver CredentialsExpired HandOverSlow;
    of_the_settings: SettingIgnored SettingWrong SettingMissing;
    of_a_restart_that_fails: HandOverFails;
    of_litestream: LitestreamNotRunning;
    of_uploads: ReplicaBehind UploadsUnseen;
    of_the_guard: GuardNotHad GuardGivenUp;
    of_a_replica_that_stands_still: ReplicaStandsStill;
    of_a_wal_that_grows: WalTooLarge;
    of_suspect_replicas: Suspect SuspectUnknown;
    of_the_clock: ClockOff ClockWrong;
    of_the_record: StateNotWritten StateUnreadable;
    of_a_daemon_that_is_down: NotRunning;
    of_who_looks: StateNotPermitted RunningUnknown SettingsNotPermitted;
    of_heartbeats_that_fail: HeartbeatFails;
    of_storage_that_hangs: HeartbeatSilent;
    of_a_program_that_no_longer_asks: ConsumerRanOut;
    of_a_full_runtime_directory: DirectoryFull StateOld;
}

#[test]
fn there_is_a_scenario_for_each_kind() {
    let without: Vec<_> =
        Kind::ALL.iter().filter(|kind| !SHOWN_BY_SCENARIOS.contains(kind)).collect();
    assert!(without.is_empty(), "{without:?}");
}

#[derive(PartialEq, Eq)]
enum Played {
    Yes,
    Skipped,
}

thread_local! {
    /// What this test has shown so far.
    static SHOWN: RefCell<Vec<Kind>> = const { RefCell::new(Vec::new()) };
}

/// Waits until it is on the screen, with this detail, in which `*` is what differs from run to run;
/// and is told alike in the JSON.
fn assert_told(device: &Device, kind: Kind, detail: &str) {
    let line = match kind {
        // What is wrong with a setting says it all by itself.
        Kind::SettingIgnored
        | Kind::SettingMissing
        | Kind::SettingWrong
        | Kind::SettingsNotPermitted => format!("! {}: {detail}", kind.name()),
        _ if detail.is_empty() => format!("! {}: {}", kind.name(), kind.what()),
        _ => format!("! {}: {}: {detail}", kind.name(), kind.what()),
    };
    let mut last = String::new();
    let start = std::time::Instant::now();
    while assert_on(&last, kind, &line).is_none() {
        assert!(start.elapsed() < 4 * SOON, "no line {line:?} in\n{last}\n{}", device.log_tail());
        std::thread::sleep(Duration::from_millis(50));
        last = status(device, &[]).0;
    }
    let found = json(device);
    let all = found["findings"].as_array().unwrap();
    let own = all.iter().find(|finding| finding["code"] == kind.name());
    let own = own.unwrap_or_else(|| panic!("{} in {found:#}", kind.name()));
    assert_eq!(own["exit_code"], kind.exit_code());
    assert_eq!(own["level"], if kind.exit_code() == 0 { "warning" } else { "wrong" });
    SHOWN.with_borrow_mut(|shown| shown.push(kind));
}

/// `None` as long as the line is not there.
fn assert_on(screen: &str, kind: Kind, line: &str) -> Option<()> {
    let mut lines = screen.lines().skip_while(|shown| !fits(line, shown));
    lines.next()?;
    let remedy = lines.find_map(|line| line.trim_start().strip_prefix("what to do: "));
    let remedy = remedy.unwrap_or_else(|| panic!("{screen}"));
    assert!(fits(&kind.remedy().replace("FILE", "*"), remedy), "{screen}");
    assert!(!remedy.contains("FILE") && !remedy.contains("USER"), "{screen}");
    Some(())
}

mod scenario {
    use super::*;

    pub fn of_the_credentials_and_their_way() -> Played {
        let mut device = Device::new("no-credentials", Generation::V05, Duration::from_secs(20));
        device.cloud.provider_fault(&value!({"delay_s": 600.0}));
        device.start();
        assert_told(&device, Kind::NoCredentials, "");
        device.stop();
        device.cloud.heal();

        device.litestream.hold_starts();
        device.start();
        assert_told(&device, Kind::NotHandedOver, "");
        device.litestream.allow_starts();
        device.wait_for_log("restart success litestream", SOON);
        device.cloud.provider_fault(&value!({"refuse_connections": true}));
        assert_told(&device, Kind::CredentialsExpired, "");

        // Newer ones come. Litestream, which is to stop, tries for half a minute to upload what it
        // has.
        device.cloud.s3_fault(&value!({"refuse_connections": true}));
        device.cloud.set_lifetime(LONG);
        device.cloud.healer()();
        assert_told(&device, Kind::HandOverSlow, "");
        device.stop();
        Played::Yes
    }

    /// A daemon that runs is shown all the same, by a person who looks with other settings.
    pub fn of_the_settings() -> Played {
        let mut device = Device::new("of-settings", Generation::V05, LONG);
        device.start();
        wait_until_well(&device);
        let assert_shown = |device: &Device| {
            assert_eq!(json(device)["record"]["daemon"]["pid"], device.pid());
        };
        device.set("LITESTREAM_METRIC", "http://127.0.0.1:9090/metrics");
        let file = device.scratch.join("device.env").display().to_string();
        assert_told(
            &device,
            Kind::SettingIgnored,
            &format!(
                "{file}:*: EDGEROTATE_LITESTREAM_METRIC: is not a setting; is \
                 EDGEROTATE_LITESTREAM_METRICS meant?"
            ),
        );
        assert_eq!(json(&device)["state"], "notice");
        assert_shown(&device);
        device.unset("LITESTREAM_METRIC");

        device.set("LOG", "loud");
        let what = "EDGEROTATE_LOG: must be error, warn, info or debug (got \"loud\")";
        assert_told(&device, Kind::SettingWrong, &format!("{file}:*: {what}"));
        assert_shown(&device);
        device.set("LOG", "debug");

        let alias = device.unset("ROLE_ALIAS");
        let what = "settings: EDGEROTATE_ROLE_ALIAS: is not set, but needed (looked in *";
        assert_told(&device, Kind::SettingMissing, what);
        assert_shown(&device);
        let database = device.unset("DATABASE");
        let what = "settings: EDGEROTATE_ROLE_ALIAS, EDGEROTATE_DATABASE: are not set, but needed; \
         `edgerotate check` says \
                    what for";
        assert_told(&device, Kind::SettingMissing, what);
        device.set("DATABASE", database);
        device.set("ROLE_ALIAS", alias);
        wait_until_well(&device);
        device.stop();
        Played::Yes
    }

    pub fn of_litestream() -> Played {
        let mut device = Device::new("no-litestream", Generation::V05, LONG);
        device.start();
        device.wait_for_log("restart success litestream", SOON);
        device.litestream.stop();
        assert_told(&device, Kind::LitestreamNotRunning, "");
        device.stop();
        Played::Yes
    }

    pub fn of_uploads() -> Played {
        let mut device = Device::new("behind", Generation::V05, LONG);
        let metrics = device.litestream.serve_metrics();
        device.set("LITESTREAM_METRICS", metrics);
        device.set("VERIFY_MAX_LAG", "4s");
        device.start();
        wait_until_well(&device);
        device.cloud.s3_fault(&value!({"refuse_connections": true}));
        assert_told(&device, Kind::ReplicaBehind, "");
        device.stop();

        device.cloud.heal();
        device.set("LITESTREAM_METRICS", "http://127.0.0.1:1/metrics");
        device.start();
        assert_told(
            &device,
            Kind::UploadsUnseen,
            "http://127.0.0.1:1/metrics: Connection refused*",
        );
        device.stop();
        Played::Yes
    }

    pub fn of_the_guard() -> Played {
        let mut device = Device::new("unguarded", Generation::V05, LONG);
        let journal = device.database.with_file_name("journal.db");
        let connection = rusqlite::Connection::open(&journal).unwrap();
        connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
        device.set("GUARD_DATABASES", journal.to_str().unwrap());
        device.litestream.hold_starts();
        device.start();
        let path = journal.display().to_string();
        let why = "is in journal mode delete, where a guard would lock writers out; run PRAGMA \
         journal_mode=WAL on it, as \
                   Litestream does";
        assert_told(&device, Kind::GuardNotHad, &format!("{path}: {why}"));
        device.litestream.allow_starts();
        device.stop();

        // One that can be guarded, and that Litestream does not replicate.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; INSERT INTO t DEFAULT VALUES")
            .unwrap();
        device.set("GUARD_MAX_TIME", "1s");
        device.start();
        assert_told(&device, Kind::GuardGivenUp, &path);
        device.stop();
        Played::Yes
    }

    /// Litestream's directory is gone under it, and the restart that would help it fails.
    pub fn of_a_replica_that_stands_still() -> Played {
        let mut device = Device::new("still", Generation::V05, LONG);
        let application = crate::support::application::Application::new(&mut device, "app.db");
        let path = application.path.display().to_string();
        device.set("GUARD_DATABASES", &path);
        device.set("VERIFY_MAX_LAG", "10s");
        device.start();
        device.wait_for_log_times("holds its own read lock", 2, SOON);
        device.litestream.fail_restarts(1000);
        fs::remove_dir_all(device.database.with_file_name(".app.db-litestream")).unwrap();
        application.write(20);
        assert_told(&device, Kind::ReplicaStandsStill, &format!("{path}*"));
        device.stop();
        Played::Yes
    }

    /// A program keeps a read transaction open, so that not even Litestream can begin the WAL anew.
    pub fn of_a_wal_that_grows() -> Played {
        let mut device = Device::new("grows", Generation::V05, LONG);
        let application = crate::support::application::Application::new(&mut device, "app.db");
        let path = application.path.display().to_string();
        device.set("GUARD_DATABASES", &path);
        device.set("GUARD_MAX_WAL", "1M");
        device.set("VERIFY_MAX_LAG", "10s");
        device.start();
        device.wait_for_log_times("holds its own read lock", 2, SOON);
        let reader = database::open(&application.path).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM HealthCheck").unwrap();
        application.write(400);
        assert_told(&device, Kind::WalTooLarge, &path);
        device.stop();
        Played::Yes
    }

    pub fn of_the_clock() -> Played {
        for (offset, kind, detail) in [
            (150, Kind::ClockOff, "2 min* behind the provider's"),
            (-150, Kind::ClockOff, "* ahead of the provider's"),
            (-7300, Kind::ClockWrong, "2 h * ahead of the provider's"),
        ] {
            let mut device = Device::new(&format!("clock{offset}"), Generation::V05, LONG);
            device.cloud.provider_fault(&value!({"date_offset_s": offset}));
            device.start();
            assert_told(&device, kind, detail);
            device.stop();
        }
        Played::Yes
    }

    pub fn of_the_record() -> Played {
        let mut device = Device::new("stands-still", Generation::V05, LONG);
        device.start();
        wait_until_well(&device);
        device.daemon().signal(Signal::SIGSTOP);
        let file = device.runtime_directory.join("status.json");
        fs::remove_file(&file).unwrap();
        assert_told(&device, Kind::StateNotWritten, &format!("{} is not there", file.display()));
        device.daemon().signal(Signal::SIGCONT);
        wait_until_well(&device);
        device.stop();
        let not_understood =
            format!("{}: EOF while parsing an object at line 1 column 1", file.display());
        fs::write(&file, "{").unwrap();
        assert_told(&device, Kind::StateUnreadable, &not_understood);
        Played::Yes
    }

    pub fn of_a_restart_that_fails() -> Played {
        let mut device = Device::new("no-restart", Generation::V05, LONG);
        device.set("RESTART_COMMAND", "/bin/false");
        device.start();
        assert_told(&device, Kind::HandOverFails, "/bin/false failed*");
        device.stop();
        Played::Yes
    }

    pub fn of_suspect_replicas() -> Played {
        let mut device = Device::new("of-suspect", Generation::V05, LONG);
        let file = device.state_directory.join("suspect");
        let database = device.database.display().to_string();
        let mark = value!({"databases": {
            &database: [{"since": "2026-11-21T08:00:00Z", "what": "unguarded"}]
        }});
        fs::write(&file, mark.to_string()).unwrap();
        device.start();
        assert_told(&device, Kind::Suspect, &format!("{database}: unguarded"));
        device.stop();
        // It stays true of a daemon that has ended.
        assert_told(&device, Kind::Suspect, &format!("{database}: *unguarded*"));

        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        device.start();
        assert_told(&device, Kind::SuspectUnknown, "");
        device.stop();
        Played::Yes
    }

    pub fn of_a_daemon_that_is_down() -> Played {
        let mut device = Device::new("of-down", Generation::V05, LONG);
        let place = device.runtime_directory.display().to_string();
        let never = format!("it has left nothing in {place} since boot");
        assert_told(&device, Kind::NotRunning, &never);
        device.start();
        wait_until_well(&device);
        // One that ends while it guards leaves a replica that may lack rows.
        device.wait_for_log("holds its own read lock", SOON);
        device.stop();
        assert_told(&device, Kind::NotRunning, "stopped by SIGTERM at *:*:* (* ago)");
        device.start();
        wait_until_well(&device);
        device.kill();
        assert_told(&device, Kind::NotRunning, "killed, or crashed; last seen at *:*:* (* ago)");
        Played::Yes
    }

    pub fn of_who_looks() -> Played {
        if !nix::unistd::geteuid().is_root() {
            skip("only root can become others, or take /proc away");
            return Played::Skipped;
        }
        let mut device = Device::new("of-who", Generation::V05, LONG);
        device.start();
        wait_until_well(&device);

        // As in a unit with ProcSubset=pid, and in some containers.
        device.wrap(&["unshare", "--mount"], "mount -t proc -o subset=pid proc /proc");
        let why = "/proc/locks: No such file or directory (os error 2)";
        assert_told(&device, Kind::RunningUnknown, why);

        // The program may be where only root can go; the runtime directory is.
        let copy = device.scratch.join("edgerotate");
        fs::copy(program(), &copy).unwrap();
        run(tied("chmod").arg("a+x").args([&*device.scratch, &copy]));
        device
            .run_as(&["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"], &copy);
        let file = device.runtime_directory.join("status.json");
        assert_told(&device, Kind::StateNotPermitted, &file.display().to_string());

        let settings = device.scratch.join("device.env");
        fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
        let why =
            format!("{}: cannot be read: Permission denied (os error 13)", settings.display());
        assert_told(&device, Kind::SettingsNotPermitted, &why);
        device.stop();
        Played::Yes
    }

    pub fn of_heartbeats_that_fail() -> Played {
        let mut device = Device::new("of-beats", Generation::V05, LONG);
        device.start();
        wait_until_well(&device);
        let mut other = database::open(&device.database).unwrap();
        let lock =
            other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        assert_told(&device, Kind::HeartbeatFails, &format!("{}: *", device.database.display()));
        drop(lock);
        wait_until_well(&device);
        device.stop();
        Played::Yes
    }

    /// A file system that takes no writes for a while, as a card does that is about to die.
    struct Frozen(std::path::PathBuf);

    impl Frozen {
        fn new(directory: &std::path::Path) -> Self {
            run(tied("fsfreeze").arg("--freeze").arg(directory));
            Self(directory.to_owned())
        }
    }

    impl Drop for Frozen {
        fn drop(&mut self) {
            run(tied("fsfreeze").arg("--unfreeze").arg(&self.0));
        }
    }

    struct Mounted(std::path::PathBuf);

    impl Drop for Mounted {
        fn drop(&mut self) {
            run(tied("umount").arg("--lazy").arg(&self.0));
        }
    }

    pub fn of_storage_that_hangs() -> Played {
        if !nix::unistd::geteuid().is_root() {
            skip("only root can mount a file system and freeze it");
            return Played::Skipped;
        }
        let mut device = Device::new("of-storage", Generation::V05, LONG);
        let data = device.database.parent().unwrap().to_owned();
        let image = device.scratch.join("data.ext4");
        fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        run(tied("mkfs.ext4").arg("-q").arg(&image));
        let mounted = tied("mount").args(["-o", "loop"]).arg(&image).arg(&data).output().unwrap();
        if !mounted.status.success() {
            skip("there is no loop device here to mount a file system by");
            return Played::Skipped;
        }
        let _mounted = Mounted(data.clone());
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        device.start();
        wait_until_well(&device);
        let frozen = Frozen::new(&data);
        // Neither written nor failed for a minute.
        assert_told(&device, Kind::HeartbeatSilent, "");
        drop(frozen);
        wait_until_well(&device);
        device.stop();
        device.litestream.stop();
        Played::Yes
    }

    pub fn of_a_program_that_no_longer_asks() -> Played {
        let mut device = Device::new("of-program", Generation::V05, Duration::from_secs(20));
        device.use_endpoint();
        device.start();
        // It has asked again, in time, for newer ones.
        device.wait_until("a program that stays", 3 * SOON, |device| {
            let consumers = json(device)["record"]["consumers"].clone();
            consumers.as_array().is_some_and(|all| all.iter().any(|one| one["stays"] == true))
        });
        device.litestream.stop();
        assert_told(&device, Kind::ConsumerRanOut, "Go-http-client/1.1 (*)");
        device.stop();
        Played::Yes
    }

    /// As when a journal that is kept in memory fills /run.
    pub fn of_a_full_runtime_directory() -> Played {
        if !nix::unistd::geteuid().is_root() {
            skip("needs root, to mount a small file system");
            return Played::Skipped;
        }
        let mut device = Device::new("full", Generation::V05, Duration::from_secs(3600));
        let directory = device.scratch.join("full");
        fs::create_dir(&directory).unwrap();
        let directory = directory.to_str().unwrap().to_owned();
        device.set("RUNTIME_DIRECTORY", &directory);
        let mount = format!("mount -t tmpfs -o size=256k,mode=700 tmpfs {directory}");
        device.wrap(&["unshare", "--mount"], &mount);
        device.start();
        device.wait_for_log("restart success litestream", SOON);
        // From here on whoever looks does so beside the daemon.
        let pid = device.pid().to_string();
        let beside = ["nsenter", "--mount", "--target", &pid];
        let fill = format!("dd if=/dev/zero of={directory}/journal bs=4k status=none || :");
        run(tied(beside[0]).args(&beside[1..]).args(["sh", "-c", &fill]));
        device.run_as(&beside, &program());
        assert_told(&device, Kind::DirectoryFull, &directory);
        assert_told(&device, Kind::StateOld, "it is of * ago");
        device.stop();
        Played::Yes
    }
}
