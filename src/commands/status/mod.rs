//! `edgerotate status`: what the daemon does, for a person and for programs.
//!
//! The daemon leaves a [`record`] in the runtime directory and holds a lock there as long as it lives. This reads both,
//! and nothing else: it needs no more rights than to read that directory, and disturbs nobody. What is wrong
//! ([`findings`]), the [`screen`] and the JSON are made of what was seen, without a look at clocks or files.

pub mod findings;
mod json;
mod screen;
pub mod settings;
#[cfg(test)]
pub(crate) mod tests;
pub mod times;
mod watch;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use self::{
    findings::{Finding, verdict},
    screen::Paint,
    settings::Settings,
    times::Now,
};
use crate::{
    record::{self, Record},
    system::{clock, instance},
};

pub use self::watch::watch;

/// What was found in the runtime directory, and when that was.
#[derive(Clone, Debug)]
pub struct Seen {
    pub directory: PathBuf,
    /// What is wrong with the settings, where they were looked at.
    pub settings: Vec<Finding>,
    pub lock: Lock,
    pub record: Result<Record, NoRecord>,
    pub now: Now,
}

/// Whether the daemon runs, by its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
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

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub json: bool,
    pub color: bool,
    /// A terminal shows each state in the place of the one before.
    pub in_place: bool,
}

impl Seen {
    /// Looks at the runtime directory.
    pub fn look(directory: &Path) -> Self {
        let now = Now {
            boottime: clock::boottime(),
            wall: clock::local().fixed_offset(),
            boot_id: clock::boot_id().unwrap_or_default(),
        };
        let record = read(&directory.join(record::FILE_NAME));
        let known = record.as_ref().ok().map(|record| record.daemon.pid);
        let lock = match instance::holder(directory, known) {
            Ok(Some(pid)) => Lock::Held(pid),
            Ok(None) => Lock::Free,
            Err(e) => Lock::Unknown(e.to_string()),
        };
        Self { directory: directory.to_owned(), settings: Vec::new(), lock, record, now }
    }

    /// The same, by the settings and with what is to be said of them.
    pub fn by(settings: Settings) -> Self {
        Self { settings: settings.findings, ..Self::look(&settings.runtime_directory) }
    }

    /// What is wrong, the worst first.
    pub fn findings(&self) -> Vec<Finding> {
        findings::of(self)
    }
}

/// Shows what the daemon does; answers with the exit code.
///
/// # Errors
/// The answer could not be written.
pub fn run(settings: Settings, manner: Manner, out: &mut dyn Write) -> io::Result<u8> {
    show(&Seen::by(settings), manner, out)
}

fn show(seen: &Seen, manner: Manner, out: &mut dyn Write) -> io::Result<u8> {
    let findings = seen.findings();
    if manner.json {
        writeln!(out, "{:#}", json::json(seen, &findings))?;
    } else {
        out.write_all(screen::text(seen, &findings, Paint::new(manner.color)).as_bytes())?;
    }
    out.flush()?;
    Ok(verdict(&findings).exit_code)
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
