//! The guard over Litestream's restart: a read transaction that keeps a database's WAL as it is.
//!
//! Litestream replicates by reading the WAL, and holds a read transaction so that the WAL is not
//! begun anew before it has read it. While it restarts it holds none. A checkpoint and a few rows
//! are enough then to overwrite what it has not read; 0.5.17 goes on behind the hole, with nothing
//! logged. So somebody else holds the read transaction meanwhile.
//!
//! Each rule below was paid for:
//! - **Only databases in WAL mode.** On a rollback journal a read transaction locks the writers
//!   out.
//! - **Never a checkpoint**, neither when the WAL is long nor when a connection closes: it is what
//!   does the damage. Only where the replica is suspect already and the WAL would fill the disk,
//!   one is made ([`Guard::checkpoint`]).
//! - **The database, its -wal and its -shm are opened through SQLite alone.** Closing another
//!   descriptor of them would drop all of this process's locks, SQLite's included.
//! - **Only a proven guard counts.** A reader that finds all of the WAL copied into the database
//!   takes slot 0, which pins nothing: the next write begins the WAL anew under it. /proc/locks
//!   shows which slot it got ([`wal_locks`]). So something is written first, while Litestream still
//!   runs and can read it: a heartbeat, or in another database Litestream's own counter
//!   ([`Guard::count_up`]). Where that can't be, the next commit is waited for. No other connection
//!   of this process may be reading meanwhile: the table knows processes only.
//! - **Slot 0 is good enough for a database in which nothing is written**: what is not overwritten
//!   is not lost.
//!
//! When it is taken and let go, `core::guard` decides.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension};

use crate::{
    core::guard::look::Slot,
    replica::{
        heartbeat_store::WRITABLE,
        sqlite::{self, DatabaseFile, Use, look_at_rights},
        wal_locks,
    },
};

/// How long a lock is waited for. Taking the guard needs none that is held for long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// A read transaction on one database, and what it was seen to be worth.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    holding: Connection,
    /// A second connection, which is in no transaction.
    looking: Connection,
    pins: bool,
    /// The file that is open: a restore puts another one in its place.
    file: Option<DatabaseFile>,
}

/// Why a database is not guarded. It says what to do, and names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotGuarded {
    path: PathBuf,
    what: String,
    remedy: &'static str,
}

const IS_NOT_THERE: &str = "is not there";

impl NotGuarded {
    /// What is wrong, without the path and the remedy.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// There was no database: nothing of it could be lost.
    pub fn is_missing(&self) -> bool {
        self.what == IS_NOT_THERE
    }
}

impl Guard {
    /// Begins the read transaction. See [`Self::pins`] for what it is worth.
    ///
    /// # Errors
    /// Why it can't be had.
    pub fn take(path: &Path) -> Result<Self, NotGuarded> {
        let told = |e: rusqlite::Error| NotGuarded::new(path, &e);
        if !path.exists() {
            return Err(NotGuarded {
                path: path.to_owned(),
                what: IS_NOT_THERE.to_owned(),
                remedy: "it is guarded from the next restart on at which it is",
            });
        }
        if let Err(what) = look_at_rights(path) {
            return Err(NotGuarded { path: path.to_owned(), what, remedy: WRITABLE });
        }
        let looking = sqlite::open(path, Use::Write, BUSY_TIMEOUT).map_err(told)?;
        let mode: String =
            looking.query_row("PRAGMA journal_mode", (), |row| row.get(0)).map_err(told)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(NotGuarded {
                path: path.to_owned(),
                what: format!("is in journal mode {mode}, where a guard would lock writers out"),
                remedy: "run PRAGMA journal_mode=WAL on it, as Litestream does",
            });
        }
        let holding = sqlite::open(path, Use::Write, BUSY_TIMEOUT).map_err(told)?;
        let file = DatabaseFile::at(path).ok();
        let mut guard = Self { path: path.to_owned(), holding, looking, pins: false, file };
        guard.begin()?;
        Ok(guard)
    }

    /// Tries again to get a slot that pins, after something was written; or takes up a guard that
    /// rests.
    ///
    /// # Errors
    /// As for [`Self::take`]; there is no guard then.
    pub fn renew(&mut self) -> Result<(), NotGuarded> {
        self.rest()?;
        self.begin()
    }

    /// Writes to `_litestream_seq`, so that the WAL holds something again: a table of Litestream's,
    /// which it writes to for the same reason. Only while Litestream runs: on a WAL that was all
    /// copied this is the write that begins it anew. Whether it was written; an application's own
    /// tables are never touched.
    pub fn count_up(&self) -> bool {
        let count = "INSERT INTO _litestream_seq (id, seq) VALUES (1, 1)
                     ON CONFLICT (id) DO UPDATE SET seq = seq + 1";
        self.looking.execute(count, ()) == Ok(1)
    }

    /// Whether Litestream ever took the database up: the first thing that it does is to make that
    /// table. What can't be known counts as taken up.
    pub fn was_replicated(&self) -> bool {
        let sql = "SELECT 1 FROM sqlite_schema WHERE name = '_litestream_seq'";
        !matches!(self.looking.query_row(sql, (), |_| Ok(())).optional(), Ok(None))
    }

    /// Ends the transaction, and stays open for looks.
    ///
    /// # Errors
    /// As SQLite gives them; the guard is of no use then.
    pub fn rest(&mut self) -> Result<(), NotGuarded> {
        self.end().map_err(|e| NotGuarded::new(&self.path, &e))
    }

    fn end(&mut self) -> rusqlite::Result<()> {
        self.pins = false;
        if self.holding.is_autocommit() { Ok(()) } else { self.holding.execute_batch("ROLLBACK") }
    }

    /// Whether the file at its path is still the one that is open.
    pub fn is_of_this_file(&self) -> bool {
        self.file.is_some() && DatabaseFile::at(&self.path).ok() == self.file
    }

    fn begin(&mut self) -> Result<(), NotGuarded> {
        let begun = self.holding.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema");
        begun.map_err(|e| NotGuarded::new(&self.path, &e))?;
        match wal_locks::readers(&self.path) {
            Ok(readers) => self.pins = readers.own == Some(Slot::Pins),
            Err(e) => {
                self.rest()?;
                return Err(NotGuarded {
                    path: self.path.clone(),
                    what: format!("its locks can't be looked at: {e}"),
                    remedy: "let edgerotate see /proc/locks: no ProcSubset=pid in its unit",
                });
            }
        }
        Ok(())
    }

    /// Whether it was proven to keep the WAL from being begun anew.
    pub fn pins(&self) -> bool {
        self.pins
    }

    /// The connection that is in no transaction, for who looks at the WAL.
    pub(super) fn looking(&self) -> &Connection {
        &self.looking
    }

    /// The file that is open.
    pub fn file(&self) -> Option<DatabaseFile> {
        self.file
    }

    /// Copies the WAL into the database, so that the next write begins it anew: what Litestream has
    /// not read is gone from it. For a guard that rests, and a replica that is marked as suspect.
    ///
    /// # Errors
    /// As SQLite gives them.
    pub fn checkpoint(&self) -> Result<(), NotGuarded> {
        copy(&self.looking).map_err(|e| NotGuarded::new(&self.path, &e))
    }
}

/// Passive: it waits for nobody and keeps nobody waiting.
fn copy(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))
}

impl NotGuarded {
    fn new(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let remedy = match error.sqlite_error_code() {
            Some(Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied) => {
                "let edgerotate's user read and write the file, its -wal and -shm, and their \
                 directory"
            }
            Some(Code::NotADatabase) => "name a SQLite database in EDGEROTATE_GUARD_DATABASES",
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                "look for a program that holds it in exclusive locking mode"
            }
            _ => "look at the database with sqlite3, at the storage and at its room",
        };
        Self { path: path.to_owned(), what: error.to_string(), remedy }
    }

    /// The heartbeat's thread did not come to an end of its row.
    pub fn heartbeat_hangs(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            what: "the heartbeat before it does not come to an end".to_owned(),
            remedy: "look for a program that keeps a write transaction open, and at the storage",
        }
    }
}

impl fmt::Display for NotGuarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path.display(), self.what, self.remedy)
    }
}

#[cfg(test)]
mod tests;
