//! What there is to see of the daemon: its lock, its record, and the clocks to read that by.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{finding::StatusFinding, settings::Settings, times::Now};
use crate::{
    core::own_files,
    record::{self, Record},
    system::{
        clock,
        file_system::{LEAST_ROOM, room},
        instance,
    },
};

/// What was found in the runtime directory, and when that was.
#[derive(Clone, Debug)]
pub struct Seen {
    pub directory: PathBuf,
    /// What is wrong with the settings, where they were looked at.
    pub settings: Vec<StatusFinding>,
    pub lock: DaemonLock,
    pub record: Result<Record, NoRecord>,
    pub now: Now,
    /// The file system of the directory is full.
    pub is_full: bool,
}

/// Whether the daemon runs, by its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonLock {
    /// By this process.
    Held(u32),
    Free,
    /// And why that can't be told.
    Unknown(String),
}

/// Why there is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRecord {
    Missing,
    NotPermitted,
    /// What is wrong with it.
    Unreadable(String),
}

impl Seen {
    /// Looks at the runtime directory.
    pub fn look(directory: &Path) -> Self {
        let now = Now {
            boottime: clock::boottime(),
            wall: clock::local().fixed_offset(),
            boot_id: clock::boot_id().unwrap_or_default(),
        };
        let record = read(&directory.join(own_files::RECORD));
        let known = record.as_ref().ok().map(|record| record.daemon.pid);
        let lock = match instance::holder(directory, known) {
            Ok(Some(pid)) => DaemonLock::Held(pid),
            Ok(None) => DaemonLock::Free,
            Err(e) => DaemonLock::Unknown(e.to_string()),
        };
        let is_full = room(directory).is_ok_and(|left| left < LEAST_ROOM);
        Self { directory: directory.to_owned(), settings: Vec::new(), lock, record, now, is_full }
    }

    /// The same, by the settings and with what is to be said of them.
    pub fn by(settings: Settings) -> Self {
        Self { settings: settings.findings, ..Self::look(&settings.runtime_directory) }
    }
}

fn read(file: &Path) -> Result<Record, NoRecord> {
    let text = fs::read(file).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => NoRecord::Missing,
        io::ErrorKind::PermissionDenied => NoRecord::NotPermitted,
        _ => NoRecord::Unreadable(e.to_string()),
    })?;
    let record: Record =
        serde_json::from_slice(&text).map_err(|e| NoRecord::Unreadable(e.to_string()))?;
    match record.version {
        record::VERSION => Ok(record),
        other => Err(NoRecord::Unreadable(format!("form {other}, and not {}", record::VERSION))),
    }
}
