use std::fs;

use rusqlite::config::DbConfig;

use super::*;
use crate::replica::guard::wal_file::{self, Index};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("edgerotate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A database with a row in it, and the application's connection to it.
    fn database(&self, mode: &str) -> (PathBuf, Connection) {
        let path = self.0.join("app.db");
        let app = Connection::open(&path).unwrap();
        app.execute_batch(&format!(
            "PRAGMA journal_mode={mode}; CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t \
             VALUES (NULL)"
        ))
        .unwrap();
        (path, app)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn index(guard: &Guard) -> Index {
    wal_file::index(guard.looking()).unwrap()
}

fn insert(app: &Connection) {
    app.execute("INSERT INTO t VALUES (NULL)", ()).unwrap();
}

fn checkpoint(app: &Connection, mode: &str) -> (i64, i64, i64) {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    app.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), row).unwrap()
}

#[test]
fn pins_the_wal_and_leaves_writers_alone() {
    let scratch = Scratch::new("guard-pins");
    let (path, app) = scratch.database("WAL");
    let guard = Guard::take(&path).unwrap();
    assert!(guard.pins());
    let (_, frames, _) = checkpoint(&app, "PASSIVE");
    for _ in 0..20 {
        insert(&app);
    }
    let (busy, after, _) = checkpoint(&app, "RESTART");
    assert_eq!(busy, 1, "a checkpoint that would begin the WAL anew has to wait");
    assert!(after >= frames + 20, "the WAL goes on: {frames}, {after}");
    assert!(index(&guard).frames >= 20);
    drop(guard);
    assert_eq!(checkpoint(&app, "RESTART").0, 0);
}

#[test]
fn knows_that_it_pins_nothing_on_a_wal_that_was_copied_and_pins_after_the_next_write() {
    let scratch = Scratch::new("guard-slot0");
    let (path, app) = scratch.database("WAL");
    checkpoint(&app, "PASSIVE");
    let mut guard = Guard::take(&path).unwrap();
    assert!(!guard.pins());
    assert_eq!(index(&guard).copied, index(&guard).frames);
    guard.renew().unwrap();
    assert!(!guard.pins());
    insert(&app);
    guard.renew().unwrap();
    assert!(guard.pins());
}

#[test]
fn litestream_s_own_counter_makes_a_quiet_database_one_that_can_be_pinned() {
    let scratch = Scratch::new("guard-count");
    let (path, app) = scratch.database("WAL");
    checkpoint(&app, "PASSIVE");
    let mut guard = Guard::take(&path).unwrap();
    assert!(!guard.count_up(), "not replicated by Litestream");
    // As both generations make it.
    app.execute_batch("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)")
        .unwrap();
    guard.rest().unwrap();
    checkpoint(&app, "PASSIVE");
    guard.renew().unwrap();
    assert!(!guard.pins());
    assert!(guard.count_up());
    guard.renew().unwrap();
    assert!(guard.pins());
}

#[test]
fn a_rollback_journal_is_refused_and_nobody_is_locked_out() {
    let scratch = Scratch::new("guard-journal");
    let (path, app) = scratch.database("DELETE");
    let error = Guard::take(&path).unwrap_err().to_string();
    assert!(error.contains("is in journal mode delete"), "{error}");
    insert(&app);
}

#[test]
fn says_what_is_wrong_and_what_to_do() {
    let scratch = Scratch::new("guard-errors");
    let path = scratch.0.join("nothing.db");
    let error = Guard::take(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: is not there; ", path.display())), "{error}");
    assert!(!path.exists(), "it was not made");
    fs::write(&path, "this is no database".repeat(100)).unwrap();
    let error = Guard::take(&path).unwrap_err().to_string();
    assert!(error.contains("name a SQLite database"), "{error}");
}

#[test]
fn closing_it_leaves_the_wal_to_litestream() {
    let scratch = Scratch::new("guard-close");
    let (path, app) = scratch.database("WAL");
    app.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    drop(app);
    drop(Guard::take(&path).unwrap());
    assert!(fs::metadata(scratch.0.join("app.db-wal")).unwrap().len() > 4096);
}

#[test]
fn the_last_resort_makes_the_wal_begin_anew_and_waits_for_nobody() {
    let scratch = Scratch::new("guard-last-resort");
    let (path, app) = scratch.database("WAL");
    for _ in 0..20 {
        insert(&app);
    }
    let mut guard = Guard::take(&path).unwrap();
    guard.rest().unwrap();
    let large = index(&guard);
    assert!(large.frames >= 20 && large.copied == 0, "{large:?}");
    guard.checkpoint().unwrap();
    assert_eq!(index(&guard).copied, large.frames);
    insert(&app);
    assert_eq!(index(&guard).frames, 1);
}
