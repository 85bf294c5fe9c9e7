//! What one daemon leaves to the next of the same boot: the credentials it holds and whether
//! Litestream has them.
//!
//! It is a file on tmpfs with mode 0600. The expiry stands on CLOCK_BOOTTIME, which means nothing
//! after a reboot; so the boot id is with it, and a file of another boot is no state.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    core::{
        boottime::Boottime,
        credentials::Credentials,
        own_files,
        rotation::{Held, Resumed},
    },
    system::atomic_file,
};

/// Only its owner: it holds the credentials.
const MODE: u32 = 0o600;

/// The group that the image gave their directory.
const CLIENTS_MODE: u32 = 0o640;

/// The form of the file; a daemon of another version that wrote another form left no state.
const VERSION: u32 = 1;

/// No credentials of a role live longer than 12 hours: what says more was not written by this
/// program.
const LONGEST_LIFE: Duration = Duration::from_secs(12 * 3600);

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    boot_id: String,
    pub credentials: Credentials,
    #[serde(rename = "expires_boottime_ms")]
    expires: Boottime,
    lifetime_ms: u64,
    /// Litestream was seen to start with these credentials.
    handed_over: bool,
}

impl State {
    pub fn new(boot_id: String, credentials: Credentials, resumable: Resumed) -> Self {
        Self {
            version: VERSION,
            boot_id,
            credentials,
            expires: resumable.held.expires,
            lifetime_ms: u64::try_from(resumable.held.lifetime.as_millis()).unwrap_or(u64::MAX),
            handed_over: resumable.handed_over,
        }
    }

    /// Whether it was written in this boot, by a program of this version.
    pub fn is_of(&self, boot_id: &str) -> bool {
        self.version == VERSION
            && self.boot_id == boot_id
            && Duration::from_millis(self.lifetime_ms) <= LONGEST_LIFE
    }

    /// What the state machine is told of it.
    pub fn resumed(&self) -> Resumed {
        let held =
            Held { expires: self.expires, lifetime: Duration::from_millis(self.lifetime_ms) };
        Resumed { held, handed_over: self.handed_over }
    }
}

/// The state file of a runtime directory, or the copy of it for other users' programs.
#[derive(Clone, Debug)]
pub struct StateFile {
    pub path: PathBuf,
    mode: u32,
}

impl StateFile {
    pub fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join(own_files::STATE), mode: MODE }
    }

    /// Where other users' programs find the daemon's credentials, by `credential-process`.
    pub fn for_clients(directory: &Path) -> Self {
        Self { path: directory.join(own_files::CLIENT_CREDENTIALS), mode: CLIENTS_MODE }
    }

    /// The state that an earlier daemon of the boot `boot_id` left, if it left any.
    ///
    /// # Errors
    /// What is wrong with the file, in words; the daemon then starts as after a boot.
    pub fn load(&self, boot_id: &str) -> Result<Option<State>, String> {
        let text = match fs::read(&self.path) {
            Ok(text) => Zeroizing::new(text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(format!("{}: {e}", self.path.display())),
        };
        // An error of serde_json quotes what it found, which may be a secret: only its place is
        // told.
        let state: State = serde_json::from_slice(&text).map_err(|e| {
            let (line, column) = (e.line(), e.column());
            format!("{}:{line}:{column}: not a state of this version", self.path.display())
        })?;
        Ok(Some(state).filter(|state| state.is_of(boot_id)))
    }

    /// Keeps the state; whole at every moment.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn save(&self, state: &State) -> io::Result<()> {
        // Allocated once: a buffer that grows leaves copies of the secrets behind.
        let size = 1024 + state.credentials.session_token.expose().len();
        let mut text = Zeroizing::new(Vec::with_capacity(size));
        serde_json::to_writer(&mut *text, state)?;
        atomic_file::replace(&self.path, &text, self.mode)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::core::secret::Secret;

    fn state() -> State {
        let credentials = Credentials {
            access_key_id: "ASIAEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalr".to_owned()),
            session_token: Secret::new("AgoGb3".to_owned()),
            expiration: DateTime::UNIX_EPOCH,
        };
        let held =
            Held { expires: Boottime::from_millis(900_000), lifetime: Duration::from_secs(900) };
        State::new("this-boot".to_owned(), credentials, Resumed { held, handed_over: true })
    }

    fn file(name: &str) -> (PathBuf, StateFile) {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        (directory.clone(), StateFile::in_directory(&directory))
    }

    #[test]
    fn is_taken_up_in_the_same_boot_only() {
        let (directory, file) = file("state-boot");
        assert_eq!(file.load("this-boot"), Ok(None));
        file.save(&state()).unwrap();
        assert_eq!(file.load("this-boot"), Ok(Some(state())));
        assert_eq!(file.load("another-boot"), Ok(None));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_broken_file_is_said_without_its_contents() {
        let (directory, file) = file("state-broken");
        fs::write(directory.join("state.json"), r#"{"version":1,"credentials":"wJalr"}"#).unwrap();
        let error = file.load("this-boot").unwrap_err();
        assert!(error.ends_with("not a state of this version"), "{error}");
        assert!(!error.contains("wJalr"), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }
}
