//! A login under way: the tentative mark before it, and what becomes of that after it.

use super::*;
use crate::core::pin_mark::{Flags, Place};

/// A login that begins; what comes of it has to be told.
pub(in crate::fetch) struct Attempt<'a> {
    accepted: Accepted,
    source: Source,
    /// What was remembered before it.
    memory: Memory,
    /// The marks' files as they were.
    before: [Option<Vec<u8>>; 2],
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

/// Begins a login: leaves a mark that counts until the answer is known. To be called right before
/// C_Login: nothing that goes before spends a try.
///
/// # Errors
/// If the PIN must be left alone, or no mark of it can be made.
pub(in crate::fetch) fn attempt<'a>(
    token: &Token,
    source: Source,
    reader: u32,
    flags: Flags,
    now: DateTime<Utc>,
    directories: Directories<'a>,
) -> Result<Attempt<'a>, Failure> {
    check_guard(directories)?;
    let (uri, module) = (token.uri.clone(), token.module.clone());
    let accepted = Accepted { pin: Known::of(source, reader), uri, module };
    let memory = memory(&token.pin, accepted.is_known(directories), directories);
    let before = directories.marks().map(|mark| fs::read(mark).ok());
    let attempt = Attempt { accepted, source, memory, before, directories };
    match memory.begin(flags) {
        Err(Stop::Uncertain) => Err(attempt.left_alone(&token.pin, now)),
        // Whoever asks for a login has looked for its mark before.
        Err(Stop::Refused) => Err(refused(&token.pin, directories).map_or_else(
            || unguarded(directories, "its mark comes and goes"),
            |refused| refused.failure(),
        )),
        Ok(begun) if begun.place == Place::ThisBoot => {
            let mark = Mark {
                refused_at: now,
                cause: None,
                refusals: begun.mark.count,
                pin_file: source.file(),
                accepted: true,
            };
            // Where it can't be made, this login is not counted. The PIN is known to be good.
            let _ = write(&mark, &directories.marks()[1]);
            Ok(attempt)
        }
        Ok(begun) => {
            // In the runtime directory it is as good: what may have been a refusal is behind a boot
            // then.
            let is_tentative =
                |path: &PathBuf| matches!(read(path), Read::Mark(mark) if mark.cause.is_none());
            if put(None, source, begun.mark.count, now, directories).is_err()
                && !is_tentative(&directories.marks()[1])
            {
                return Err(unguarded(directories, "no mark can be written; is there room?"));
            }
            Ok(attempt)
        }
    }
}

impl Accepted {
    fn is_known(&self, directories: Directories) -> bool {
        let known = |path: PathBuf| {
            let text = fs::read(path).ok()?;
            serde_json::from_slice::<Self>(&text).ok()
        };
        self.pin != Known::Never
            && directories.accepted().into_iter().filter_map(known).any(|known| known == *self)
    }
}

impl Attempt<'_> {
    /// The token's flags speak against a PIN that it took before, after logins without an answer.
    /// From now on the PIN is one that may be wrong, also for those who do not ask the token.
    fn left_alone(self, pin: &Pin, now: DateTime<Utc>) -> Failure {
        let count = self.memory.unanswered().max(MOST);
        forget_accepted(self.directories);
        let _ = forget(self.directories);
        let put = put(None, self.source, count, now, self.directories);
        let failure = match refused(pin, self.directories) {
            Some(refused) => refused.failure(),
            None => unguarded(self.directories, "no mark can be written; is there room?"),
        };
        with_words(failure, put)
    }

    /// The token took the PIN.
    pub(in crate::fetch) fn accepted(self) {
        // Whatever can't be written or removed costs another tentative mark, or is in the way after
        // the next refusal.
        let _ = forget(self.directories);
        if !self.memory.accepted && self.accepted.pin != Known::Never {
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
    pub(in crate::fetch) fn refused(self, cause: Cause, now: DateTime<Utc>) -> Result<(), String> {
        let refusals = match self.memory.end(Answer::Refused) {
            Outcome::Refused { count } => count,
            Outcome::Accepted | Outcome::AsBefore => MOST,
        };
        forget_accepted(self.directories);
        let _ = fs::remove_file(&self.directories.marks()[1]);
        put(Some(cause), self.source, refusals, now, self.directories)
    }

    /// It failed, but not by the PIN: all is as it was before.
    pub(in crate::fetch) fn failed_otherwise(self) {
        for (mark, before) in self.directories.marks().into_iter().zip(self.before) {
            // A tentative mark that stays counts as a refusal, which is on the safe side.
            let _ = match before {
                Some(text) if fs::read(&mark).is_ok_and(|now| now == text) => Ok(()),
                Some(text) => atomic_file::replace_for_owner(&mark, &text, MARK_MODE),
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
