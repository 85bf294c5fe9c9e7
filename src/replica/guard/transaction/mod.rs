//! The guard over Litestream's restart: a read transaction that keeps a database's WAL as it is.
//!
//! Litestream replicates by reading the WAL, and holds a read transaction so that the WAL is not begun anew before it has
//! read it. While it restarts it holds none. A checkpoint and a few rows are enough then to overwrite what it has not
//! read; 0.5.17 goes on behind the hole, with nothing logged. So somebody else holds the read transaction meanwhile.
//!
//! Each rule below was paid for:
//! - **Only databases in WAL mode.** On a rollback journal a read transaction locks the writers out.
//! - **Never a checkpoint**, neither when the WAL is long nor when a connection closes: it is what does the damage. Only
//!   where the replica is suspect already and the WAL would fill the disk, one is made ([`Guard::checkpoint`]).
//! - **The database, its -wal and its -shm are opened through SQLite alone.** Closing another descriptor of them
//!   would drop all of this process's locks, SQLite's included.
//! - **Only a proven guard counts.** A reader that finds all of the WAL copied into the database takes slot 0, which
//!   pins nothing: the next write begins the WAL anew under it. /proc/locks shows which slot it got ([`wal_locks`]).
//!   So something is written first, while Litestream still runs and can read it: a heartbeat, or in another
//!   database Litestream's own counter ([`Guard::count_up`]). Where that can't be, the next commit is waited for.
//!   No other connection of this process may be reading meanwhile: the table knows processes only.
//! - **Slot 0 is good enough for a database in which nothing is written**: what is not overwritten is not lost.
//!   SQLite's data_version tells afterwards whether anything was.
//! - **It is held until Litestream holds its own**, not until an upload: S3 may be away for days. And it has an end,
//!   since applications' checkpoints wait behind it and the WAL grows.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use crate::replica::{
    heartbeat_store::{WRITABLE, look_at_rights},
    wal_locks::{self, Readers, Slot},
};

/// How long a lock is waited for. Taking the guard needs none that is held for long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// A read transaction on one database, and what it was seen to be worth.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    holding: Connection,
    /// A second connection, which is in no transaction: neither data_version nor the WAL's length move inside of one.
    looking: Connection,
    version: i64,
    pins: bool,
    /// Device and inode of the file that is open: a restore puts another one in its place.
    file: (u64, u64),
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

/// How much of the WAL is in use; its file never shrinks, so that its size says less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wal {
    pub bytes: u64,
    /// All of it was copied into the database: the next write begins it anew, unless somebody pins it.
    pub copied: bool,
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
        let looking = open(path).map_err(told)?;
        let mode: String =
            looking.query_row("PRAGMA journal_mode", (), |row| row.get(0)).map_err(told)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(NotGuarded {
                path: path.to_owned(),
                what: format!("is in journal mode {mode}, where a guard would lock writers out"),
                remedy: "run PRAGMA journal_mode=WAL on it, as Litestream does",
            });
        }
        let holding = open(path).map_err(told)?;
        let file = identity(path).unwrap_or_default();
        let mut guard =
            Self { path: path.to_owned(), holding, looking, version: 0, pins: false, file };
        guard.begin()?;
        Ok(guard)
    }

    /// Tries again to get a slot that pins, after something was written; or takes up a guard that rests.
    ///
    /// # Errors
    /// As for [`Self::take`]; there is no guard then.
    pub fn renew(&mut self) -> Result<(), NotGuarded> {
        self.rest()?;
        self.begin()
    }

    /// Writes to `_litestream_seq`, so that the WAL holds something again: a table of Litestream's, which it writes to
    /// for the same reason. Only while Litestream runs: on a WAL that was all copied this is the write that begins it
    /// anew. Whether it was written; an application's own tables are never touched.
    pub fn count_up(&self) -> bool {
        let count = "INSERT INTO _litestream_seq (id, seq) VALUES (1, 1)
                     ON CONFLICT (id) DO UPDATE SET seq = seq + 1";
        self.looking.execute(count, ()) == Ok(1)
    }

    /// Whether Litestream ever took the database up: the first thing that it does is to make that table. What can't be
    /// known counts as taken up.
    pub fn was_replicated(&self) -> bool {
        let sql = "SELECT 1 FROM sqlite_schema WHERE name = '_litestream_seq'";
        !matches!(self.looking.query_row(sql, (), |_| Ok(())).optional(), Ok(None))
    }

    /// Ends the transaction, and goes on to know whether anything is written.
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
        identity(&self.path) == Some(self.file)
    }

    /// What was written so far is known to be safe, if `safe` says so after a look at how far that is.
    pub fn writes_are_safe_if(&mut self, safe: impl FnOnce() -> bool) -> bool {
        let version = data_version(&self.looking);
        let is_safe = safe();
        if let (Ok(version), true) = (version, is_safe) {
            self.version = version;
        }
        is_safe
    }

    fn begin(&mut self) -> Result<(), NotGuarded> {
        // Before the transaction: what is written from here on counts.
        let begun = data_version(&self.looking).and_then(|version| {
            self.version = version;
            self.holding.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema")
        });
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

    /// Whether anything was written since the transaction began. What can't be known counts as written.
    pub fn was_written(&self) -> bool {
        data_version(&self.looking) != Ok(self.version)
    }

    /// The WAL as it is now.
    pub fn wal(&self) -> Option<Wal> {
        wal(&self.looking)
    }

    /// Copies the WAL into the database, so that the next write begins it anew: what Litestream has not read is gone from
    /// it. For a guard that rests, and a replica that is marked as suspect.
    ///
    /// # Errors
    /// As SQLite gives them.
    pub fn checkpoint(&self) -> Result<(), NotGuarded> {
        copy(&self.looking).map_err(|e| NotGuarded::new(&self.path, &e))
    }
}

/// The last resort where the guard could not even be had; see [`Guard::checkpoint`]. Nothing is done where the WAL is
/// smaller than `limit`, or was copied already; `before` is called if something is.
///
/// # Errors
/// As for [`Guard::take`].
pub fn checkpoint_where_larger(
    path: &Path,
    limit: u64,
    before: impl FnOnce(),
) -> Result<(), NotGuarded> {
    let told = |e| NotGuarded::new(path, &e);
    let looking = open(path).map_err(told)?;
    if wal(&looking).is_some_and(|wal| wal.bytes >= limit && !wal.copied) {
        before();
        copy(&looking).map_err(told)?;
    }
    Ok(())
}

/// Passive: it waits for nobody and keeps nobody waiting.
fn copy(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))
}

fn wal(connection: &Connection) -> Option<Wal> {
    // NOOP only looks: no lock, no copying.
    let (frames, copied): (i64, i64) = connection
        .query_row("PRAGMA wal_checkpoint(NOOP)", (), |row| Ok((row.get(1)?, row.get(2)?)))
        .ok()?;
    let page: i64 = connection.query_row("PRAGMA page_size", (), |row| row.get(0)).ok()?;
    let bytes = u64::try_from(frames.checked_mul(page + FRAME_HEADER)?).ok()?;
    Some(Wal { bytes, copied: copied == frames })
}

/// Before each page in a WAL.
const FRAME_HEADER: i64 = 24;

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Before anything that could open the WAL.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    // A look at the name; nothing is opened, so nothing is closed.
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", (), |row| row.get(0))
}

/// How a reader that is Litestream holds the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub slot: Slot,
    /// For how long it was seen without a break.
    pub seen_for: Duration,
}

/// What is known when a guard could be let go.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The new Litestream's own lock.
    pub litestream: Option<Hold>,
    /// The guard is one that pins.
    pub pins: bool,
    pub wal: Option<Wal>,
    /// How long Litestream has been running, if it runs, and could have taken over.
    pub runs_for: Option<Duration>,
    /// How long heartbeats have paused for this guard.
    pub paused_for: Option<Duration>,
}

/// Up to where a guard is held.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub time: Duration,
    pub wal: u64,
}

/// What to do with a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Hold,
    /// The same, and no more heartbeats, so that the WAL does not grow by them.
    HoldWithoutHeartbeats,
    /// Litestream holds its own.
    LetGo,
    TooLong,
    TooLarge,
}

/// A Litestream in slot 0 that was seen there for so long has read what there was to read when it started.
const HAS_READ: Duration = Duration::from_secs(10);

impl Limits {
    /// Where heartbeats pause, and where nobody guards a checkpoint is made.
    pub fn large(&self) -> u64 {
        self.wal / 4 * 3
    }
}

/// Decides. The time counts only while Litestream runs: a device that boots without a network has no Litestream for as
/// long as that lasts, and giving up on the guard would help nobody. The WAL's size counts always. Near its limit the
/// heartbeats pause, as Litestream may come back; but not for long, as they are there to be written.
pub fn verdict(facts: &Facts, limits: &Limits) -> Verdict {
    let takes_over = facts.litestream.is_some_and(|hold| match hold.slot {
        Slot::Pins => true,
        // Nothing is copied while slot 0 is held. So where something is left to copy, the WAL is not begun anew.
        Slot::Zero => {
            !facts.pins || facts.wal.is_some_and(|wal| !wal.copied) || hold.seen_for >= HAS_READ
        }
    });
    if takes_over {
        return Verdict::LetGo;
    }
    let bytes = facts.wal.map_or(0, |wal| wal.bytes);
    if bytes >= limits.wal || facts.paused_for.is_some_and(|time| time >= limits.time) {
        Verdict::TooLarge
    } else if facts.runs_for.is_some_and(|time| time >= limits.time) {
        Verdict::TooLong
    } else if bytes >= limits.large() {
        Verdict::HoldWithoutHeartbeats
    } else {
        Verdict::Hold
    }
}

/// Who of the readers may be Litestream: `is_litestream` answers for a process, or does not know.
///
/// Where nobody can tell, whoever reads and did not before the restart is a candidate; the caller watches that it stays.
pub fn candidates(
    readers: &Readers,
    before: &[u32],
    is_litestream: impl Fn(u32) -> Option<bool>,
) -> Vec<(u32, Slot)> {
    let may_be = |pid: u32| is_litestream(pid).unwrap_or(true) && !before.contains(&pid);
    readers.others.iter().copied().filter(|(pid, _)| may_be(*pid)).collect()
}

impl NotGuarded {
    fn new(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let remedy = match error.sqlite_error_code() {
            Some(Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied) => {
                "let edgerotate's user read and write the file, its -wal and -shm, and their directory"
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
