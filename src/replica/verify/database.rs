//! The two databases: the live one, only read, and the restored one, which is ours.
//!
//! The rules of `replica::sqlite` hold for the live one here as well: no checkpoint, not even when
//! it is closed, and nothing but SQLite opens it or its -wal and -shm. What is compared is read in
//! one transaction, so that it is the state of one moment; it begins after the restore, so that
//! this moment is the later one.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, InterruptHandle, OptionalExtension};

use super::{
    comparison::{self, Comparison},
    lag::Waiting,
    rows::{self},
    tables::{Newest, Tables},
};
use crate::{
    problems::trouble::Trouble,
    replica::{
        sqlite::{self, Use},
        verify::row::Unreadable,
    },
};

/// As long as the heartbeat waits for another program's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A restored database that is broken in a thousand places needs not be read to its end.
const INTEGRITY_CHECK: &str = "PRAGMA integrity_check(1)";

/// What ends SQLite's work from another thread.
#[derive(Default)]
pub struct Interrupts(Mutex<DatabaseState>);

#[derive(Default)]
struct DatabaseState {
    ended: bool,
    handles: Vec<InterruptHandle>,
}

/// What the live database had before the restore began: only this much can be asked of the replica.
#[derive(Clone, Debug)]
pub struct LiveBefore {
    pub largest: i64,
    /// The newest rows of the other tables.
    tables: Newest,
}

/// Both databases, read.
#[derive(Clone, Debug)]
pub struct DatabasesRead {
    /// SQLite's word on the restored one: `ok`, or what is broken first.
    pub integrity: String,
    pub comparison: Comparison,
    /// The rows that were there before the restore began and are newer than everything restored.
    pub waiting: Waiting,
    /// The other tables.
    pub tables: Tables,
    /// Whether the newest rows of before are in it.
    pub has_newest: bool,
}

impl Interrupts {
    /// Ends what runs, and what begins later.
    pub fn interrupt(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended = true;
        for handle in &state.handles {
            handle.interrupt();
        }
    }

    fn add(&self, connection: &Connection) -> Result<(), Trouble> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.handles.push(connection.get_interrupt_handle());
        if state.ended { Err(Trouble::interrupted()) } else { Ok(()) }
    }
}

/// Looks for the newest heartbeat; none where there is no database, no table or no row yet.
///
/// # Errors
/// The database can't be read.
pub fn look(path: &Path, interrupts: &Interrupts) -> Result<Option<LiveBefore>, Trouble> {
    // A look at the name; nothing is opened. What can't be looked at, SQLite will complain of.
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(None);
    }
    let told = |e| Trouble::database(path, &e);
    let connection = sqlite::open(path, Use::Read, BUSY_TIMEOUT).map_err(told)?;
    interrupts.add(&connection)?;
    if !has_table(&connection).map_err(told)? {
        return Ok(None);
    }
    let largest: Option<i64> = connection
        .query_row("SELECT max(id) FROM HealthCheck", (), |row| row.get(0))
        .map_err(told)?;
    let Some(largest) = largest else { return Ok(None) };
    let tables = rows::newest(&connection).map_err(told)?;
    Ok(Some(LiveBefore { largest, tables }))
}

/// Checks the restored database and compares the live one with it.
///
/// # Errors
/// The live database can't be read. A restored one that can't be read is no error but a finding.
pub fn read(
    live: &Path,
    restored: &Path,
    before: &LiveBefore,
    interval: Duration,
    interrupts: &Interrupts,
) -> Result<DatabasesRead, Trouble> {
    let nothing = |integrity| DatabasesRead {
        integrity,
        comparison: Comparison::default(),
        waiting: Waiting::new(interval),
        tables: Tables::default(),
        has_newest: false,
    };
    let copy = match open_restored(restored, interrupts)? {
        Ok(copy) => copy,
        Err(word) => return Ok(nothing(word)),
    };
    let told_live = |e| Trouble::database(live, &e);
    let told_copy = |e| Trouble::database(restored, &e);
    let mut connection = sqlite::open(live, Use::Read, BUSY_TIMEOUT).map_err(told_live)?;
    interrupts.add(&connection)?;
    let transaction = connection.transaction().map_err(told_live)?;
    let ids = "SELECT id FROM HealthCheck ORDER BY id";
    let mut live_ids = transaction.prepare(ids).map_err(told_live)?;
    let live_ids = live_ids.query_map((), |row| row.get(0)).map_err(told_live)?;
    let live_ids = live_ids.map(|id| id.map_err(told_live));
    let comparison = if has_table(&copy).map_err(told_copy)? {
        let mut copied_ids = copy.prepare(ids).map_err(told_copy)?;
        let copied_ids = copied_ids.query_map((), |row| row.get(0)).map_err(told_copy)?;
        comparison::compare(live_ids, copied_ids.map(|id| id.map_err(told_copy)))?
    } else {
        comparison::compare(live_ids, std::iter::empty())?
    };
    let after = comparison.restored.map(|(_, largest)| largest);
    let waiting = waiting(&transaction, after, before, interval).map_err(told_live)?;
    let tables =
        rows::compare(&transaction, &copy, Some("HealthCheck")).map_err(|fault| match fault {
            Unreadable::Live(e) => told_live(e),
            Unreadable::Copy(e) => told_copy(e),
        })?;
    let has_newest =
        after >= Some(before.largest) && tables.behind(&before.tables).next().is_none();
    Ok(DatabasesRead { integrity: "ok".to_owned(), comparison, waiting, tables, has_newest })
}

/// The newest rows of an application's database; none where there is no database.
///
/// # Errors
/// The database can't be read, or reading it would keep its application from writing.
pub fn look_at_rows(path: &Path, interrupts: &Interrupts) -> Result<Option<Newest>, Trouble> {
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(None);
    }
    let told = |e| Trouble::application(path, &e);
    let connection = sqlite::open(path, Use::Read, BUSY_TIMEOUT).map_err(told)?;
    interrupts.add(&connection)?;
    let mode: String =
        connection.query_row("PRAGMA journal_mode", (), |row| row.get(0)).map_err(told)?;
    if mode != "wal" {
        return Err(Trouble::no_wal(path, &mode));
    }
    rows::newest(&connection).map(Some).map_err(told)
}

/// The rows of an application's database and of its replica.
#[derive(Clone, Debug)]
pub struct RowsRead {
    pub integrity: String,
    pub tables: Tables,
}

/// Checks the restored database of an application and compares the live one with it.
///
/// # Errors
/// As for [`read`].
pub fn read_rows(
    live: &Path,
    restored: &Path,
    interrupts: &Interrupts,
) -> Result<RowsRead, Trouble> {
    let copy = match open_restored(restored, interrupts)? {
        Ok(copy) => copy,
        Err(integrity) => return Ok(RowsRead { integrity, tables: Tables::default() }),
    };
    let told = |e| Trouble::application(live, &e);
    let mut connection = sqlite::open(live, Use::Read, BUSY_TIMEOUT).map_err(told)?;
    interrupts.add(&connection)?;
    let transaction = connection.transaction().map_err(told)?;
    let tables = rows::compare(&transaction, &copy, None).map_err(|fault| match fault {
        Unreadable::Live(e) => told(e),
        Unreadable::Copy(e) => Trouble::application(restored, &e),
    })?;
    Ok(RowsRead { integrity: "ok".to_owned(), tables })
}

/// A restored database that is sound; else SQLite's word on it.
fn open_restored(
    restored: &Path,
    interrupts: &Interrupts,
) -> Result<Result<Connection, String>, Trouble> {
    let copy = match sqlite::open_copy(restored) {
        Ok(copy) => copy,
        Err(e) => return Ok(Err(e.to_string())),
    };
    interrupts.add(&copy)?;
    match copy.query_row(INTEGRITY_CHECK, (), |row| row.get::<_, String>(0)) {
        Ok(word) if word == "ok" => {}
        Ok(word) => return Ok(Err(word)),
        Err(e) if is_interrupted(&e) => return Err(Trouble::interrupted()),
        Err(e) => return Ok(Err(e.to_string())),
    }
    Ok(Ok(copy))
}

/// The rows that wait where nothing could be restored: all that were there.
///
/// # Errors
/// The database can't be read.
pub fn all_waiting(
    live: &Path,
    before: &LiveBefore,
    interval: Duration,
    interrupts: &Interrupts,
) -> Result<Waiting, Trouble> {
    let told = |e| Trouble::database(live, &e);
    let connection = sqlite::open(live, Use::Read, BUSY_TIMEOUT).map_err(told)?;
    interrupts.add(&connection)?;
    waiting(&connection, None, before, interval).map_err(told)
}

fn waiting(
    live: &Connection,
    after: Option<i64>,
    before: &LiveBefore,
    interval: Duration,
) -> rusqlite::Result<Waiting> {
    let mut waiting = Waiting::new(interval);
    let mut times = live.prepare(
        "SELECT unixepoch(created_at) FROM HealthCheck
             WHERE (?1 IS NULL OR id > ?1) AND id <= ?2 ORDER BY id",
    )?;
    let mut rows = times.query((after, before.largest))?;
    while let Some(row) = rows.next()? {
        waiting.add(row.get(0)?);
    }
    Ok(waiting)
}

fn has_table(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'HealthCheck'";
    Ok(connection.query_row(sql, (), |_| Ok(())).optional()?.is_some())
}

fn is_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}
