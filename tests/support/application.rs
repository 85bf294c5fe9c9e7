//! The other program on the device, which writes databases of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::Connection;

use super::{
    Device, Litestream, SOON,
    database::{self, wal},
};

/// A database, and the program's connection to it.
pub struct Application {
    pub path: PathBuf,
    connection: Connection,
}

impl Application {
    /// A database with a few rows, which Litestream replicates.
    pub fn new(device: &mut Device, name: &str) -> Self {
        let application = Self::alone(device, name, "WAL");
        device.litestream.also(&application.path);
        application
    }

    /// The same in this journal mode, and nobody replicates it.
    pub fn alone(device: &Device, name: &str, journal_mode: &str) -> Self {
        let path = device.database.with_file_name(name);
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", journal_mode).unwrap();
        // No fsync: what is tested is not the disk.
        let tables = "PRAGMA synchronous = OFF;
             CREATE TABLE HealthCheck (id INTEGER PRIMARY KEY, filling BLOB)";
        connection.execute_batch(tables).unwrap();
        connection.busy_timeout(SOON).unwrap();
        let application = Self { path, connection };
        application.write(20);
        application
    }

    /// So many rows, each in a transaction of its own.
    pub fn write(&self, rows: usize) {
        for _ in 0..rows {
            let insert = "INSERT INTO HealthCheck (filling) VALUES (zeroblob(100))";
            self.connection.execute(insert, ()).unwrap();
        }
    }

    /// Copies what may be copied into the database. Whether that was all of it.
    pub fn checkpoint(&self) -> bool {
        checkpoint(&self.connection);
        wal(&self.connection).1
    }

    /// From now on a lock of somebody else's is an error at once.
    pub fn waits_for_nobody(&self) {
        self.connection.busy_timeout(Duration::ZERO).unwrap();
    }

    /// What loses rows while Litestream is down: rows that it has not read, a checkpoint, and as
    /// many rows again.
    pub fn overwrite_the_wal(&self) {
        self.write(20);
        self.checkpoint();
        self.write(20);
    }

    pub fn rows(&self) -> Vec<i64> {
        database::rows(&self.path)
    }

    /// Rows in the middle of the replica that are not there; those behind its newest are only late.
    pub fn holes(&self, litestream: &Litestream, to: &Path) -> Vec<i64> {
        let original = self.rows();
        litestream.restore_of(&self.path, to).unwrap();
        let copy = database::rows(to);
        assert_eq!(database::integrity(to), "ok", "a hole shows nowhere");
        let newest = copy.last().copied().unwrap_or_default();
        let (missing, _) = database::compare(&original, &copy);
        missing.into_iter().filter(|id| *id < newest).collect()
    }
}

/// A checkpoint by another program than edgerotate and Litestream.
pub fn checkpoint(connection: &Connection) {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(())).unwrap();
}
