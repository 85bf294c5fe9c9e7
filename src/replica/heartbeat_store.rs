//! The heartbeat's table in SQLite.
//!
//! Litestream reads the same database, and three rules follow from that. It is in WAL mode. This
//! connection never checkpoints, neither by itself nor when it closes: a checkpoint while
//! Litestream is down can lose rows from the replica. And the database, its -wal and its -shm are
//! opened through SQLite alone: closing another descriptor of them would drop this process's locks.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, TransactionBehavior, ffi};

use crate::{
    core::heartbeat::{Ids, rows_to_prune},
    replica::sqlite::{self, DatabaseFile, Use, look_at_rights},
};

/// How long a write waits for another program's. Longer than a healthy application's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What to do about a database that can't be written.
pub const WRITABLE: &str =
    "let edgerotate's user write the file, its -wal and -shm, and their directory";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS HealthCheck (
    id INTEGER PRIMARY KEY,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP
)";

/// An open database with its table.
#[derive(Debug)]
pub struct HeartbeatStore {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file that is open: a restore puts another one in its place.
    file: DatabaseFile,
    /// As counted when it was opened and kept up since.
    rows: u64,
}

/// Why a heartbeat could not be written. It says what to do, and names the file.
#[derive(Debug)]
pub struct HeartbeatError {
    path: PathBuf,
    what: String,
    remedy: &'static str,
}

impl HeartbeatStore {
    /// Opens the database, and makes it and its table where they are missing. `keep`: how many rows
    /// the table is pruned to, 0 for no pruning.
    ///
    /// # Errors
    /// Whatever keeps a row from being written: rights, a full or read-only file system, a file
    /// that is no database, another program's lock.
    pub fn open(path: &Path, keep: u64) -> Result<Self, HeartbeatError> {
        Self::look_at_directory(path)?;
        if let Err(what) = look_at_rights(path) {
            return Err(HeartbeatError { path: path.to_owned(), what, remedy: WRITABLE });
        }
        let told = |e| HeartbeatError::new(path, &e);
        let connection = sqlite::open(path, Use::Create, BUSY_TIMEOUT).map_err(told)?;
        let file = DatabaseFile::at(path).map_err(|e| HeartbeatError::from_io(path, &e))?;
        prepare(&connection).map_err(told)?;
        // A table of millions takes a while to count, and only pruning needs it.
        let rows = if keep == 0 { 0 } else { count(&connection).map_err(told)? };
        Ok(Self { connection, path: path.to_owned(), file, rows })
    }

    /// Writes one row and prunes a few old ones, in one transaction that survives a power failure.
    ///
    /// # Errors
    /// As for [`Self::open`]. Nothing is written then, and the store is to be opened anew: the
    /// fault may be with the file that is open.
    pub fn beat(&mut self, ids: &mut Ids, keep: u64) -> Result<i64, HeartbeatError> {
        match DatabaseFile::at(&self.path) {
            Ok(file) if file == self.file => {}
            Ok(_) => return Err(HeartbeatError::replaced(&self.path)),
            Err(e) => return Err(HeartbeatError::from_io(&self.path, &e)),
        }
        let (id, rows) = self.insert(ids, keep).map_err(|e| HeartbeatError::new(&self.path, &e))?;
        ids.written(id);
        self.rows = rows;
        Ok(id)
    }

    /// SQLite says of all these just "unable to open".
    fn look_at_directory(path: &Path) -> Result<(), HeartbeatError> {
        let told =
            |what: String, remedy| Err(HeartbeatError { path: path.to_owned(), what, remedy });
        let directory = path.parent().unwrap_or(Path::new("/"));
        if path.is_dir() {
            return told("is a directory".to_owned(), "name a file in EDGEROTATE_DATABASE");
        }
        match fs::metadata(directory) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => told(
                format!("the directory {} is not there", directory.display()),
                "make it for edgerotate's user, or correct EDGEROTATE_DATABASE",
            ),
            Err(e) => told(
                format!("the directory {}: {e}", directory.display()),
                "let edgerotate's user get at it",
            ),
        }
    }

    fn insert(&mut self, ids: &Ids, keep: u64) -> rusqlite::Result<(i64, u64)> {
        // Immediate: a transaction that begins by reading can't wait for another writer, only fail.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let largest =
            transaction.query_row("SELECT max(id) FROM HealthCheck", (), |row| row.get(0))?;
        let id = ids.next(largest).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, i64::MAX))?;
        transaction.execute("INSERT INTO HealthCheck (id) VALUES (?1)", [id])?;
        let mut rows = self.rows + 1;
        let prune = rows_to_prune(rows, keep);
        if prune > 0 {
            let gone = transaction.execute(
                "DELETE FROM HealthCheck WHERE id IN
                     (SELECT id FROM HealthCheck ORDER BY id LIMIT ?1)",
                [i64::try_from(prune).unwrap_or(i64::MAX)],
            )?;
            rows -= u64::try_from(gone).unwrap_or(rows);
        }
        transaction.commit()?;
        Ok((id, rows))
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let why = format!("journal mode stays {mode}, but Litestream needs WAL");
        let code = ffi::Error::new(ffi::SQLITE_PROTOCOL);
        return Err(rusqlite::Error::SqliteFailure(code, Some(why)));
    }
    // A row that was acknowledged survives the power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(TABLE)
}

fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let rows: i64 =
        connection.query_row("SELECT count(*) FROM HealthCheck", (), |row| row.get(0))?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

impl HeartbeatError {
    fn new(path: &Path, error: &rusqlite::Error) -> Self {
        let (what, remedy) = match error.sqlite_error() {
            Some(e) => explain(*e, error),
            None => (error.to_string(), "look at the table HealthCheck"),
        };
        Self { path: path.to_owned(), what, remedy }
    }

    fn from_io(path: &Path, error: &io::Error) -> Self {
        let remedy = "look at the file and its directory";
        Self { path: path.to_owned(), what: error.to_string(), remedy }
    }

    fn replaced(path: &Path) -> Self {
        let what = "another file was put in its place".to_owned();
        Self { path: path.to_owned(), what, remedy: "nothing: it is opened anew" }
    }

    /// A row that was not written, so that a WAL which nobody may checkpoint does not grow by it.
    pub fn paused(path: &Path) -> Self {
        let what = "heartbeats pause, as its WAL nears EDGEROTATE_GUARD_MAX_WAL".to_owned();
        Self { path: path.to_owned(), what, remedy: "look why Litestream does not run" }
    }
}

fn explain(e: ffi::Error, error: &rusqlite::Error) -> (String, &'static str) {
    let remedy = match e.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            let what = format!("the database is locked for more than {} s", BUSY_TIMEOUT.as_secs());
            return (what, "look for a program that keeps a write transaction open");
        }
        ErrorCode::DiskFull => "make room on the file system; nothing is lost but this row",
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => WRITABLE,
        ErrorCode::CannotOpen => "look at the path, and at the rights of its directory",
        ErrorCode::NotADatabase => "it is no SQLite database: move it away or name another",
        ErrorCode::DatabaseCorrupt => "restore it from its replica with litestream restore",
        ErrorCode::SystemIoFailure => "look at the storage: dmesg, and the room that is left",
        ErrorCode::ConstraintViolation => "the table HealthCheck is not as edgerotate makes it",
        _ => "look at the database with sqlite3",
    };
    // SQLite's own words for the code; what rusqlite adds to them is the path, which stands before.
    let words = ffi::code_to_str(e.extended_code);
    let said = match error {
        rusqlite::Error::SqliteFailure(_, Some(said)) if !said.starts_with(words) => said.as_str(),
        _ => words,
    };
    (said.to_owned(), remedy)
}

impl fmt::Display for HeartbeatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path.display(), self.what, self.remedy)
    }
}

impl std::error::Error for HeartbeatError {}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            // In memory: what is tested is not the disk, and each row waits for it.
            let path = PathBuf::from(format!("/dev/shm/edgerotate-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn database(&self) -> PathBuf {
            self.0.join("device.db")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn ids() -> Ids {
        Ids::starting_at(DateTime::from_timestamp(1000, 0).unwrap())
    }

    fn rows(path: &Path) -> Vec<i64> {
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare("SELECT id FROM HealthCheck ORDER BY id").unwrap();
        let rows = statement.query_map((), |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn makes_its_table_and_writes_rows_that_litestream_can_replicate() {
        let scratch = Scratch::new("store-new");
        let mut store = HeartbeatStore::open(&scratch.database(), 5).unwrap();
        let mut ids = ids();
        for expected in 1000..1003 {
            assert_eq!(store.beat(&mut ids, 0).unwrap(), expected);
        }
        let mode: String =
            store.connection.query_row("PRAGMA journal_mode", (), |r| r.get(0)).unwrap();
        assert_eq!(mode, "wal");
        let created: String = store
            .connection
            .query_row("SELECT created_at FROM HealthCheck LIMIT 1", (), |r| r.get(0))
            .unwrap();
        assert_eq!(created.len(), "2022-05-15 07:45:08".len());
        assert_eq!(rows(&scratch.database()), [1000, 1001, 1002]);
    }

    #[test]
    fn never_checkpoints_not_even_when_it_closes() {
        let scratch = Scratch::new("store-checkpoint");
        let mut store = HeartbeatStore::open(&scratch.database(), 5).unwrap();
        let mut ids = ids();
        // Each row is at least a page of WAL: well past SQLite's own limit of 1000 pages.
        for _ in 0..1500 {
            store.beat(&mut ids, 0).unwrap();
        }
        drop(store);
        let wal = fs::metadata(scratch.0.join("device.db-wal")).unwrap().len();
        assert!(wal > 1500 * 4096, "{wal}");
        assert_eq!(rows(&scratch.database()).len(), 1500);
    }

    #[test]
    fn keeps_as_many_rows_as_it_is_told_and_another_writers_ids_in_mind() {
        let scratch = Scratch::new("store-prune");
        let mut store = HeartbeatStore::open(&scratch.database(), 5).unwrap();
        let mut ids = ids();
        for _ in 0..20 {
            store.beat(&mut ids, 5).unwrap();
        }
        assert_eq!(rows(&scratch.database()), [1015, 1016, 1017, 1018, 1019]);
        let other = Connection::open(scratch.database()).unwrap();
        other.execute("INSERT INTO HealthCheck (id) VALUES (5000)", ()).unwrap();
        assert_eq!(store.beat(&mut ids, 5).unwrap(), 5001);
    }

    #[test]
    fn says_what_is_wrong_and_what_to_do() {
        let scratch = Scratch::new("store-errors");
        let said = |path: &Path| HeartbeatStore::open(path, 0).unwrap_err().to_string();

        let nowhere = scratch.0.join("missing/device.db");
        let line = said(&nowhere);
        assert!(line.starts_with(&format!("{}: the directory ", nowhere.display())), "{line}");
        assert!(said(&scratch.0).contains("is a directory"));

        let text = scratch.0.join("text");
        fs::write(&text, "this is no database, but long enough to be looked at".repeat(20))
            .unwrap();
        assert!(said(&text).contains("move it away"), "{}", said(&text));
    }

    #[test]
    fn sees_that_another_file_was_put_in_its_place() {
        let scratch = Scratch::new("store-replaced");
        let mut store = HeartbeatStore::open(&scratch.database(), 5).unwrap();
        store.beat(&mut ids(), 0).unwrap();
        fs::rename(scratch.database(), scratch.0.join("old.db")).unwrap();
        fs::write(scratch.database(), "").unwrap();
        let error = store.beat(&mut ids(), 0).unwrap_err().to_string();
        assert!(error.contains("another file"), "{error}");
    }
}
