//! How far Litestream has read, as it notes it beside the database.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::core::guard::look::Salts;

/// One note: up to where a WAL was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePlace {
    /// Grows with each note: the transaction (0.5), or the number of the shadow WAL (0.3).
    pub serial: u64,
    pub salts: Salts,
    /// In bytes from the start of the WAL with these salts.
    pub end: u64,
    /// With this note the whole database was copied.
    pub whole: bool,
}

/// The newest note, and what leads up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    pub newest: ServicePlace,
    /// The whole database was copied since this WAL began.
    pub whole: bool,
    /// The last note of the WAL before, if it is still there; none is looked for behind a copy of
    /// the whole.
    pub before: Option<ServicePlace>,
    /// When the newest note was written, by the file system's clock: of two generations of
    /// Litestream, which ran last?
    pub changed: SystemTime,
}

/// Litestream's directory beside a database: `.NAME-litestream`.
pub fn directory(database: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(database.file_name().unwrap_or_default());
    name.push("-litestream");
    database.with_file_name(name)
}
