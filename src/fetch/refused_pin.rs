//! The mark of a refused PIN: what keeps a fleet from locking its own tokens.
//!
//! A token locks after a few wrong PINs, often for good. So a PIN that was refused once is not tried again, across
//! retries, restarts and boots, until the PIN file was changed. The mark says which file was refused by its inode
//! and times: nothing in it tells anything about the PIN. Where these say nothing (a PIN in the settings, a file that
//! gets a new inode at each start), the mark stays until a person removes it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, SecondsFormat, Utc};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, JFFS2_SUPER_MAGIC,
    XFS_SUPER_MAGIC, fstatfs,
};
use serde::{Deserialize, Serialize};

use super::{material::io_words, text::printable};
use crate::{
    config::{Pin, PrivateKey, Provider},
    failure::{Cause, Failure},
};

const FILE_NAME: &str = "pin-refused";

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
    /// A file that is new at each start.
    Passing,
}

/// A state of a file. The device number is left out: a data partition can get another one at the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Serialize, Deserialize)]
struct Mark {
    refused_at: DateTime<Utc>,
    cause: Cause,
    /// None: stays until it is removed.
    pin_file: Option<Identity>,
}

/// A PIN that must not be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// None if the mark can't be read: it counts all the same.
    at: Option<DateTime<Utc>>,
    mark: PathBuf,
    pin_file: Option<PathBuf>,
}

enum Standing {
    Unmarked,
    /// The PIN file has changed since.
    Outdated,
    Applies(Refused),
}

/// Whether the settings' PIN was refused earlier and must not be tried. Looks at two files and no token: cheap enough
/// to ask before each fetch.
pub fn applies(provider: &Provider, state_directory: &Path) -> Option<Refused> {
    let PrivateKey::Token(token) = &provider.key else {
        return None;
    };
    match standing(&token.pin, state_directory) {
        Standing::Applies(refused) => Some(refused),
        Standing::Unmarked | Standing::Outdated => None,
    }
}

/// The child's question: as [`applies`], and a mark that no longer applies is removed.
pub(super) fn check(pin: &Pin, state_directory: &Path) -> Result<(), Failure> {
    match standing(pin, state_directory) {
        Standing::Unmarked => Ok(()),
        Standing::Outdated => {
            // If it can't be removed it is outdated next time as well.
            let _ = fs::remove_file(state_directory.join(FILE_NAME));
            Ok(())
        }
        Standing::Applies(refused) => Err(refused.failure()),
    }
}

fn standing(pin: &Pin, state_directory: &Path) -> Standing {
    let pin_file = match pin {
        Pin::None => return Standing::Unmarked,
        Pin::File(path) => Some(path),
        Pin::Value(_) => None,
    };
    let mark_path = state_directory.join(FILE_NAME);
    let applies = |at| {
        Standing::Applies(Refused { at, mark: mark_path.clone(), pin_file: pin_file.cloned() })
    };
    let text = match fs::read(&mark_path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Standing::Unmarked;
        }
        Err(_) => return applies(None),
    };
    let Ok(mark) = serde_json::from_slice::<Mark>(&text) else {
        return applies(None);
    };
    match (mark.pin_file, pin_file) {
        (Some(refused), Some(path)) => match fs::metadata(path) {
            Ok(now) if Identity::of(&now) != refused => Standing::Outdated,
            Ok(_) => applies(Some(mark.refused_at)),
            // The file is away, perhaps with its partition: the mark stays, and the fetch will say what is wrong.
            Err(_) => Standing::Unmarked,
        },
        _ => applies(Some(mark.refused_at)),
    }
}

/// Remembers at once that the token refused the PIN. The mark is whole and on the disk when this returns.
pub(super) fn remember(
    cause: Cause,
    source: Source,
    now: DateTime<Utc>,
    state_directory: &Path,
) -> io::Result<()> {
    let pin_file = match source {
        Source::Lasting(identity) => Some(identity),
        Source::Settings | Source::Passing => None,
    };
    let mut text = serde_json::to_vec(&Mark { refused_at: now, cause, pin_file })?;
    text.push(b'\n');
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_directory)?;
    let new = state_directory.join(format!("{FILE_NAME}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, state_directory.join(FILE_NAME))?;
    File::open(state_directory)?.sync_all()
}

impl Refused {
    /// What a fetch would answer, and what the daemon says without one.
    pub fn failure(&self) -> Failure {
        let at = match self.at {
            Some(at) => at.to_rfc3339_opts(SecondsFormat::Secs, true),
            None => "unknown".to_owned(),
        };
        let pin = match &self.pin_file {
            Some(path) => format!("PIN file {}", path.display()),
            None => "PIN in the settings".to_owned(),
        };
        Failure::new(
            Cause::PinRefusedEarlier,
            format!("{pin}, refused at {at}, mark {}", self.mark.display()),
        )
    }
}

/// For the detail of a refusal that could not be remembered: the next start will try the PIN again.
pub(super) fn not_remembered(state_directory: &Path, error: &io::Error) -> String {
    printable(
        &format!(
            "and this could not be remembered in {} ({})",
            state_directory.display(),
            io_words(error)
        ),
        300,
    )
}

impl Source {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let lasting = fstatfs(file).is_ok_and(|fs| LASTING.contains(&fs.filesystem_type()));
        Ok(if lasting { Self::Lasting(Identity::of(&file.metadata()?)) } else { Self::Passing })
    }
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir()
                .join(format!("edgerotate-refused-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn lasting(path: &Path) -> Source {
        Source::Lasting(Identity::of(&fs::metadata(path).unwrap()))
    }

    #[test]
    fn applies_until_the_file_changes() {
        let directory = Directory::new("changes");
        let path = directory.0.join("pin");
        fs::write(&path, "648219").unwrap();
        let pin = Pin::File(path.clone());
        let state = directory.0.join("state");
        assert!(check(&pin, &state).is_ok());

        remember(Cause::PinIncorrect, lasting(&path), DateTime::UNIX_EPOCH, &state).unwrap();
        let mark = fs::read_to_string(state.join(FILE_NAME)).unwrap();
        assert!(!mark.contains("648219") && mark.contains("pin-incorrect"), "{mark}");
        let failure = check(&pin, &state).unwrap_err();
        assert_eq!(failure.cause, Cause::PinRefusedEarlier);
        assert!(failure.detail.contains("1970-01-01T00:00:00Z"), "{failure}");
        assert!(check(&pin, &state).is_err(), "asking changes nothing");

        // The same length, the same inode, another time.
        fs::write(&path, "648220").unwrap();
        assert!(check(&pin, &state).is_ok());
        assert!(!state.join(FILE_NAME).exists());
    }

    #[test]
    fn stays_where_a_change_cannot_be_seen() {
        let directory = Directory::new("stays");
        let path = directory.0.join("pin");
        fs::write(&path, "648219").unwrap();
        for (pin, source) in [
            (Pin::Value(Secret::new("648219".to_owned())), Source::Settings),
            (Pin::File(path.clone()), Source::Passing),
        ] {
            remember(Cause::PinIncorrect, source, DateTime::UNIX_EPOCH, &directory.0).unwrap();
            fs::write(&path, "648220").unwrap();
            assert!(check(&pin, &directory.0).is_err());
            fs::remove_file(directory.0.join(FILE_NAME)).unwrap();
            assert!(check(&pin, &directory.0).is_ok());
        }
    }

    #[test]
    fn a_mark_that_cannot_be_read_counts() {
        let directory = Directory::new("broken");
        fs::write(directory.0.join(FILE_NAME), "{").unwrap();
        let pin = Pin::Value(Secret::new("648219".to_owned()));
        assert!(check(&pin, &directory.0).unwrap_err().detail.contains("refused at unknown"));
    }
}
