//! The marks that logins leave, in files. When a PIN may be tried is decided in
//! [`crate::core::pin_mark`].
//!
//! The mark of a refused PIN knows the PIN's file by its inode and time of change: nothing in it
//! tells anything about the PIN. Where these say nothing (a PIN in the settings, a file that is new
//! at each start), the mark stays until a person removes it. A PIN that was accepted is remembered
//! in the same way, so that nothing is written to flash at a fetch like the one before.
//!
//! Wherever it is unsure, a mark counts: one that is there for nothing costs a person one `rm`, and
//! the message says which.

pub(super) mod attempt;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, SecondsFormat, Utc};
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use crate::{
    core::{
        own_files,
        pin_mark::{self as core, Answer, Kind, MOST, Memory, Outcome, Stop},
    },
    fetch::material::io_words,
    problems::failure::{Cause, Failure},
    settings::{Config, Pin, PrivateKey, Provider, Token},
    system::{
        atomic_file, clock,
        file_system::{Lasts, lasts_as_it_is},
    },
};

/// Readable to all, so that the daemon sees the mark that root's fetch by hand has left in its
/// directory.
const MARK_MODE: u32 = 0o644;

/// Where a PIN came from, as far as it can be told again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Settings,
    /// A file whose change can be seen.
    Lasting(Identity),
    /// A file that is new at each start, and lasts as long as the boot at the most.
    Passing(Identity),
}

/// A state of a file. The device's number is no part of it, as a partition can get another one at a
/// boot, nor is the time of the last chmod or chown, which scripts like to do at each boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    inode: u64,
    modified: (i64, i64),
}

#[derive(Serialize, Deserialize)]
struct Mark {
    refused_at: DateTime<Utc>,
    /// None: tentative. The token's answer is not known, or not yet.
    cause: Option<Cause>,
    /// In a row, this one included.
    refusals: u32,
    /// None: stays until it is removed.
    pin_file: Option<Identity>,
    /// The token had taken this PIN before: whatever ended the login, a refusal is not likely.
    #[serde(default)]
    accepted: bool,
}

impl Mark {
    fn kind(&self) -> Kind {
        match self.cause {
            Some(_) => Kind::Refused,
            None => Kind::Unanswered { accepted: self.accepted },
        }
    }

    /// Whether it may be about the PIN that is there now.
    fn is_of(&self, pin: &Pin) -> bool {
        match (self.pin_file, pin) {
            // Changed; or away, perhaps with its partition, and the fetch will say so. The mark
            // stays until a PIN was accepted.
            (Some(marked), Pin::File(path)) => {
                fs::metadata(path).is_ok_and(|now| Identity::of(&now) == marked)
            }
            _ => true,
        }
    }
}

/// A PIN that must not be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// None if the mark can't be read: it counts all the same.
    at: Option<DateTime<Utc>>,
    /// Whether the token was heard to refuse it.
    certain: bool,
    mark: PathBuf,
    /// The file to change; None where that changes nothing, and the mark has to be removed.
    pin_file: Option<PathBuf>,
}

/// Where marks are: on the data partition, and on tmpfs for the case that it can't be written.
#[derive(Clone, Copy, Debug)]
pub struct Directories<'a> {
    pub state: &'a Path,
    pub runtime: &'a Path,
}

impl<'a> Directories<'a> {
    pub fn of(config: &'a Config) -> Self {
        Self { state: &config.state_directory, runtime: &config.runtime_directory }
    }

    fn marks(&self) -> [PathBuf; 2] {
        [self.state, self.runtime].map(|directory| directory.join(own_files::PIN_REFUSED))
    }

    fn accepted(&self) -> [PathBuf; 2] {
        [self.state, self.runtime].map(|directory| directory.join(own_files::PIN_ACCEPTED))
    }
}

/// Whether the settings' PIN was refused earlier and must not be tried. Looks at three files and no
/// token: cheap enough to ask before each fetch.
pub fn applies(provider: &Provider, directories: Directories) -> Option<Refused> {
    match &provider.key {
        PrivateKey::Token(token) => refused(&token.pin, directories),
        PrivateKey::File(_) => None,
    }
}

/// As [`applies`], for one PIN. Settings without a PIN are no exception: a token can be locked, or
/// OpenSSL's own configuration can hold one.
pub(super) fn refused(pin: &Pin, directories: Directories) -> Option<Refused> {
    directories.marks().into_iter().find_map(|mark| applies_to(pin, mark))
}

/// What has become of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    StillRefused(Refused),
    /// Its mark was there, and no longer applies: the PIN file was changed, or a person has removed
    /// the mark.
    Changed,
    /// No mark of it was ever seen. It may be that none could be written, so nothing can be said of
    /// a change.
    Unknown,
}

/// Watches the mark of the refusal that was met last.
#[derive(Debug, Default)]
pub struct Watch {
    seen: bool,
}

impl Watch {
    /// Looks for the mark: at once after a refusal, so that it is known to have been there, and
    /// then now and again.
    pub fn look(&mut self, provider: &Provider, directories: Directories) -> Look {
        match applies(provider, directories) {
            Some(refused) => {
                self.seen = true;
                Look::StillRefused(refused)
            }
            None if self.seen => {
                self.seen = false;
                Look::Changed
            }
            None => Look::Unknown,
        }
    }
}

fn applies_to(pin: &Pin, mark_path: PathBuf) -> Option<Refused> {
    let mark = match read(&mark_path) {
        Read::None => return None,
        Read::Unknown => {
            return Some(Refused { at: None, certain: true, mark: mark_path, pin_file: None });
        }
        Read::Mark(mark) => mark,
    };
    let of_this_pin = mark.is_of(pin);
    let seen = core::Mark { kind: mark.kind(), count: mark.refusals, of_this_pin };
    let stop = Memory { lasting: Some(seen), ..Memory::default() }.stop()?;
    let pin_file = match (mark.pin_file, pin) {
        (Some(_), Pin::File(path)) => Some(path.clone()),
        _ => None,
    };
    let certain = stop == Stop::Refused;
    Some(Refused { at: Some(mark.refused_at), certain, mark: mark_path, pin_file })
}

enum Read {
    None,
    Mark(Mark),
    /// There is something that can't be read.
    Unknown,
}

fn read(path: &Path) -> Read {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_or(Read::Unknown, Read::Mark),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Read::None
        }
        Err(_) => Read::Unknown,
    }
}

/// Whether a refusal could be remembered; a PIN that may cost the token a try each minute is better
/// not tried.
pub(super) fn check_guard(directories: Directories) -> Result<(), Failure> {
    let writable = |directory: &Path| access(directory, AccessFlags::W_OK);
    let Err(errno) = writable(directories.state).or_else(|_| writable(directories.runtime)) else {
        return Ok(());
    };
    Err(unguarded(directories, errno.desc()))
}

fn unguarded(directories: Directories, why: &str) -> Failure {
    let (state, runtime) = (directories.state.display(), directories.runtime.display());
    Failure::new(Cause::PinUnguarded, format!("neither in {state} nor in {runtime} ({why})"))
}

/// Remembers at once that the token refused the PIN. The mark is whole and on the disk when this
/// returns.
///
/// # Errors
/// In words, if it is remembered until the next boot at the most.
pub(super) fn remember(
    cause: Cause,
    source: Source,
    now: DateTime<Utc>,
    directories: Directories,
) -> Result<(), String> {
    // Whatever PIN it was: those that were refused in a row are counted, not those of one file.
    let memory = memory(&Pin::None, false, directories);
    let count = match memory.end(Answer::Refused) {
        Outcome::Refused { count } => count,
        Outcome::Accepted | Outcome::AsBefore => MOST,
    };
    put(Some(cause), source, count, now, directories)
}

/// What is remembered of a PIN. `accepted`: whether the token is known to have taken it.
fn memory(pin: &Pin, accepted: bool, directories: Directories) -> Memory {
    let [lasting, of_this_boot] = directories.marks().map(|path| match read(&path) {
        Read::None => None,
        Read::Mark(mark) => {
            let of_this_pin = mark.is_of(pin);
            Some(core::Mark { kind: mark.kind(), count: mark.refusals, of_this_pin })
        }
        Read::Unknown => Some(core::Mark { kind: Kind::Refused, count: MOST, of_this_pin: true }),
    });
    Memory { accepted, lasting, of_this_boot }
}

fn put(
    cause: Option<Cause>,
    source: Source,
    refusals: u32,
    now: DateTime<Utc>,
    directories: Directories,
) -> Result<(), String> {
    let [state, runtime] = directories.marks();
    let pin_file = match source {
        Source::Lasting(identity) if refusals < MOST => Some(identity),
        Source::Lasting(_) | Source::Settings | Source::Passing(_) => None,
    };
    let mark = Mark { refused_at: now, cause, refusals, pin_file, accepted: false };
    let Err(e) = write(&mark, &state) else { return Ok(()) };
    let what = format!("{} ({})", state.display(), io_words(&e));
    match write(&mark, &runtime) {
        Ok(()) => Err(format!("remembered until the next boot only, for want of {what}")),
        Err(_) => Err(format!(
            "not remembered, for want of {what}: restart edgerotate once the PIN is corrected"
        )),
    }
}

fn write(content: &impl Serialize, path: &Path) -> io::Result<()> {
    let mut text = serde_json::to_vec(content)?;
    text.push(b'\n');
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    atomic_file::replace_for_owner(path, &text, MARK_MODE)
}

/// A failure, and what became of its mark where that is not on the data partition.
pub(super) fn with_words(mut failure: Failure, put: Result<(), String>) -> Failure {
    if let Err(words) = put {
        failure.detail = format!("{}, {words}", failure.detail);
    }
    failure
}

/// Whether the token took a PIN from a file on this device, in this boot or another.
pub(crate) fn was_accepted(state_directory: &Path) -> bool {
    state_directory.join(own_files::PIN_ACCEPTED).exists()
}

/// Logins in a row that ended without an answer, for whoever looks on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unanswered {
    pub count: u32,
    /// The token had taken the PIN before.
    accepted: bool,
}

pub(crate) fn unanswered(directories: Directories) -> Unanswered {
    let count = |mark: PathBuf| match read(&mark) {
        Read::Mark(Mark { cause: None, refusals: count, accepted, .. }) => {
            Unanswered { count, accepted }
        }
        _ => Unanswered::default(),
    };
    directories.marks().into_iter().map(count).max().unwrap_or_default()
}

impl Unanswered {
    /// Whether the PIN is known to be good and the login ends without an answer all the same, as it
    /// did before.
    pub(crate) fn is_doubtful(self) -> bool {
        self.accepted && self.count >= MOST
    }

    /// What a fetch that ended in the middle of a login says of it.
    pub(crate) fn words(self) -> String {
        let Self { count, accepted } = self;
        if accepted {
            return format!(
                "; it ended during the login to the token, {count} in a row, with a PIN that the \
                 token \
                 took before"
            );
        }
        format!(
            "; it ended during the login to the token, which may have refused the PIN: possible \
             refusal {count} of {MOST} until the PIN is tried no more"
        )
    }
}

/// Takes the marks away: the token accepted a PIN, or a person says that it is right now.
///
/// # Errors
/// If there is one that stays.
pub fn forget(directories: Directories) -> io::Result<()> {
    for mark in directories.marks() {
        match fs::remove_file(mark) {
            Err(e)
                if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Err(e);
            }
            _ => {}
        }
    }
    Ok(())
}

impl Refused {
    /// What a fetch would answer, and what the daemon says without one.
    pub fn failure(&self) -> Failure {
        let at = match self.at {
            Some(at) => at.to_rfc3339_opts(SecondsFormat::Secs, true),
            None => "an unknown time".to_owned(),
        };
        let mark = self.mark.display();
        let until = match &self.pin_file {
            Some(path) => format!("until {} is changed or {mark} removed", path.display()),
            None => format!("until {mark} is removed"),
        };
        if self.certain {
            Failure::new(Cause::PinRefusedEarlier, format!("refused at {at}, and so {until}"))
        } else {
            Failure::new(Cause::PinUncertain, format!("last at {at}, and so {until}"))
        }
    }
}

impl Source {
    /// The file, if it is one.
    fn file(self) -> Option<Identity> {
        match self {
            Self::Lasting(identity) | Self::Passing(identity) => Some(identity),
            Self::Settings => None,
        }
    }

    pub(super) fn of(file: &File) -> io::Result<Self> {
        // On any other file system (tmpfs, overlay, systemd's credentials, FAT) a boot would look
        // like a changed PIN, and cost the token a try.
        let lasting = lasts_as_it_is(file).is_ok_and(|lasts| lasts == Lasts::Always);
        let identity = Identity::of(&file.metadata()?);
        Ok(if lasting { Self::Lasting(identity) } else { Self::Passing(identity) })
    }
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { inode: metadata.ino(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

fn forget_accepted(directories: Directories) {
    for path in directories.accepted() {
        let _ = fs::remove_file(path);
    }
}
