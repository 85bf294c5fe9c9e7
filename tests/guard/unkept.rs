//! Databases that nobody keeps for a while: Litestream does not come, the guard can't be had yet,
//! or the file is exchanged.

use std::{fs, time::Duration};

use rusqlite::Connection;

use crate::{
    application::Application,
    harness::{LET_GO, LONG, end_rotations, suspect, wal},
    support::{Device, Generation, SOON, database},
};

#[test]
fn a_litestream_that_does_not_come_neither_fills_the_disk_nor_ends_the_heartbeats() {
    let mut device = Device::new("last-resort", Generation::V05, LONG);
    device.set("GUARD_MAX_WAL", "1M");
    device.set("GUARD_MAX_TIME", "2s");
    device.set("HEARTBEAT_INTERVAL", "100ms");
    device.litestream.hold_starts();
    device.start();
    device.wait_for_log("start restart litestream", SOON);
    let other = database::open(&device.database).unwrap();
    other.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    other.execute_batch("CREATE TABLE filling (b BLOB)").unwrap();
    let fill = || other.execute("INSERT INTO filling VALUES (zeroblob(800000))", ()).unwrap();
    // Up to where heartbeats pause, 768 KiB, but not to where the guard has to go.
    fill();
    device.wait_for_problem("heartbeats pause", SOON);
    device.wait_for_problem("its WAL reached EDGEROTATE_GUARD_MAX_WAL without Litestream", SOON);
    for _ in 0..5 {
        let rows = device.rows().len();
        device.wait_until("heartbeats again", SOON, |device| device.rows().len() > rows + 3);
        device.wait_until("a small WAL", SOON, |_| wal(&other).0 < 150);
        fill();
    }
    assert!(suspect(&device).contains("was checkpointed"), "{}", suspect(&device));
    let size = fs::metadata(device.database.with_extension("db-wal")).unwrap().len();
    assert!(size < 2 << 20, "{size}");
    device.stop();
}

#[test]
fn a_guard_that_could_not_be_had_is_taken_as_soon_as_it_can_be() {
    let mut device = Device::new("had-later", Generation::V05, LONG);
    let journal = Application::alone(&device, "journal.db", "DELETE").path;
    let late = device.database.with_file_name("late.db");
    device.set("GUARD_DATABASES", format!("{} {}", journal.display(), late.display()));
    device.start();
    device.wait_for_problem("is in journal mode delete", SOON);
    device.wait_for_log("device.db: Litestream", SOON);
    Connection::open(&journal).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
    device.wait_for_log("journal.db: guarded", SOON);
    let _late = Application::alone(&device, "late.db", "WAL");
    device.wait_for_log("late.db: guarded", SOON);
    assert!(!suspect(&device).contains("late.db"), "{}", suspect(&device));
    device.stop();
}

#[test]
fn a_database_that_was_exchanged_is_guarded_anew() {
    let mut device = Device::new("exchanged", Generation::V05, Duration::from_secs(12));
    let old = Application::new(&mut device, "listed.db");
    let path = old.path.clone();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    device.start();
    device.wait_for_log_times(LET_GO, 2, SOON);
    drop(old);
    // As a restore does it.
    for suffix in ["db", "db-wal", "db-shm"] {
        fs::remove_file(path.with_extension(suffix)).ok();
    }
    let new = Application::new(&mut device, "listed.db");
    // A rotation may have guarded the old one just before: the guard that is meant comes after the
    // mark.
    device.wait_until("a guard on the new file", SOON, |device| {
        let log = device.log();
        let (_, since) = log.split_once("another file was put in its place").unwrap_or_default();
        since.contains("listed.db: guarded")
    });

    device.litestream.hold_starts();
    device.wait_until("Litestream to be stopped", 2 * SOON, |d| d.litestream.waits_to_start());
    new.overwrite_the_wal();
    device.litestream.allow_starts();
    end_rotations(&device);
    device.wait_until("the mark", SOON, |d| {
        suspect(d).contains("listed.db") && suspect(d).contains("another file was put in its place")
    });
    assert!(!suspect(&device).contains("device.db"), "{}", suspect(&device));
    let to = device.scratch.join("copy.db");
    device.litestream.restore_whole_of(&path, &to, &new.rows(), 2 * SOON);
    device.stop();
}
