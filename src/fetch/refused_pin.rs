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

use super::material::io_words;
use crate::{
    atomic_file, clock,
    config::{Pin, PrivateKey, Provider, Token},
    failure::{Cause, Failure},
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

impl Directories<'_> {
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

/// A login that begins; what comes of it has to be told.
pub(super) struct Attempt<'a> {
    accepted: Accepted,
    source: Source,
    /// Refusals before this one.
    earlier: u32,
    /// What the marks were; none if this PIN was accepted already, and nothing was written.
    before: Option<[Option<Vec<u8>>; 2]>,
    directories: Directories<'a>,
}

/// A PIN that the token took, and where.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Accepted {
    pin: Known,
    uri: String,
    module: PathBuf,
}

/// How an accepted PIN is known again, with nothing in it that tells anything about it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Known {
    File(Identity),
    FileOfBoot {
        boot: String,
        file: Identity,
    },
    /// The settings stay the same as long as the process that read them.
    SettingsOf {
        boot: String,
        process: u32,
        started: String,
    },
    /// Not at all.
    Never,
}

/// Begins a login: leaves a tentative mark, unless this PIN was accepted earlier.
pub(super) fn attempt<'a>(
    token: &Token,
    source: Source,
    reader: u32,
    now: DateTime<Utc>,
    directories: Directories<'a>,
) -> Result<Attempt<'a>, Failure> {
    let (uri, module) = (token.uri.clone(), token.module.clone());
    let accepted = Accepted { pin: Known::of(source, reader), uri, module };
    let mut attempt = Attempt { accepted, source, earlier: 0, before: None, directories };
    check_guard(directories)?;
    if attempt.is_known() {
        return Ok(attempt);
    }
    attempt.earlier = earlier(directories);
    attempt.before = Some(directories.marks().map(|mark| fs::read(mark).ok()));
    let refusals = attempt.earlier.saturating_add(1);
    if put(None, source, refusals, now, directories).is_err() {
        // In the runtime directory it is as good: what may have been a refusal is behind a boot then.
        if !matches!(read(&directories.marks()[1]), Read::Mark(Mark { cause: None, .. })) {
            return Err(unguarded(directories, "no mark can be written; is there room?"));
        }
    }
    Ok(attempt)
}

impl Attempt<'_> {
    fn is_known(&self) -> bool {
        let known = |path: PathBuf| {
            let text = fs::read(path).ok()?;
            serde_json::from_slice::<Accepted>(&text).ok()
        };
        self.accepted.pin != Known::Never
            && self.directories.accepted().into_iter().filter_map(known).any(|a| a == self.accepted)
    }

    /// The token took the PIN.
    pub(super) fn accepted(self) {
        // Whatever can't be written or removed costs another tentative mark, or is in the way after the next refusal.
        let known = self.is_known();
        let _ = forget(self.directories);
        if !known && self.accepted.pin != Known::Never {
            let [state, runtime] = self.directories.accepted();
            match self.accepted.pin {
                Known::File(_) => {
                    let _ =
                        write(&self.accepted, &state).or_else(|_| write(&self.accepted, &runtime));
                }
                _ => {
                    let _ = write(&self.accepted, &runtime);
                }
            }
        }
    }

    /// The token refused the PIN.
    pub(super) fn refused(self, cause: Cause, now: DateTime<Utc>) -> Result<(), String> {
        let refusals = self.earlier.saturating_add(1);
        forget_accepted(self.directories);
        put(Some(cause), self.source, refusals, now, self.directories)
    }

    /// It failed, but not by the PIN: all is as it was before.
    pub(super) fn failed_otherwise(self) {
        let Some(before) = self.before else { return };
        for (mark, before) in self.directories.marks().into_iter().zip(before) {
            // A tentative mark that stays counts as a refusal, which is on the safe side.
            let _ = match before {
                Some(text) if fs::read(&mark).is_ok_and(|now| now == text) => Ok(()),
                Some(text) => atomic_file::replace(&mark, &text, MARK_MODE),
                None => fs::remove_file(&mark),
            };
        }
    }
}

impl Known {
    fn of(source: Source, reader: u32) -> Self {
        let boot = || clock::boot_id().ok();
        let known = match source {
            Source::Lasting(identity) => Some(Self::File(identity)),
            Source::Passing(file) => boot().map(|boot| Self::FileOfBoot { boot, file }),
            Source::Settings => boot()
                .zip(start_of(reader))
                .map(|(boot, started)| Self::SettingsOf { boot, process: reader, started }),
        };
        known.unwrap_or(Self::Never)
    }
}

/// When a process started: with its id it names one process of a boot.
fn start_of(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything, so count from the last bracket.
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
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

fn forget_accepted(directories: Directories) {
    for path in directories.accepted() {
        let _ = fs::remove_file(path);
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

    impl Directory {
        fn directories(&self) -> Directories<'_> {
            Directories { state: &self.0, runtime: &self.0 }
        }
    }

    fn lasting(path: &Path) -> Source {
        Source::Lasting(Identity::of(&fs::metadata(path).unwrap()))
    }

    /// Another time of change, however coarse the file system's clock is.
    fn rewrite(path: &Path, pin: &str, seconds: u64) {
        fs::write(path, pin).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn applies_until_the_file_changes_and_twice_until_a_person_comes() {
        let directory = Directory::new("changes");
        let path = directory.0.join("pin");
        rewrite(&path, "648219", 1);
        let pin = Pin::File(path.clone());
        let (state, runtime) = (directory.0.join("state"), directory.0.join("run"));
        let marks = Directories { state: &state, runtime: &runtime };
        assert!(refused(&pin, marks).is_none());

        remember(Cause::PinIncorrect, lasting(&path), DateTime::UNIX_EPOCH, marks).unwrap();
        let mark = fs::read_to_string(state.join(FILE_NAME)).unwrap();
        assert!(!mark.contains("648219") && mark.contains("pin-incorrect"), "{mark}");
        let failure = refused(&pin, marks).unwrap().failure();
        assert_eq!(failure.cause, Cause::PinRefusedEarlier);
        assert!(failure.detail.contains("1970-01-01T00:00:00Z"), "{failure}");
        // A script that sets the mode at each boot changes no PIN.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
        assert!(refused(&pin, marks).is_some());
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

        // The same length, the same inode, another time.
        rewrite(&path, "648220", 2);
        assert!(refused(&pin, marks).is_none());
        remember(Cause::PinIncorrect, lasting(&path), DateTime::UNIX_EPOCH, marks).unwrap();
        rewrite(&path, "648221", 3);
        let failure = refused(&pin, marks).unwrap().failure();
        assert!(failure.detail.ends_with("state/pin-refused is removed"), "{failure}");

        forget(marks).unwrap();
        assert!(refused(&pin, marks).is_none());
        forget(marks).unwrap();
    }

    #[test]
    fn stays_where_a_change_cannot_be_seen() {
        let directory = Directory::new("stays");
        let path = directory.0.join("pin");
        rewrite(&path, "648219", 1);
        let passing = Source::Passing(Identity::of(&fs::metadata(&path).unwrap()));
        for (pin, source) in [
            (Pin::Value(Secret::new("648219".to_owned())), Source::Settings),
            (Pin::File(path.clone()), passing),
        ] {
            let marks = directory.directories();
            remember(Cause::PinIncorrect, source, DateTime::UNIX_EPOCH, marks).unwrap();
            rewrite(&path, "648220", 2);
            assert!(refused(&pin, marks).is_some());
            forget(marks).unwrap();
            assert!(refused(&pin, marks).is_none());
        }
    }

    #[test]
    fn a_change_is_believed_only_where_the_mark_was_seen() {
        let directory = Directory::new("watch");
        let file = directory.0.join("file");
        fs::write(&file, "").unwrap();
        let provider = provider(Pin::Value(Secret::new("648219".to_owned())));
        let remember =
            |marks| remember(Cause::PinIncorrect, Source::Settings, DateTime::UNIX_EPOCH, marks);

        let none = Directories { state: &file, runtime: &file };
        let mut watch = Watch::default();
        assert!(remember(none).unwrap_err().contains("restart edgerotate"));
        assert_eq!(watch.look(&provider, none), Look::Unknown);
        assert_eq!(watch.look(&provider, none), Look::Unknown, "however often");

        let marks = directory.directories();
        remember(marks).unwrap();
        assert!(matches!(watch.look(&provider, marks), Look::StillRefused(_)));
        forget(marks).unwrap();
        assert_eq!(watch.look(&provider, marks), Look::Changed);
        assert_eq!(watch.look(&provider, marks), Look::Unknown, "that was said");
    }

    fn provider(pin: Pin) -> Provider {
        let second = std::time::Duration::from_secs(1);
        Provider {
            host: String::new(),
            port: 443,
            role_alias: String::new(),
            thing_name: None,
            certificate: PathBuf::new(),
            key: PrivateKey::Token(crate::config::Token {
                uri: "pkcs11:token=t;object=k".to_owned(),
                module: PathBuf::new(),
                pin,
                route: crate::config::Route::Engine,
                module_environment: Vec::new(),
            }),
            ca_file: None,
            connect_timeout: second,
            fetch_timeout: second,
            fetch_deadline: second,
            lead: second,
        }
    }

    #[test]
    fn a_mark_that_cannot_be_read_counts() {
        let directory = Directory::new("broken");
        fs::write(directory.0.join(FILE_NAME), "{").unwrap();
        let pin = Pin::Value(Secret::new("648219".to_owned()));
        let failure = refused(&pin, directory.directories()).unwrap().failure();
        assert!(failure.detail.contains("refused at an unknown time"), "{failure}");
    }

    #[test]
    fn without_a_data_partition_it_lasts_until_the_boot() {
        let directory = Directory::new("fallback");
        let file = directory.0.join("file");
        fs::write(&file, "").unwrap();
        let pin = Pin::Value(Secret::new("648219".to_owned()));
        let marks = Directories { state: &file, runtime: &directory.0 };
        let words = remember(Cause::PinIncorrect, Source::Settings, DateTime::UNIX_EPOCH, marks)
            .unwrap_err();
        assert!(words.starts_with("remembered until the next boot only"), "{words}");
        assert!(refused(&pin, marks).is_some());

        let marks = Directories { state: &file, runtime: &file };
        let words = remember(Cause::PinIncorrect, Source::Settings, DateTime::UNIX_EPOCH, marks)
            .unwrap_err();
        assert!(words.starts_with("not remembered"), "{words}");
    }

    #[test]
    fn a_login_without_an_answer_counts_and_one_with_an_answer_leaves_nothing() {
        let directory = Directory::new("attempts");
        let path = directory.0.join("pin");
        rewrite(&path, "648219", 1);
        let pin = Pin::File(path.clone());
        let (state, runtime) = (directory.0.join("state"), directory.0.join("run"));
        let marks = Directories { state: &state, runtime: &runtime };
        for directory in [&state, &runtime] {
            fs::create_dir(directory).unwrap();
        }
        let PrivateKey::Token(token) = provider(pin.clone()).key else { panic!("a file") };
        let begin =
            |source| attempt(&token, source, std::process::id(), DateTime::UNIX_EPOCH, marks);
        let files = || [&state, &runtime].map(|d| fs::read_dir(d).map_or(0, Iterator::count));

        // Neither way of a known end leaves anything of the mark.
        begin(lasting(&path)).unwrap().failed_otherwise();
        assert_eq!(files(), [0, 0]);
        begin(lasting(&path)).unwrap().accepted();
        assert!(!state.join(FILE_NAME).exists() && state.join(ACCEPTED_NAME).exists());

        // Once accepted it may hang as often as it likes, and nothing is written.
        let before = fs::metadata(state.join(ACCEPTED_NAME)).unwrap();
        for _ in 0..5 {
            drop(begin(lasting(&path)).unwrap());
            begin(lasting(&path)).unwrap().accepted();
        }
        assert!(refused(&pin, marks).is_none());
        let after = fs::metadata(state.join(ACCEPTED_NAME)).unwrap();
        assert_eq!(Identity::of(&before), Identity::of(&after));

        // Another PIN has to prove itself; so has this one once it was refused.
        rewrite(&path, "648220", 2);
        for count in 1..=2 {
            assert!(refused(&pin, marks).is_none());
            drop(begin(lasting(&path)).unwrap());
            assert_eq!(unanswered(marks), count);
        }
        let failure = refused(&pin, marks).unwrap().failure();
        assert_eq!(failure.cause, Cause::PinUncertain);
        assert!(failure.detail.ends_with("state/pin-refused is removed"), "{failure}");
        forget(marks).unwrap();
        begin(lasting(&path)).unwrap().accepted();
        begin(lasting(&path)).unwrap().refused(Cause::PinIncorrect, DateTime::UNIX_EPOCH).unwrap();
        assert!(!state.join(ACCEPTED_NAME).exists());

        // A failure of another kind gives back the mark that was there.
        let mark = fs::read(state.join(FILE_NAME)).unwrap();
        begin(lasting(&path)).unwrap().failed_otherwise();
        assert_eq!(fs::read(state.join(FILE_NAME)).unwrap(), mark);
        forget(marks).unwrap();

        // What can't be known again after a boot is known until then, and not on flash.
        for source in [Source::Settings, Source::Passing(Identity { inode: 1, modified: (2, 3) })] {
            forget_accepted(marks);
            begin(source).unwrap().accepted();
            assert!(!state.join(ACCEPTED_NAME).exists());
            drop(begin(source).unwrap());
            assert_eq!(unanswered(marks), 0);
        }
        // Another daemon has other settings.
        forget_accepted(marks);
        begin(Source::Settings).unwrap().accepted();
        drop(attempt(&token, Source::Settings, 1, DateTime::UNIX_EPOCH, marks).unwrap());
        assert_eq!(unanswered(marks), 1);

        let none = Directories { state: &path, runtime: &path };
        let failure = attempt(&token, Source::Settings, 1, DateTime::UNIX_EPOCH, none).err();
        assert_eq!(failure.unwrap().cause, Cause::PinUnguarded);
    }
}
