//! The databases: whether they can be opened, written and guarded, and what is said of their
//! replicas.
//!
//! The rules of `replica::sqlite` hold here as well: nothing but SQLite opens a database, its -wal
//! or its -shm, and nothing is checkpointed. Nothing is written either: whether it could be is told
//! by taking the lock of a writer and giving it back. Files that SQLite makes for that look go with
//! it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};
use rusqlite::{Connection, ErrorCode, config::DbConfig};

use super::{
    report::{Found, Line},
    step::Step,
};
use crate::{
    fetch::material::io_words,
    problems::finding::Finding,
    replica::{
        guard::transaction::Guard,
        sqlite::{self, Use, beside},
        suspect::SuspectFile,
    },
    settings::Config,
    system::file_system::{Lasts, lasts},
};

/// How long another program's transaction is waited for. The heartbeat waits longer; a person does
/// not.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// A larger database is not read through: a look is to be quick.
const READ_THROUGH: u64 = 16 << 20;

/// With less than this, not even a heartbeat has room.
const NO_ROOM: u64 = 1 << 20;

pub fn lines(config: &Config, daemon_runs: bool, user: &str) -> Vec<Line> {
    let path = &config.heartbeat.database;
    let (database, opened) = heartbeat(config, daemon_runs, user);
    let mut lines = vec![database, room(path, config.guard.max_wal)];
    lines.extend(guards(config, opened.is_some(), user));
    if let Some(opened) = opened {
        opened.close();
    }
    lines.push(replicas(&config.state_directory));
    lines
}

fn heartbeat(config: &Config, daemon_runs: bool, user: &str) -> (Line, Option<OpenDatabase>) {
    let path = &config.heartbeat.database;
    let step = Step::Database;
    let shown = path.display().to_string();
    let directory = path.parent().unwrap_or(Path::new("/"));
    if let Err(e) = fs::metadata(directory) {
        let why = format!("({})", io_words(&e));
        let found = Found::file(Finding::DatabaseDirectory, directory, &why);
        return (Line::wrong(step, shown, found), None);
    }
    let mut found = Vec::new();
    let lasts = lasts(path).unwrap_or(Lasts::Always);
    if lasts == Lasts::UntilReboot && !config.heartbeat.allow_volatile_database {
        found.push(Found::file(Finding::DatabaseVolatile, path, ""));
    }
    if matches!(path.try_exists(), Ok(false)) {
        let mut line = match access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
            Err(e) => {
                let why = format!("({})", e.desc());
                Line::wrong(step, shown, Found::file(Finding::DatabaseDirectory, directory, &why))
            }
            Ok(()) if daemon_runs => {
                let lost = Found::file(Finding::DatabaseNotUsable, path, "(it is not there)");
                Line::wrong(step, shown, lost)
            }
            Ok(()) => Line::ok(step, format!("{shown} is not there yet; the daemon makes it")),
        };
        line.add(found);
        return (line, None);
    }
    match OpenDatabase::new(path) {
        Ok(opened) => match opened.look() {
            Ok(Ok(seen)) => {
                let unknown = match lasts {
                    Lasts::Unknown => "; whether its file system outlives a reboot is not known",
                    Lasts::UntilReboot | Lasts::Always => "",
                };
                let line = Line::new(step, format!("{shown}: {seen}{unknown}"), found);
                (line, Some(opened))
            }
            Ok(Err(finding)) => {
                opened.close();
                found.push(finding.by(user));
                (Line::new(step, shown, found), None)
            }
            Err(e) => {
                opened.close();
                found.push(explained(path, &e).by(user));
                (Line::new(step, shown, found), None)
            }
        },
        Err(e) => {
            found.push(explained(path, &e).by(user));
            (Line::new(step, shown, found), None)
        }
    }
}

/// A database that is open for a look.
struct OpenDatabase {
    connection: Connection,
    path: PathBuf,
    /// Nobody had it open: what SQLite makes beside it goes with the connection.
    alone: bool,
}

impl OpenDatabase {
    fn new(path: &Path) -> rusqlite::Result<Self> {
        let alone = !beside(path, "-wal").exists() && !beside(path, "-shm").exists();
        let connection = sqlite::open(path, Use::Write, BUSY_TIMEOUT)?;
        Ok(Self { connection, path: path.to_owned(), alone })
    }

    /// What was seen, or what is wrong.
    fn look(&self) -> rusqlite::Result<Result<String, Found>> {
        let text = |sql| self.connection.query_row(sql, (), |row| row.get::<_, String>(0));
        self.connection.execute_batch("SELECT 1 FROM sqlite_schema; BEGIN IMMEDIATE; ROLLBACK")?;
        // Where it may not write, SQLite opens for reading alone and lets a writer's transaction
        // begin.
        if self.connection.is_readonly("main")? {
            let why = "(it can only be read)";
            return Ok(Err(Found::file(Finding::DatabaseNotUsable, &self.path, why)));
        }
        let size = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        let through = size <= READ_THROUGH;
        if through {
            let word = text("PRAGMA quick_check(1)")?;
            if word != "ok" {
                let why = format!("({word})");
                return Ok(Err(Found::file(Finding::DatabaseDamaged, &self.path, &why)));
            }
        }
        let mode = text("PRAGMA journal_mode")?;
        if !mode.eq_ignore_ascii_case("wal") {
            let why = format!("(journal mode {mode})");
            return Ok(Err(Found::file(Finding::DatabaseNotWal, &self.path, &why)));
        }
        let read = if through { ", read through" } else { "" };
        Ok(Ok(format!("it can be written; WAL, {}{read}", shown_size(size))))
    }

    /// Leaves what was there. Without a frame in the WAL there is nothing to checkpoint, so that
    /// closing may remove it.
    fn close(self) {
        let wal = fs::metadata(beside(&self.path, "-wal")).map_or(0, |wal| wal.len());
        if self.alone && wal == 0 {
            let _ =
                self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
    }
}

fn explained(path: &Path, error: &rusqlite::Error) -> Found {
    let finding = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Finding::DatabaseBusy,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Finding::DatabaseDamaged,
        Some(ErrorCode::DiskFull) => Finding::NoRoom,
        _ => Finding::DatabaseNotUsable,
    };
    Found::file(finding, path, &format!("({})", plain(error)))
}

/// SQLite's words without the path, which stands before.
fn plain(error: &rusqlite::Error) -> String {
    let words = error.to_string();
    words.split(": /").next().unwrap_or_default().to_owned()
}

fn room(path: &Path, max_wal: u64) -> Line {
    let step = Step::Room;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let Ok(space) = statvfs(directory) else {
        return Line::not_reached(step, Step::Database);
    };
    // The types differ between platforms.
    #[allow(clippy::useless_conversion, reason = "32 bits on some platforms")]
    let free = u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size()));
    let seen = format!("{} free on the file system of {}", shown_size(free), path.display());
    let finding = if free < NO_ROOM {
        Finding::NoRoom
    } else if free < max_wal {
        Finding::LittleRoom
    } else {
        return Line::ok(step, seen);
    };
    Line::wrong(step, seen.clone(), Found::new(finding, seen))
}

fn shown_size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// One line for each database that is guarded. A guard is taken, and let go again.
fn guards(config: &Config, heartbeat_is_open: bool, user: &str) -> Vec<Line> {
    let step = Step::Guard;
    let heartbeat = &config.heartbeat.database;
    let mut lines = Vec::new();
    if heartbeat_is_open {
        lines.push(guard(heartbeat, user));
    } else {
        lines.push(Line::not_reached(step, Step::Database));
    }
    for path in &config.guard.databases {
        // Held meanwhile, so that what SQLite makes beside it goes again.
        let opened = if path.exists() { OpenDatabase::new(path).ok() } else { None };
        lines.push(guard(path, user));
        if let Some(opened) = opened {
            opened.close();
        }
    }
    lines
}

fn guard(path: &Path, user: &str) -> Line {
    let shown = path.display().to_string();
    match Guard::take(path) {
        Ok(_) => Line::ok(Step::Guard, format!("{shown} can be guarded")),
        Err(e) if e.is_missing() => {
            Line::wrong(Step::Guard, shown, Found::file(Finding::GuardDatabaseMissing, path, ""))
        }
        Err(e) => {
            let why = format!("({})", e.what());
            Line::wrong(Step::Guard, shown, Found::file(Finding::GuardNotHad, path, &why).by(user))
        }
    }
}

fn replicas(state_directory: &Path) -> Line {
    let step = Step::Replica;
    match SuspectFile::in_directory(state_directory).load() {
        Ok(suspect) if suspect.databases.is_empty() => {
            Line::ok(step, "none is marked as suspect; `edgerotate verify` proves it")
        }
        Ok(suspect) => {
            let found = suspect.databases.iter().map(|(path, reasons)| {
                let why = reasons.first().map_or("", |reason| reason.what.as_str());
                Found::file(Finding::Suspect, path, &format!("({why})"))
            });
            Line::new(step, "suspect", found.collect())
        }
        Err(e) => {
            let path = state_directory.join("suspect");
            let why = format!("({})", io_words(&e));
            Line::wrong(step, "suspect", Found::file(Finding::SuspectUnknown, &path, &why))
        }
    }
}
