//! A login under way: the tentative mark before it, and what becomes of that after it.

use super::*;

/// A login that begins; what comes of it has to be told.
pub(in crate::fetch) struct Attempt<'a> {
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
pub(in crate::fetch) fn attempt<'a>(
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
    pub(in crate::fetch) fn accepted(self) {
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
    pub(in crate::fetch) fn refused(self, cause: Cause, now: DateTime<Utc>) -> Result<(), String> {
        let refusals = self.earlier.saturating_add(1);
        forget_accepted(self.directories);
        put(Some(cause), self.source, refusals, now, self.directories)
    }

    /// It failed, but not by the PIN: all is as it was before.
    pub(in crate::fetch) fn failed_otherwise(self) {
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
