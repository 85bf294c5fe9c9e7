//! What the provider gave, kept for the next `credential-process` of this user: on tmpfs, for its
//! owner alone.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::geteuid,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    core::own_files,
    outlets::state_file::State,
    settings::{Config, PrivateKey},
    system::{atomic_file, file_system::is_volatile},
};

const MODE: u32 = 0o600;

/// The place, held against others of the same user.
pub struct Cache {
    path: PathBuf,
    asked: String,
    _lock: Flock<File>,
}

#[derive(Serialize, Deserialize)]
struct CacheFile {
    /// Whom the provider was asked for: other settings, other credentials.
    asked: String,
    state: State,
}

impl Cache {
    /// Waits for its turn. None where there is no place for it: then each run asks the provider.
    pub fn open(config: &Config) -> Option<Self> {
        let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let directory = own.into_iter().chain([config.runtime_directory.clone()]).find(|d| fits(d));
        let Some(directory) = directory else {
            log::debug!(
                "no directory on tmpfs belongs to this user (XDG_RUNTIME_DIR): nothing is kept"
            );
            return None;
        };
        match lock(&directory.join(own_files::CACHE_LOCK)) {
            Ok(lock) => Some(Self {
                path: directory.join(own_files::CACHE),
                asked: asked(config),
                _lock: lock,
            }),
            Err(e) => {
                log::debug!("{}: {e}: nothing is kept", directory.display());
                None
            }
        }
    }

    /// What was kept in this boot with these settings.
    pub fn load(&self, boot_id: &str) -> Option<State> {
        let text = Zeroizing::new(fs::read(&self.path).ok()?);
        let text: CacheFile = serde_json::from_slice(&text).ok()?;
        Some(text.state).filter(|state| text.asked == self.asked && state.is_of(boot_id))
    }

    pub fn save(&self, state: &State) {
        let text = CacheFile { asked: self.asked.clone(), state: state.clone() };
        // Allocated once: a buffer that grows leaves copies of the secrets behind.
        let size = 2048 + state.credentials.session_token.expose().len();
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        let written = serde_json::to_writer(&mut *bytes, &text)
            .map_err(io::Error::from)
            .and_then(|()| atomic_file::replace(&self.path, &bytes, MODE));
        if let Err(e) = written {
            log::debug!("{}: {e}: the next run asks the provider again", self.path.display());
        }
    }
}

/// Nobody else can put a file of theirs there, and nothing in it gets to flash.
fn fits(directory: &Path) -> bool {
    let is_ours = fs::metadata(directory).is_ok_and(|found| {
        found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0
    });
    is_ours && is_volatile(directory).unwrap_or(false)
}

fn lock(path: &Path) -> io::Result<Flock<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e.into())
}

fn asked(config: &Config) -> String {
    let provider = &config.provider;
    let key = match &provider.key {
        PrivateKey::File(path) => path.display().to_string(),
        PrivateKey::Token(token) => token.uri.clone(),
    };
    let thing = provider.thing_name.as_deref().unwrap_or_default();
    let certificate = provider.certificate.display();
    format!(
        "{}:{} {} {thing} {certificate} {key}",
        provider.host, provider.port, provider.role_alias
    )
}
