//! Databases, their room, and what is known of their replicas.

use std::fs;

use edgerotate::problems::finding::Finding;
use rusqlite::Connection;

use crate::{
    cases::{CASE, Case},
    harness::{Bench, By, Mend, put},
};

/// A database in this journal mode that is there until the case is over.
fn database(bench: &Bench, name: &str, mode: &str) -> Mend {
    let path = bench.path(name);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; CREATE TABLE t (id INTEGER PRIMARY KEY)"
        ))
        .unwrap();
    Mend::by(move || {
        drop(connection);
        fs::remove_file(path).unwrap();
    })
}

const OTHER: &[(&str, &str)] = &[("DATABASE", "DEVICE/data/other.db")];

pub const CASES: &[Case] = &[
    Case {
        finding: Finding::DatabaseDirectory,
        code: 78,
        settings: &[("DATABASE", "DEVICE/nowhere/device.db")],
        line: "WRONG database the database's directory is not there, or not for this user: \
         DEVICE/nowhere (No such file \
               or directory)",
        remedy: "make it for the user that runs edgerotate, or correct EDGEROTATE_DATABASE",
        ..CASE
    },
    Case {
        finding: Finding::DatabaseVolatile,
        code: 78,
        settings: &[("DATABASE", "MEMORY/device.db"), ("ALLOW_VOLATILE_DATABASE", "no")],
        line: "WRONG database the database is on tmpfs, in memory, and gone after a reboot: \
         MEMORY/device.db",
        remedy: "put it on the data partition, or set EDGEROTATE_ALLOW_VOLATILE_DATABASE=yes",
        ..CASE
    },
    Case {
        finding: Finding::DatabaseNotUsable,
        code: 78,
        settings: OTHER,
        by: By::Mounts(
            "mount --bind DEVICE/data DEVICE/data && mount -o remount,ro,bind DEVICE/data",
        ),
        given: |bench| database(bench, "data/other.db", "DELETE"),
        line: "WRONG database the database can't be opened and written: DEVICE/data/other.db (it \
         can only be \
               read)",
        remedy: "let the user that runs edgerotate write DEVICE/data/other.db, its -wal and -shm, \
         and their directory; if \
                 the storage is read-only or broken, see dmesg",
        ..CASE
    },
    Case {
        finding: Finding::DatabaseBusy,
        code: 78,
        settings: OTHER,
        given: |bench| {
            let made = database(bench, "data/other.db", "WAL");
            let writer = Connection::open(bench.path("data/other.db")).unwrap();
            writer.execute_batch("BEGIN IMMEDIATE").unwrap();
            Mend::by(move || {
                drop(writer);
                drop(made);
            })
        },
        line: "WRONG database the database is locked by another program for too long: \
         DEVICE/data/other.db (database is \
               locked)",
        remedy: "look for a program that keeps a write transaction open: fuser \
         DEVICE/data/other.db",
        ..CASE
    },
    Case {
        finding: Finding::DatabaseDamaged,
        code: 78,
        settings: OTHER,
        given: |bench| {
            put(
                bench.path("data/other.db"),
                &"this is no database, but long enough for one. ".repeat(200),
            )
        },
        line: "WRONG database the database is damaged, or none: DEVICE/data/other.db (file is not \
         a database)",
        remedy: "stop edgerotate and Litestream, move DEVICE/data/other.db and what is beside it \
         away, and restore it: \
                 litestream restore DEVICE/data/other.db",
        ..CASE
    },
    Case {
        finding: Finding::DatabaseNotWal,
        code: 78,
        settings: OTHER,
        given: |bench| database(bench, "data/other.db", "DELETE"),
        line: "WRONG database the database is not in WAL mode, which Litestream needs: \
         DEVICE/data/other.db (journal mode \
               delete)",
        remedy: "start edgerotate, which sets it; if it stays, look for a program that sets \
         another mode",
        ..CASE
    },
    Case {
        finding: Finding::LittleRoom,
        by: By::Mounts("mount -t tmpfs -o size=8m tmpfs DEVICE/data"),
        line: "warning room the file system of the database is nearly full: 8 MB free on the file \
         system of \
               DEVICE/data/device.db",
        remedy: "make room: a WAL may grow to EDGEROTATE_GUARD_MAX_WAL before it is given up",
        ..CASE
    },
    Case {
        finding: Finding::NoRoom,
        code: 69,
        by: By::Mounts(
            "mount -t tmpfs -o size=1m tmpfs DEVICE/data && dd if=/dev/zero of=DEVICE/data/full \
             bs=1k count=900 \
             status=none",
        ),
        line: "WRONG room the file system of the database is full: * kB free on the file system of \
         DEVICE/data/device.db",
        remedy: "make room: heartbeats and the applications' rows can't be written",
        ..CASE
    },
    Case {
        finding: Finding::GuardNotHad,
        code: 69,
        settings: &[("GUARD_DATABASES", "DEVICE/data/other.db")],
        given: |bench| database(bench, "data/other.db", "DELETE"),
        line: "WRONG guard a database can't be guarded while Litestream restarts, so rows can get \
         lost in its replica: \
               DEVICE/data/other.db (is in journal mode \
               delete, where a guard would lock writers out)",
        remedy: "let the user that runs edgerotate read and write DEVICE/data/other.db, its -wal \
         and -shm, and their \
                 directory; a guarded database is in WAL mode",
        ..CASE
    },
    Case {
        finding: Finding::GuardDatabaseMissing,
        settings: &[("GUARD_DATABASES", "DEVICE/data/other.db")],
        line: "warning guard a database in EDGEROTATE_GUARD_DATABASES is not there: \
         DEVICE/data/other.db",
        remedy: "nothing, if its application makes it later; else correct \
         EDGEROTATE_GUARD_DATABASES",
        ..CASE
    },
    Case {
        finding: Finding::Suspect,
        code: 69,
        given: |bench| {
            let text = format!(
                r#"{{"databases":{{"{}":[{{"since":"2026-01-01T00:00:00Z","what":"nobody kept its WAL"}}]}}}}"#,
                bench.database.display()
            );
            put(bench.state_directory.join("suspect"), &text)
        },
        line: "WRONG replica a replica may lack rows: DEVICE/data/device.db (nobody kept its WAL)",
        remedy: edgerotate::core::suspect::REMEDY,
        ..CASE
    },
    Case {
        finding: Finding::SuspectUnknown,
        code: 69,
        given: |bench| put(bench.state_directory.join("suspect"), "{"),
        line: "WRONG replica which replicas may lack rows can't be told: DEVICE/state/suspect (*)",
        remedy: "run it as the daemon's user, who must be able to read DEVICE/state/suspect; if \
         that is broken, remove it \
                 and make new snapshots",
        ..CASE
    },
];
