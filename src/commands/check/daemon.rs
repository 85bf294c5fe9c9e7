//! The daemon that runs: whether it does, and what it has found, so that its token is left alone.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta};
use nix::unistd::geteuid;

use super::{
    files,
    provider::Asked,
    report::{Found, Line},
    step::Step,
};
use crate::{
    commands::status::{DaemonLock, NoRecord, Seen},
    core::{class::Class, own_files, span::span},
    fetch::pin_mark::{self, Directories},
    problems::{failure::Failure, finding::Finding},
    record::{Clocks, Moment},
    settings::{Config, Pin, PrivateKey},
};

/// Between two looks of the gate. So long the daemon must have been up, too.
pub const PAUSE: Duration = Duration::from_secs(5);

/// What the daemon found when it asked last.
pub struct Findings {
    pub asked: Asked,
    /// Such as `as the daemon found 3 min ago`.
    pub source: String,
}

/// When its findings are good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Somebody has just changed something.
    Never,
    /// For a person, who may have mended what it found.
    Recent,
    /// For the gate: whatever got credentials in this boot works with this image.
    OfThisBoot,
}

/// How old a success may be.
const RECENT: Duration = Duration::from_secs(10 * 60);

/// How old a failure may be, unless it is that of a PIN, which nobody tries again.
const RECENT_FAILURE: Duration = Duration::from_secs(60);

/// Where systemd looks for units, the administrator's first (systemd.unit(5)).
const UNIT_DIRECTORIES: &[&str] = &[
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

const UNIT: &str = "edgerotate.service";

/// The daemon, as it was seen.
pub struct DaemonSeen {
    pub line: Line,
    pub runs: bool,
    /// What it found, if that still holds.
    pub findings: Option<Findings>,
    /// Whether it stays can't be told yet.
    pub too_young: Option<Found>,
    /// It has asked for nothing in this boot, and waits for its turn in the fleet
    /// (`EDGEROTATE_BOOT_SPREAD`).
    pub waits_for_its_turn: bool,
}

impl DaemonSeen {
    /// One that does not run, or is not looked for.
    pub fn away(line: Line) -> Self {
        Self { line, runs: false, findings: None, too_young: None, waits_for_its_turn: false }
    }
}

/// Whether this system was booted with systemd, and has a unit for the daemon that something
/// starts: then it is to run.
pub fn is_to_run() -> bool {
    // sd_booted(3).
    Path::new("/run/systemd/system").is_dir() && is_in_image() && is_enabled()
}

/// A unit that is masked is a link to /dev/null, which is no file.
fn is_in_image() -> bool {
    let units = UNIT_DIRECTORIES.iter().map(|directory| Path::new(directory).join(UNIT));
    let first = units.into_iter().find(|unit| unit.is_symlink() || unit.exists());
    first.is_some_and(|unit| unit.is_file())
}

/// Whether another unit, such as multi-user.target, pulls it in by a link in its `.wants` or
/// `.requires` directory: what `systemctl enable` makes, and needs no D-Bus to be seen.
fn is_enabled() -> bool {
    let entries = |directory: &&str| fs::read_dir(directory).into_iter().flatten().flatten();
    UNIT_DIRECTORIES.iter().flat_map(entries).map(|entry| entry.path()).any(|directory| {
        let pulls_in = directory.extension().is_some_and(|end| end == "wants" || end == "requires");
        pulls_in && directory.join(UNIT).is_symlink()
    })
}

/// Whether it runs, and what it found if that still holds. `awaited`: with this image it is to run.
pub fn look(config: &Config, settings: &[PathBuf], trust: Trust, awaited: bool) -> DaemonSeen {
    let step = Step::Daemon;
    let seen = Seen::look(&config.runtime_directory);
    let found = match &seen.lock {
        DaemonLock::Held(pid) if awaited => has_come_up(&seen, *pid).map(|()| *pid),
        DaemonLock::Held(pid) => Ok(*pid),
        DaemonLock::Free if awaited => Err(Found::new(Finding::DaemonNotUp, "it does not run")),
        DaemonLock::Free => Err(Found::new(Finding::DaemonNotRunning, "")),
        DaemonLock::Unknown(why) => Err(Found::new(Finding::RunningUnknown, why.as_str())),
    };
    let pid = match found {
        Ok(pid) => pid,
        Err(found) => {
            let path = config.runtime_directory.display().to_string();
            let mut line = Line::wrong(step, path, found);
            line.add(other_user(config));
            return DaemonSeen::away(line);
        }
    };
    let waits_for_its_turn = seen.record.as_ref().is_ok_and(|record| {
        seen.lock == DaemonLock::Held(record.daemon.pid)
            && record.first_turn().is_some_and(|turn| turn.at > seen.now.boottime)
    });
    let findings = findings(config, settings, &seen, trust);
    let process = format!("it runs as process {pid}");
    let (words, findings) = match findings {
        Ok(findings) => {
            (format!("{process}; what it found of token and provider is used"), Some(findings))
        }
        Err(why) => (format!("{process}; {why}, so token and provider are asked here"), None),
    };
    let mut line = Line::ok(step, words);
    line.add(other_user(config));
    let too_young = awaited.then(|| too_young(&seen, pid)).flatten();
    DaemonSeen { line, runs: true, findings, too_young, waits_for_its_turn }
}

/// One that ends again and again holds its lock for a moment each time, and has nothing to tell by
/// then.
fn has_come_up(seen: &Seen, pid: u32) -> Result<(), Found> {
    let not_up = |detail: String| Err(Found::new(Finding::DaemonNotUp, detail));
    let unknown = |why: &str| {
        Err(Found::new(Finding::RunningUnknown, format!("{} {why}", own_files::RECORD)))
    };
    match &seen.record {
        Ok(record) if record.daemon.pid != pid || record.daemon.boot_id != seen.now.boot_id => {
            not_up(format!("process {pid} has not written down what it does"))
        }
        Ok(_) => Ok(()),
        Err(NoRecord::Missing) => {
            not_up(format!("process {pid} has not written down what it does"))
        }
        Err(NoRecord::NotPermitted) => unknown("may not be read"),
        Err(NoRecord::Unreadable(why)) => unknown(why),
    }
}

/// Or it has even that, at the one look. So it must have been there for as long as lies between
/// two.
fn too_young(seen: &Seen, pid: u32) -> Option<Found> {
    let record = seen.record.as_ref().ok()?;
    let is_young = seen.now.boottime.since(record.daemon.started.at) < PAUSE;
    is_young.then(|| {
        let more = format!("whether it stays shows after {} s", PAUSE.as_secs());
        let detail = format!("process {pid} has only just started; {more}");
        Found::new(Finding::DaemonNotUp, detail)
    })
}

fn other_user(config: &Config) -> Option<Found> {
    let owner = files::user(config).filter(|owner| *owner != geteuid())?;
    let detail = format!("{}, and it is {}", files::name(geteuid()), files::name(owner));
    Some(Found::new(Finding::OtherUser, detail).by(&files::name(owner)))
}

fn findings(
    config: &Config,
    settings: &[PathBuf],
    seen: &Seen,
    trust: Trust,
) -> Result<Findings, &'static str> {
    if trust == Trust::Never {
        return Err("the PIN was changed");
    }
    let Ok(record) = &seen.record else { return Err("its record can't be read") };
    if seen.lock != DaemonLock::Held(record.daemon.pid) || record.daemon.boot_id != seen.now.boot_id
    {
        return Err("its record is not of this daemon");
    }
    let provider = &config.provider;
    let device = &record.device;
    if (&device.endpoint, &device.role_alias, &device.thing_name)
        != (&provider.host, &provider.role_alias, &provider.thing_name)
    {
        return Err("it has other settings");
    }
    let now = seen.now.boottime;
    let failure = record.fetch.failure.as_ref().filter(|failure| failure.over.is_none());
    let still_good = record.credentials.is_some_and(|held| held.expires.at > now);
    let (result, at, recent) = match (failure, record.fetch.last_success) {
        (Some(failure), _) => {
            let recent = match failure.cause.class() {
                Class::PinRefused => Duration::MAX,
                Class::Passing | Class::Device | Class::Setup => RECENT_FAILURE,
            };
            // What it was kept from by a mark may be tried again, once the mark is gone.
            if failure.cause.class() == Class::PinRefused
                && pin_mark::applies(provider, Directories::of(config)).is_none()
            {
                return Err("the mark of the refused PIN is gone");
            }
            let result = Err(Failure::new(failure.cause, failure.detail.clone()));
            (result, failure.last, recent)
        }
        (None, Some(at)) if still_good => {
            let recent = if trust == Trust::OfThisBoot { Duration::MAX } else { RECENT };
            (Ok("credentials came".to_owned()), at, recent)
        }
        _ => return Err("it has not asked the provider yet"),
    };
    let age = now.since(at.at);
    if age > recent {
        return Err("it has not asked the provider for a while");
    }
    let changed = |path: &PathBuf, since| path.exists() && is_newer(path, since, &record.clocks);
    if inputs(config).iter().any(|path| changed(path, at))
        || settings.iter().any(|path| changed(path, record.daemon.started))
    {
        return Err("settings or files have changed since it asked");
    }
    let source = format!("(by the daemon, {} ago)", span(age));
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

/// Whether a file was changed after that moment, or may have been. The wall clock of then is known
/// by that of the record.
fn is_newer(path: &Path, at: Moment, clocks: &Clocks) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return true };
    let before = TimeDelta::from_std(clocks.boottime.at.since(at.at)).unwrap_or_default();
    let asked = clocks.wall - before;
    let part = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
    DateTime::from_timestamp(metadata.ctime(), part).is_none_or(|changed| changed >= asked)
}
