//! The databases of applications, whose schema is theirs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    harness::{
        device, litestream, objects, rewrite, start_litestream, verified, verify,
        wait_until_uploaded, write,
    },
    support::{Device, Generation, Process, SOON, process::run, wait_until},
};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE samples (id INTEGER PRIMARY KEY, value TEXT);
    CREATE TABLE notes (words TEXT);
    CREATE TABLE pairs (a TEXT PRIMARY KEY, b) WITHOUT ROWID;
    INSERT INTO pairs VALUES ('x', 1), ('y', 2), ('z', 3);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
        INSERT INTO samples SELECT i, 'value ' || i FROM n;
    INSERT INTO notes SELECT value FROM samples;
    DELETE FROM notes WHERE rowid = 7;";

#[test]
fn a_hole_in_an_application_s_database_is_named_and_a_new_snapshot_takes_the_mark_back() {
    for generation in Generation::BOTH {
        let (mut device, application) = with_application("application", generation, SCHEMA);
        mark(&device, &application);
        replicate(&mut device, &application);
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(0), &json!("whole")), "{answer:?}");
        let found = &json["databases"][0];
        assert_eq!(found["database"], json!(application));
        assert_eq!((&found["verdict"], &found["suspect"]), (&json!("whole"), &json!("taken-back")));
        assert_eq!(json["suspect"], "no", "the heartbeat's had no mark");
        assert_eq!(json["not_proven"], json!([]));
        assert_eq!(table(found, "notes")["restored_rows"], 59);
        assert!(!device.state_directory.join("suspect").exists());

        mark(&device, &application);
        replace_replica(&device, &application, "DELETE FROM notes WHERE rowid BETWEEN 20 AND 24");
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(65), &json!("whole")), "{answer:?}");
        let found = &json["databases"][0];
        assert_eq!(
            (&found["verdict"], &found["suspect"]),
            (&json!("rows-missing"), &json!("stays"))
        );
        assert_eq!(
            table(found, "notes")["missing"],
            json!({"rows": 5, "ranges": 1, "first_ranges": [[20, 24]]})
        );
        assert_eq!(table(found, "samples")["missing"]["rows"], 0);
        let first = found["summary"].as_str().unwrap();
        assert_eq!(first, "ROWS MISSING: the replica does not have 5 rows of notes: 20-24");
        assert!(device.state_directory.join("suspect").exists());

        new_snapshot(&device, &application);
        // What the application deletes since is not missed.
        open(&application).execute_batch("DELETE FROM samples WHERE id IN (2, 60)").unwrap();
        let answer = verify(&device, &[]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let line = "whole: 120 rows in 3 tables, none missing in the replica";
        assert!(answer.text.lines().any(|l| l == line), "{answer:?}");
        let line = "  suspect       it was; the mark is taken back";
        assert!(answer.text.lines().any(|l| l == line), "{answer:?}");
        assert!(!device.state_directory.join("suspect").exists());
    }
}

#[test]
fn what_only_may_be_on_its_way_is_no_loss_and_no_proof() {
    let (mut device, application) = with_application("on-its-way", Generation::V05, SCHEMA);
    mark(&device, &application);
    replicate(&mut device, &application);

    // Litestream is down: a row was changed, another is new.
    open(&application)
        .execute_batch(
            "UPDATE notes SET words = 'changed' WHERE rowid = 3; INSERT INTO samples VALUES (61, \
             'new');
             INSERT INTO pairs VALUES ('between', 4)",
        )
        .unwrap();
    let (answer, json) = verified(&device);
    let found = &json["databases"][0];
    assert_eq!((answer.code, &found["verdict"]), (Some(75), &json!("too-early")), "{answer:?}");
    assert_eq!(table(found, "notes")["differing"], json!({"rows": 1, "first_ranges": [[3, 3]]}));
    assert_eq!(table(found, "samples")["newer_rows"], 1);
    // Its key tells no time.
    assert_eq!(table(found, "pairs")["differing"], json!({"rows": 1}));
    assert_eq!(found["suspect"], "stays");
}

#[test]
fn a_database_that_is_written_all_the_time_is_whole() {
    for generation in Generation::BOTH {
        let (mut device, application) = with_application("busy", generation, SCHEMA);
        mark(&device, &application);
        start_litestream(&device);
        wait_until_uploaded(&device);
        wait_until_restorable(&device, &application, &application);
        let (answer, json) = while_writing(&[&application], MORE, || verified(&device));
        let found = &json["databases"][0];
        assert_eq!((answer.code, &found["verdict"]), (Some(0), &json!("whole")), "{answer:?}");
        assert_eq!(found["suspect"], "taken-back");
        device.litestream.stop();
    }
}

/// No rowid tells of a change that got lost: only the row's content does, once the replica has
/// moved on.
#[test]
fn a_change_that_got_lost_is_found_when_newer_rows_have_come() {
    let (mut device, application) = with_application("changed", Generation::V05, SCHEMA);
    replicate(&mut device, &application);
    mark(&device, &application);
    let sql = "UPDATE notes SET words = 'of old' WHERE rowid = 3; DELETE FROM pairs WHERE a = 'y'";
    replace_replica(&device, &application, sql);
    let copy = device.scratch.join("doctored.db");
    let (answer, json) = with_litestream(&device, &device.scratch.join("doctored.yml"), || {
        while_writing(&[&application, &copy], MORE, || verified(&device))
    });
    let found = &json["databases"][0];
    assert_eq!((answer.code, &found["verdict"]), (Some(65), &json!("rows-missing")), "{answer:?}");
    let first = found["summary"].as_str().unwrap();
    let lacks = "the content of 1 row of notes: 3; the content of 1 row of pairs";
    assert_eq!(first, format!("ROWS MISSING: the replica does not have {lacks}"));
    assert_eq!(found["suspect"], "stays");
}

/// More rows than are remembered of a doubt, and each of them another one in every restore.
#[test]
fn more_rows_than_can_be_remembered_are_no_loss_while_all_are_rewritten() {
    let mut schema = SCHEMA.to_owned();
    schema += "CREATE TABLE many (id INTEGER PRIMARY KEY, value);
               WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
                   INSERT INTO many SELECT i, 0 FROM n;";
    let (mut device, application) = with_application("rewritten", Generation::V05, &schema);
    start_litestream(&device);
    wait_until_uploaded(&device);
    wait_until_restorable(&device, &application, &application);
    let rewrite = "BEGIN; UPDATE many SET value = value + 1; INSERT INTO samples (value) VALUES \
     ('more'); COMMIT";
    let (answer, json) = while_writing(&[&application], rewrite, || verified(&device));
    let found = &json["databases"][0];
    assert_eq!((answer.code, &found["verdict"]), (Some(75), &json!("too-early")), "{answer:?}");
    assert_eq!(table(found, "many")["differing"]["rows"], 1500);
    device.litestream.stop();
}

/// A new row, and another that changes again and again.
const MORE: &str = "INSERT INTO samples (value) VALUES ('more');
                    UPDATE samples SET value = value || '.' WHERE id = 1";

/// Does this in each of these databases, again and again.
fn while_writing<T>(databases: &[&Path], sql: &str, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also when `work` panics: the scope waits for its threads.
        let _over = OnDrop(&is_over);
        scope.spawn(|| {
            let connections: Vec<_> = databases.iter().map(|path| open(path)).collect();
            while !is_over.load(Ordering::Relaxed) {
                for connection in &connections {
                    connection.execute_batch(sql).unwrap();
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        work()
    })
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn with_application(name: &str, generation: Generation, schema: &str) -> (Device, PathBuf) {
    let mut device = device(name, generation);
    write(&device, 1..=5);
    let application = device.scratch.join("data/app.db");
    open(&application).execute_batch(schema).unwrap();
    device.litestream.also(&application);
    device.set("GUARD_DATABASES", application.to_str().unwrap());
    (device, application)
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    let kept = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(kept, true).unwrap();
    connection.busy_timeout(SOON).unwrap();
    connection
}

/// All that is in it.
fn content(path: &Path) -> rusqlite::Result<String> {
    open(path).query_row(
        "SELECT (SELECT group_concat(id || value) FROM samples) || (SELECT group_concat(rowid || \
         words) FROM notes)",
        (),
        |row| row.get(0),
    )
}

fn table<'a>(found: &'a Value, name: &str) -> &'a Value {
    let tables = found["tables"].as_array().unwrap();
    tables.iter().find(|table| table["table"] == name).unwrap()
}

fn mark(device: &Device, database: &Path) {
    let reasons = json!([{"since": "2026-01-01T00:00:00Z", "what": "made up by the test"}]);
    let marked = json!({"databases": {database.to_str().unwrap(): reasons}});
    fs::write(device.state_directory.join("suspect"), marked.to_string()).unwrap();
}

fn replicate(device: &mut Device, application: &Path) {
    start_litestream(device);
    wait_until_uploaded(device);
    wait_until_restorable(device, application, application);
    device.litestream.stop();
}

fn wait_until_restorable(device: &Device, application: &Path, original: &Path) {
    let copy = device.scratch.join("look.db");
    let original = content(original).unwrap();
    wait_until("the application's replica", 2 * SOON, || {
        device.litestream.restore_of(application, &copy).is_ok()
            && content(&copy).is_ok_and(|copied| copied == original)
    });
}

/// Puts another database's replica where the application's was: what was restored, after `sql`.
fn replace_replica(device: &Device, application: &Path, sql: &str) {
    let copy = device.scratch.join("doctored.db");
    device.litestream.restore_of(application, &copy).unwrap();
    Connection::open(&copy).unwrap().execute_batch(sql).unwrap();
    fs::remove_dir_all(objects(device).join("db1")).unwrap();
    let configuration = device.scratch.join("doctored.yml");
    fs::copy(&device.litestream.configuration, &configuration).unwrap();
    let path = |path: &Path| format!("path: {}\n", path.display());
    rewrite(&configuration, &path(application), &path(&copy));
    with_litestream(device, &configuration, || wait_until_restorable(device, application, &copy));
}

fn with_litestream<T>(device: &Device, configuration: &Path, work: impl FnOnce() -> T) -> T {
    let mut command = litestream(device);
    command.args(["replicate", "-config"]).arg(configuration);
    let log = device.scratch.join("by-hand.log");
    let mut replicator = Process::start("litestream", &mut command, &log);
    let done = work();
    replicator.terminate(SOON);
    done
}

fn new_snapshot(device: &Device, application: &Path) {
    let configuration = &device.litestream.configuration;
    match device.litestream.generation {
        Generation::V05 => {
            let mut command = litestream(device);
            run(command
                .args(["replicate", "-once", "-force-snapshot", "-config"])
                .arg(configuration));
        }
        Generation::V03 => {
            fs::remove_dir_all(application.with_file_name(".app.db-litestream")).unwrap();
            with_litestream(device, configuration, || {
                wait_until_restorable(device, application, application);
            });
        }
    }
}
