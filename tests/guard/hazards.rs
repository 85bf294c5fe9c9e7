//! Guards that are cut off, a Litestream that ends by itself, and what is said of them.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    application::Application,
    harness::{LET_GO, LONG, assert_whole, suspect},
    support::{Device, Generation, SOON, database},
};

#[test]
fn a_litestream_that_is_killed_again_and_again_loses_nothing_and_nothing_is_marked() {
    for generation in Generation::BOTH {
        let mut device = Device::new("unplanned", generation, LONG);
        let application = Application::new(&mut device, "app.db");
        device.set("GUARD_DATABASES", application.path.to_str().unwrap());
        device.start();
        device.wait_for_log_times(LET_GO, 2, SOON);
        for kill in 1..=4 {
            application.write(50);
            device.litestream.signal(nix::sys::signal::Signal::SIGKILL);
            device.wait_for_log_times("ended outside of a rotation", 2 * kill, SOON);
            device.wait_for_log_times("app.db: guarded", kill + 1, SOON);
            application.overwrite_the_wal();
            device.wait_for_log_times(LET_GO, 2 * (kill + 1), 2 * SOON);
        }
        assert_whole(&device, &[&application.path]);
        assert_eq!(suspect(&device), "", "{:#?}", device.problems());
        device.stop();
    }
}

/// Before a device is provisioned, and before Litestream's first start.
#[test]
fn what_was_never_replicated_is_not_suspect_however_often_the_daemon_starts() {
    for generation in Generation::BOTH {
        let mut device = Device::new("never", generation, LONG);
        let application = Application::new(&mut device, "listed.db");
        // Not even there yet.
        let late = device.database.with_file_name("late.db");
        device.set("GUARD_DATABASES", format!("{} {}", application.path.display(), late.display()));
        device.litestream.hold_starts();
        for start in 1..=4 {
            device.start();
            // The heartbeats' own is taken first.
            device.wait_for_log_times("listed.db: guarded", start, SOON);
            let rows = device.rows().len();
            device.wait_until("some looks", SOON, |device| device.rows().len() > rows + 10);
            if start % 2 == 0 { device.kill() } else { assert_eq!(device.stop(), Some(0)) }
        }
        assert_eq!(suspect(&device), "", "{}", device.log_tail());
        device.start();
        device.litestream.allow_starts();
        device.wait_for_log_times(LET_GO, 2, 2 * SOON);
        assert_eq!(suspect(&device), "", "{}", device.log_tail());
        assert_whole(&device, &[&application.path]);
        device.stop();
    }
}

#[test]
fn a_daemon_that_is_stopped_when_litestream_has_just_taken_over_marks_nothing() {
    for generation in Generation::BOTH {
        let mut device = Device::new("hand-over", generation, LONG);
        // It restarts Litestream, and does not come to an end.
        let restart = device.unset("RESTART_COMMAND");
        let path = device.scratch.join("restart");
        fs::write(&path, format!("#!/bin/bash\n{restart}\nsleep 3600\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        device.set("RESTART_COMMAND", path.to_str().unwrap());
        device.set("RESTART_TIMEOUT", "10min");
        device.start();
        device.wait_until("Litestream", SOON, |device| !device.cloud.uploads().is_empty());
        assert_eq!(device.count_in_log(LET_GO), 0, "the restart is not over");
        assert_eq!(device.stop(), Some(0));
        assert_eq!(device.count_in_log(LET_GO), 1, "{}", device.log_tail());
        device.start();
        device.wait_for_log("holds its own read lock, as it did before", SOON);
        let rows = device.rows().len();
        device.wait_until("some looks", SOON, |device| device.rows().len() > rows + 10);
        assert_eq!(suspect(&device), "", "{}", device.log_tail());
        device.stop();
    }
}

#[test]
fn a_quiet_database_is_not_suspect_for_a_daemon_that_starts_again() {
    for generation in Generation::BOTH {
        let mut device = Device::new("quiet", generation, LONG);
        let quiet = Application::new(&mut device, "quiet.db");
        device.set("GUARD_DATABASES", quiet.path.to_str().unwrap());
        device.start();
        device.wait_for_log_times(LET_GO, 2, SOON);
        // As long as all of it is copied, a guard can't pin it.
        device.wait_until("a WAL that is all copied", SOON, |_| quiet.checkpoint());
        device.stop();
        let said = device.count_in_log("quiet.db: ");
        device.start();
        device.wait_until("its keeper", SOON, |d| d.count_in_log("quiet.db: ") > said);
        quiet.write(1);
        let rows = device.rows().len();
        device.wait_until("some looks", SOON, |device| device.rows().len() > rows + 10);
        assert_eq!(suspect(&device), "", "{}", device.log_tail());
        assert_whole(&device, &[&quiet.path]);
        device.stop();
    }
}

#[test]
fn a_guard_that_litestream_never_takes_over_has_an_end() {
    let mut device = Device::new("cap", Generation::V05, LONG);
    // Not in Litestream's settings.
    let forgotten = Application::alone(&device, "forgotten.db", "WAL");
    device.set("GUARD_DATABASES", forgotten.path.to_str().unwrap());
    // Long enough for a Litestream on a busy disk to take its own in the database that it has.
    device.set("GUARD_MAX_TIME", "20s");
    device.start();
    let line = device.wait_for_problem("Litestream runs and held no read lock for 20 s", 3 * SOON);
    assert!(line.contains("forgotten.db"), "{line}");
    let busy: i64 = database::open(&forgotten.path)
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(RESTART)", (), |row| row.get(0))
        .unwrap();
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
