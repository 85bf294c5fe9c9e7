//! Databases that can't be guarded, guards that are cut off, and what is said of them.

use std::{fs, process::Command, time::Duration};

use crate::support::{Application, Device, Generation, SOON, database, process::run, skip};

const LONG: Duration = Duration::from_secs(3600);

fn suspect(device: &Device) -> String {
    fs::read_to_string(device.state_directory.join("suspect")).unwrap_or_default()
}

#[test]
fn a_litestream_that_ends_by_itself_makes_its_replica_suspect_and_it_stays_so() {
    let mut device = Device::new("unplanned", Generation::V05, LONG);
    device.set("HEARTBEAT_INTERVAL", "100ms");
    device.start();
    device.wait_for_log("holds its own read lock", SOON);
    assert_eq!(suspect(&device), "");
    device.litestream.signal(nix::sys::signal::Signal::SIGKILL);
    device.wait_for_problem("ended outside of a rotation", SOON);
    device.wait_for_problem("its replica may lack rows", SOON);
    assert!(suspect(&device).contains("device.db"), "{}", suspect(&device));
    // A stop before Litestream is back would be another reason.
    device.wait_for_log_times("holds its own read lock", 2, SOON);
    device.stop();
    device.start();
    device.wait_for_problem("since before this start", SOON);
    device.stop();
    assert_eq!(device.count_in_log("; a forced snapshot mends it"), 1, "{}", device.log_tail());
}

#[test]
fn a_killed_daemon_s_guard_is_taken_up_by_the_next_which_says_what_it_can_t_know() {
    let mut device = Device::new("guard-kill", Generation::V05, Duration::from_secs(8));
    let listed = Application::new(&mut device, "listed.db");
    device.set("GUARD_DATABASES", listed.path.to_str().unwrap());
    device.start();
    device.wait_for_log_times("holds its own read lock", 2, SOON);
    device.litestream.hold_starts();
    device.wait_until("Litestream to be stopped", SOON, |d| d.litestream.waits_to_start());
    device.kill();
    let guards = device.count_in_log(": guarded");
    device.start();
    device.wait_for_log_times(": guarded", guards + 2, SOON);
    listed.overwrite_the_wal();
    device.cloud.set_lifetime(LONG);
    device.litestream.allow_starts();
    device.wait_until("credentials that last", 2 * SOON, |device| {
        device.cloud.issued().last().map(|issued| issued.access_key_id.clone())
            == device.litestream.starts().last().map(|start| start.access_key_id.clone())
    });
    let rows = listed.rows();
    let to = device.scratch.join("copy.db");
    device.litestream.restore_whole_of(&listed.path, &to, &rows, 2 * SOON);
    device
        .wait_until("the mark", SOON, |d| suspect(d).contains("edgerotate ended while it guarded"));
    device.stop();
}

#[test]
fn a_rollback_journal_is_said_and_its_writers_are_not_locked_out() {
    let mut device = Device::new("journal", Generation::V05, Duration::from_secs(8));
    let path = device.database.with_file_name("journal.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    device.start();
    device.wait_for_problem("is in journal mode delete", SOON);
    device.litestream.hold_starts();
    device.wait_until("Litestream to be stopped", SOON, |d| d.litestream.waits_to_start());
    for _ in 0..20 {
        connection.execute("INSERT INTO t VALUES (NULL)", ()).unwrap();
    }
    device.litestream.allow_starts();
    device.wait_for_log_times("restart success litestream", 2, 2 * SOON);
    assert!(suspect(&device).contains("journal.db"), "{}", suspect(&device));
    assert!(!suspect(&device).contains("device.db"), "{}", suspect(&device));
    assert_eq!(database::integrity(&path), "ok");
    device.stop();
}

#[test]
fn a_database_of_another_user_is_said_and_the_rotation_goes_on() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can be several users");
    }
    let mut device = Device::new("other-user", Generation::V05, Duration::from_secs(8));
    let theirs = Application::new(&mut device, "theirs.db");
    device.set("GUARD_DATABASES", theirs.path.to_str().unwrap());
    // The daemon is nobody, and all of the device is nobody's but this database.
    let scratch = device.scratch.to_str().unwrap().to_owned();
    run(Command::new("chown").args(["-R", "65534:65534", &scratch]));
    run(Command::new("chmod").args(["-R", "go-rwx", &scratch]));
    let files = format!("chown 0:0 {0}/data/theirs.db*", scratch);
    run(Command::new("sh").args(["-c", &files]));
    // The program is copied, as the checkout may be closed to others.
    let program = device.scratch.join("edgerotate");
    fs::copy(crate::support::device::program(), &program).unwrap();
    run(Command::new("chown").arg("65534:65534").arg(&program));
    device.run_as(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"], &program);
    device.start();
    let line = device.wait_for_problem("not guarded over Litestream's restarts", SOON);
    assert!(line.contains("theirs.db") && line.contains("let edgerotate's user"), "{line}");
    device.wait_for_log_times("restart success litestream", 3, 4 * SOON);
    assert!(suspect(&device).contains("theirs.db"), "{}", suspect(&device));
    assert!(!suspect(&device).contains("device.db"), "{}", suspect(&device));
    theirs.write(1);
    device.stop();
    // Said at each try, but no more than that; and that it is suspect, once.
    assert_eq!(device.count_in_log("theirs.db: its replica may lack rows"), 1);
}

#[test]
fn a_quiet_database_is_guarded_as_well() {
    for generation in Generation::BOTH {
        let mut device = Device::new("quiet", generation, Duration::from_secs(8));
        let quiet = Application::new(&mut device, "quiet.db");
        device.set("GUARD_DATABASES", quiet.path.to_str().unwrap());
        device.start();
        device.wait_for_log_times("holds its own read lock", 2, SOON);
        device.litestream.hold_starts();
        device.wait_until("Litestream to be stopped, its WAL all copied before", SOON, |device| {
            quiet.checkpoint();
            device.litestream.waits_to_start()
        });
        quiet.overwrite_the_wal();
        device.cloud.set_lifetime(LONG);
        device.litestream.allow_starts();
        device.wait_until("the guard to be let go", SOON, |device| {
            device.count_in_log("holds its own read lock") >= 4
        });
        let to = device.scratch.join("copy.db");
        device.litestream.restore_whole_of(&quiet.path, &to, &quiet.rows(), 2 * SOON);
        assert_eq!(suspect(&device), "", "{}", device.log_tail());
        device.stop();
    }
}

#[test]
fn a_guard_that_litestream_never_takes_over_has_an_end() {
    let mut device = Device::new("cap", Generation::V05, LONG);
    // Not in Litestream's settings.
    let path = device.database.with_file_name("forgotten.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .unwrap();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    // Long enough for a Litestream on a busy disk to take its own in the database that it has.
    device.set("GUARD_MAX_TIME", "20s");
    device.start();
    let line = device.wait_for_problem("Litestream runs and held no read lock for 20 s", 3 * SOON);
    assert!(line.contains("forgotten.db"), "{line}");
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", (), |row| row.get(0)).unwrap();
    assert_eq!(busy, 0, "the guard is gone");
    assert!(!suspect(&device).contains("device.db"), "{}", suspect(&device));
    device.stop();
}

#[test]
fn heartbeats_pause_before_the_wal_reaches_its_limit_and_go_on_with_litestream() {
    let mut device = Device::new("wal-limit", Generation::V05, LONG);
    device.set("GUARD_MAX_WAL", "1M");
    device.set("HEARTBEAT_INTERVAL", "100ms");
    device.litestream.hold_starts();
    device.start();
    device.wait_for_log("start restart litestream", SOON);
    // Another program fills the heartbeat's database up to where heartbeats are to pause: 768 KiB.
    let other = database::open(&device.database).unwrap();
    other.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    other
        .execute_batch(
            "CREATE TABLE filling (b BLOB); INSERT INTO filling VALUES (zeroblob(800000))",
        )
        .unwrap();
    device.wait_for_problem("heartbeats pause", SOON);
    let paused = device.rows().len();
    assert_eq!(suspect(&device), "");
    device.litestream.allow_starts();
    device.wait_until("heartbeats again", SOON, |device| device.rows().len() > paused + 3);
    assert_eq!(suspect(&device), "", "{}", device.log_tail());

    let rows = device.rows();
    device.litestream.restore_whole(&device.scratch.join("copy.db"), &rows, SOON);
    device.stop();
}

#[test]
fn a_wal_at_its_limit_ends_the_guard_and_makes_the_replica_suspect() {
    let mut device = Device::new("wal-full", Generation::V05, LONG);
    device.set("GUARD_MAX_WAL", "1M");
    device.litestream.hold_starts();
    device.start();
    device.wait_for_log("start restart litestream", SOON);
    let other = database::open(&device.database).unwrap();
    other.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    other
        .execute_batch(
            "CREATE TABLE filling (b BLOB); INSERT INTO filling VALUES (zeroblob(1100000))",
        )
        .unwrap();
    device.wait_for_problem("its WAL reached EDGEROTATE_GUARD_MAX_WAL", SOON);
    assert!(suspect(&device).contains("device.db"), "{}", suspect(&device));
    device.litestream.allow_starts();
    device.wait_for_log("restart success litestream", SOON);
    device.stop();
}
