//! The one place where SQLite's files are opened.
//!
//! A live database has another reader, Litestream, whose replica a checkpoint at the wrong moment
//! tears. So no connection of edgerotate makes one: neither when the WAL is long nor when it is the
//! last to close. And nothing but SQLite opens a live database, its `-wal` or its `-shm`: closing
//! another descriptor of them would drop all locks of this process, SQLite's own included.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

/// What a connection to a live database is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Read,
    Write,
    /// To write, and to make the database where there is none.
    Create,
}

/// Opens a live database; `busy` is how long a lock of somebody else is waited for.
///
/// # Errors
/// As SQLite gives them.
pub fn open(path: &Path, purpose: Use, busy: Duration) -> rusqlite::Result<Connection> {
    let flags = match purpose {
        Use::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Use::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Use::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Before anything that could open the WAL: closing after a failure must not checkpoint either.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(busy)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// Opens a restored copy, which nobody else uses.
///
/// # Errors
/// As SQLite gives them.
pub fn open_copy(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open(path)
}

/// A file, told from another one of the same name: its device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseFile(u64, u64);

impl DatabaseFile {
    /// The file at `path`. It looks at the name; nothing is opened, so nothing is closed.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self(metadata.dev(), metadata.ino()))
    }

    /// The two as a plain value.
    pub fn id(self) -> (u64, u64) {
        (self.0, self.1)
    }
}

/// `/data/app.db` and `-wal`: the file that SQLite keeps beside the database.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut file = path.as_os_str().to_owned();
    file.push(suffix);
    file.into()
}

/// Whether this process may write all files of the database that are there.
///
/// To be asked before SQLite opens them. What it may only read, SQLite opens to read, and the
/// `-shm` stays so for all connections of this process, those that come later too, until the last
/// one is closed.
///
/// # Errors
/// Which file it may not write, in words.
pub fn look_at_rights(path: &Path) -> Result<(), String> {
    for suffix in ["", "-wal", "-shm"] {
        match access(&beside(path, suffix), AccessFlags::W_OK) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) if suffix.is_empty() => return Err(errno.desc().to_owned()),
            Err(errno) => return Err(format!("its {suffix}: {}", errno.desc())),
        }
    }
    Ok(())
}
