//! The daemon that runs: whether it does, and what it has found, so that its token is left alone.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use nix::{
    sys::stat::{major, minor},
    unistd::geteuid,
};
use serde::Deserialize;

use super::{
    files,
    provider::Asked,
    report::{Found, Line, Step},
};
use crate::{
    clock::{self, Boottime},
    config::{Config, Pin, PrivateKey},
    failure::{Cause, Failure},
    finding::Finding,
};

/// What is read of the daemon's record; there is more in it.
#[derive(Deserialize)]
struct Record {
    version: u32,
    clocks: Clocks,
    daemon: Daemon,
    credentials: Option<Credentials>,
    fetch: Fetch,
    clock: Option<Skew>,
}

#[derive(Deserialize)]
struct Clocks {
    boottime: Moment,
    wall: DateTime<Utc>,
}

#[derive(Clone, Copy, Deserialize)]
struct Moment {
    boottime_ms: u64,
}

#[derive(Deserialize)]
struct Daemon {
    pid: u32,
    boot_id: String,
    started: Moment,
}

#[derive(Deserialize)]
struct Credentials {
    expires: Moment,
}

#[derive(Deserialize)]
struct Fetch {
    last_success: Option<Moment>,
    failure: Option<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    cause: Cause,
    detail: String,
    last: Moment,
    over: Option<Moment>,
}

#[derive(Deserialize)]
struct Skew {
    ahead_s: i64,
}

/// The form of the record that is understood here.
const VERSION: u32 = 1;

/// What the daemon found when it asked last.
pub struct Findings {
    pub asked: Asked,
    /// Such as `as the daemon found 3 min ago`.
    pub source: String,
}

/// Whether it runs, its process id if that can be told, and what it found if that still holds.
pub fn look(
    config: &Config,
    settings: &[PathBuf],
    ask_anew: bool,
) -> (Line, bool, Option<Findings>) {
    let step = Step::Daemon;
    let Some(pid) = running(&config.runtime_directory) else {
        let path = config.runtime_directory.display().to_string();
        let mut line = Line::wrong(step, path, Found::new(Finding::DaemonNotRunning, ""));
        line.add(other_user(config));
        return (line, false, None);
    };
    let findings = if ask_anew { Err("it is asked anew") } else { findings(config, settings, pid) };
    let process = format!("it runs as process {pid}");
    let (seen, findings) = match findings {
        Ok(findings) => {
            (format!("{process}; what it found of token and provider is used"), Some(findings))
        }
        Err(why) => (format!("{process}; {why}, so token and provider are asked here"), None),
    };
    let mut line = Line::ok(step, seen);
    line.add(other_user(config));
    (line, true, findings)
}

fn other_user(config: &Config) -> Option<Found> {
    let owner = files::user(config).filter(|owner| *owner != geteuid())?;
    let detail = format!("{}, and it is {}", files::name(geteuid()), files::name(owner));
    Some(Found::new(Finding::OtherUser, detail).by(&files::name(owner)))
}

/// The process that holds the daemon's lock. Seen in the kernel's table: to try the lock
/// could keep a daemon from starting at that moment.
fn running(runtime_directory: &Path) -> Option<u32> {
    let path = runtime_directory.join("edgerotate.lock");
    let lock = fs::metadata(&path).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // The runtime directory is tmpfs, whose device is the same to stat(2) and to the table.
    let file = format!("{:02x}:{:02x}:{}", major(lock.dev()), minor(lock.dev()), lock.ino());
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = fields.as_slice() else { return None };
        if *place == file { pid.parse().ok() } else { None }
    })
}

fn findings(config: &Config, settings: &[PathBuf], pid: u32) -> Result<Findings, &'static str> {
    let text = fs::read(config.runtime_directory.join("status.json"))
        .map_err(|_| "its record can't be read")?;
    let record: Record =
        serde_json::from_slice(&text).map_err(|_| "its record is of another version")?;
    let of_this_boot = clock::boot_id().is_ok_and(|boot| boot == record.daemon.boot_id);
    if record.version != VERSION || record.daemon.pid != pid || !of_this_boot {
        return Err("its record is not of this daemon");
    }
    let now = clock::boottime();
    let ago = |moment: Moment| now.since(Boottime::from_millis(moment.boottime_ms));
    let failure = record.fetch.failure.as_ref().filter(|failure| failure.over.is_none());
    let still_good = record
        .credentials
        .as_ref()
        .is_some_and(|held| Boottime::from_millis(held.expires.boottime_ms) > now);
    let (result, at) = match (failure, record.fetch.last_success) {
        (Some(failure), _) => {
            (Err(Failure::new(failure.cause, failure.detail.clone())), failure.last)
        }
        (None, Some(at)) if still_good => (Ok("credentials came".to_owned()), at),
        _ => return Err("it has found nothing yet"),
    };
    let started = record.daemon.started;
    let changed = |path: &PathBuf, since| path.exists() && is_newer(path, since, &record.clocks);
    if inputs(config).iter().any(|path| changed(path, at))
        || settings.iter().any(|path| changed(path, started))
    {
        return Err("settings or files have changed since it asked");
    }
    let seconds = ago(at).as_secs();
    let source = match seconds {
        0..120 => format!("as the daemon found {seconds} s ago"),
        _ => format!("as the daemon found {} min ago", seconds / 60),
    };
    let ahead_s = record.clock.map(|clock| clock.ahead_s);
    Ok(Findings { asked: Asked { result, ahead_s, answered: false }, source })
}

/// What a fetch reads: a change of any of them makes an older finding worthless.
fn inputs(config: &Config) -> Vec<PathBuf> {
    let provider = &config.provider;
    let mut inputs = vec![provider.certificate.clone()];
    inputs.extend(provider.ca_file.clone());
    match &provider.key {
        PrivateKey::File(path) => inputs.push(path.clone()),
        PrivateKey::Token(token) => {
            inputs.push(token.module.clone());
            if let Pin::File(path) = &token.pin {
                inputs.push(path.clone());
            }
        }
    }
    inputs
}

/// Whether a file was changed after that moment, or may have been. The wall clock of then is known by that of the
/// record.
fn is_newer(path: &Path, at: Moment, clocks: &Clocks) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return true };
    let before = clocks.boottime.boottime_ms.saturating_sub(at.boottime_ms);
    let asked = clocks.wall - TimeDelta::milliseconds(i64::try_from(before).unwrap_or(0));
    DateTime::from_timestamp(metadata.ctime(), 0).is_none_or(|changed| changed >= asked)
}
