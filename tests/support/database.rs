//! What is in a database, and whether a restored one is the same.

use std::{collections::BTreeSet, path::Path};

use rusqlite::{Connection, OpenFlags};

/// The heartbeats' ids, in order; empty before the first.
pub fn rows(database: &Path) -> Vec<i64> {
    try_rows(database).unwrap_or_else(|e| panic!("{}: {e}", database.display()))
}

pub fn try_rows(database: &Path) -> rusqlite::Result<Vec<i64>> {
    let connection = open(database)?;
    connection
        .prepare("SELECT id FROM HealthCheck ORDER BY id")?
        .query_map((), |row| row.get(0))?
        .collect()
}

/// SQLite's own verdict: `ok`, or what is broken.
pub fn integrity(database: &Path) -> String {
    let check = |connection: Connection| {
        connection.query_row("PRAGMA integrity_check", (), |row| row.get(0))
    };
    open(database).and_then(check).unwrap_or_else(|e| e.to_string())
}

/// Which ids the copy lacks, and which it has beyond the original.
pub fn compare(original: &[i64], copy: &[i64]) -> (Vec<i64>, Vec<i64>) {
    let original: BTreeSet<i64> = original.iter().copied().collect();
    let copy: BTreeSet<i64> = copy.iter().copied().collect();
    (original.difference(&copy).copied().collect(), copy.difference(&original).copied().collect())
}

/// Opens a database without ever checkpointing it: a checkpoint at the wrong moment is what the
/// tests look for.
pub fn open(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// How many pages of the WAL are in use, and whether all of them were copied.
pub fn wal(connection: &Connection) -> (i64, bool) {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (pages, copied) = connection.query_row("PRAGMA wal_checkpoint(NOOP)", (), row).unwrap();
    (pages, pages == copied)
}
