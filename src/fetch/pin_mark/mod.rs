//! The mark of a refused PIN: what keeps a fleet from locking its own tokens.
//!
//! A token locks after a few wrong PINs in a row, often three, often for good. So a PIN that was refused is not tried
//! again, across retries, restarts and boots, until the PIN file was changed; and once two were refused in a row, not
//! until a person has removed the mark, as something may be rewriting the file. The mark knows the file by its inode
//! and time of change: nothing in it tells anything about the PIN. Where these say nothing (a PIN in the settings, a
//! file that is new at each start), it stays until it is removed.
//!
//! A module that crashes or hangs after the token refused the PIN leaves nobody to make the mark. So it is made before
//! the login, as a tentative one, and taken back once the answer is known; one that is found later may have been a
//! refusal, and counts as one: two of them in a row, and a person has to look. That would be hard on good devices whose
//! bus hangs now and then, so a PIN that was accepted is remembered as well, by the same signs as a refused one, and
//! tried without ado. It also spares the flash: nothing is written at a fetch like the one before.
//!
//! Wherever it is unsure, a mark counts: one that is there for nothing costs a person one `rm`, and the message says
//! which.

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
use nix::{
    sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, JFFS2_SUPER_MAGIC,
        XFS_SUPER_MAGIC, fstatfs,
    },
    unistd::{AccessFlags, access},
};
use serde::{Deserialize, Serialize};

use crate::{
    fetch::material::io_words,
    problems::failure::{Cause, Failure},
    settings::{Config, Pin, PrivateKey, Provider, Token},
    system::{atomic_file, clock},
};

pub(crate) const FILE_NAME: &str = "pin-refused";
pub(crate) const ACCEPTED_NAME: &str = "pin-accepted";

/// Readable to all, so that the daemon sees the mark that root's fetch by hand has left in its directory.
const MARK_MODE: u32 = 0o644;

/// After so many in a row a changed file is no longer reason enough for the next try.
const MOST_REFUSALS: u32 = 2;

/// File systems whose inodes and times stay the same across boots as long as the file does. On any other (tmpfs,
/// overlay, systemd's credentials, FAT) a boot would look like a changed PIN, and cost the token a try.
const LASTING: &[FsType] = &[
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    UBIFS,
    JFFS2_SUPER_MAGIC,
];

/// UBIFS_SUPER_MAGIC of linux/magic.h, which libc leaves out.
const UBIFS: FsType = FsType(0x2405_1905);

/// Where a PIN came from, as far as it can be told again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Settings,
    /// A file whose change can be seen.
    Lasting(Identity),
    /// A file that is new at each start, and lasts as long as the boot at the most.
    Passing(Identity),
}

/// A state of a file. The device's number is no part of it, as a partition can get another one at a boot, nor is the
/// time of the last chmod or chown, which scripts like to do at each boot.
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
        [self.state, self.runtime].map(|directory| directory.join(FILE_NAME))
    }

    fn accepted(&self) -> [PathBuf; 2] {
        [self.state, self.runtime].map(|directory| directory.join(ACCEPTED_NAME))
    }
}

/// Whether the settings' PIN was refused earlier and must not be tried. Looks at three files and no token: cheap enough
/// to ask before each fetch.
pub fn applies(provider: &Provider, directories: Directories) -> Option<Refused> {
    match &provider.key {
        PrivateKey::Token(token) => refused(&token.pin, directories),
        PrivateKey::File(_) => None,
    }
}

/// As [`applies`], for one PIN. Settings without a PIN are no exception: a token can be locked, or OpenSSL's own
/// configuration can hold one.
pub(super) fn refused(pin: &Pin, directories: Directories) -> Option<Refused> {
    directories.marks().into_iter().find_map(|mark| applies_to(pin, mark))
}

/// What has become of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    StillRefused(Refused),
    /// Its mark was there, and no longer applies: the PIN file was changed, or a person has removed the mark.
    Changed,
    /// No mark of it was ever seen. It may be that none could be written, so nothing can be said of a change.
    Unknown,
}

/// Watches the mark of the refusal that was met last.
#[derive(Debug, Default)]
pub struct Watch {
    seen: bool,
}

impl Watch {
    /// Looks for the mark: at once after a refusal, so that it is known to have been there, and then now and again.
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
    let certain = mark.cause.is_some();
    if !certain && mark.refusals < MOST_REFUSALS {
        return None;
    }
    let pin_file = match (mark.pin_file, pin) {
        (Some(refused), Pin::File(path)) => match fs::metadata(path) {
            Ok(now) if Identity::of(&now) == refused => Some(path.clone()),
            // Changed; or away, perhaps with its partition, and the fetch will say so. The mark stays until a PIN was
            // accepted.
            _ => return None,
        },
        _ => None,
    };
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

/// Whether a refusal could be remembered; a PIN that may cost the token a try each minute is better not tried.
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

/// Remembers at once that the token refused the PIN. The mark is whole and on the disk when this returns.
///
/// # Errors
/// In words, if it is remembered until the next boot at the most.
pub(super) fn remember(
    cause: Cause,
    source: Source,
    now: DateTime<Utc>,
    directories: Directories,
) -> Result<(), String> {
    put(Some(cause), source, earlier(directories).saturating_add(1), now, directories)
}

/// How often a PIN was refused in a row, or may have been.
fn earlier(directories: Directories) -> u32 {
    let counts = directories.marks().map(|mark| match read(&mark) {
        Read::None => 0,
        Read::Mark(mark) => mark.refusals,
        Read::Unknown => MOST_REFUSALS,
    });
    counts.into_iter().max().unwrap_or_default()
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
        Source::Lasting(identity) if refusals < MOST_REFUSALS => Some(identity),
        Source::Lasting(_) | Source::Settings | Source::Passing(_) => None,
    };
    let mark = Mark { refused_at: now, cause, refusals, pin_file };
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
    atomic_file::replace(path, &text, MARK_MODE)
}

/// Whether the token took a PIN from a file on this device, in this boot or another.
pub(crate) fn was_accepted(state_directory: &Path) -> bool {
    state_directory.join(ACCEPTED_NAME).exists()
}

/// How many logins ended without an answer, for whoever looks on.
pub(crate) fn unanswered(directories: Directories) -> u32 {
    let count = |mark: PathBuf| match read(&mark) {
        Read::Mark(Mark { cause: None, refusals, .. }) => refusals,
        _ => 0,
    };
    directories.marks().into_iter().map(count).max().unwrap_or_default()
}

/// What a fetch that ended in the middle of a login says of it.
pub(crate) fn possible_refusal(count: u32) -> String {
    format!(
        "; it ended during the login to the token, which may have refused the PIN: possible refusal {count} of {MOST_REFUSALS} \
         until the PIN is tried no more"
    )
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
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let lasting = fstatfs(file).is_ok_and(|fs| LASTING.contains(&fs.filesystem_type()));
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
