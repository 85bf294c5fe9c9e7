//! What happens once, before the loop: rights given up, directories, the lock, and what tells this
//! device from others.

use std::{
    fs::{self, DirBuilder},
    hash::{BuildHasher, RandomState},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use super::stopped::Stopped;
use crate::{
    core::backoff,
    settings::{Config, Pin, PrivateKey, Token},
    system::{
        file_system::{Lasts, is_volatile, lasts},
        instance::{Instance, NoInstance},
    },
};

/// Makes the directories and takes the instance's lock.
pub fn prepare(config: &Config) -> Result<Instance, Stopped> {
    for (setting, directory) in [
        ("EDGEROTATE_RUNTIME_DIRECTORY", &config.runtime_directory),
        ("EDGEROTATE_STATE_DIRECTORY", &config.state_directory),
    ] {
        make_directory(directory).map_err(|e| {
            log::error!(
                "{setting}: {} is not there and can't be made: {e}; make it for the user that runs \
                 edgerotate",
                directory.display()
            );
            Stopped::Device
        })?;
    }
    warn_of_secrets_on_flash(config);
    warn_of_keys_for_all(config);
    let database = &config.heartbeat.database;
    if !config.heartbeat.allow_volatile_database {
        match lasts(database) {
            Ok(Lasts::Always) => {}
            Ok(Lasts::Unknown) => log::warn!(
                "EDGEROTATE_DATABASE: it is not known whether the file system of {} outlives a \
                 reboot; see that \
                 it does, or put the database on the data partition",
                database.display()
            ),
            Ok(Lasts::UntilReboot) => {
                log::error!(
                    "EDGEROTATE_DATABASE: {} is in memory (on tmpfs, or on an overlay that writes \
                     to one), and would be \
                     gone after a reboot; put it on the data partition, or set \
                     EDGEROTATE_ALLOW_VOLATILE_DATABASE=yes",
                    database.display()
                );
                return Err(Stopped::Settings);
            }
            // The heartbeat will say what is wrong, and goes on trying.
            Err(_) => {}
        }
    }
    Instance::take(&config.runtime_directory).map_err(|e| match e {
        NoInstance::Running(pid) => {
            let pid = pid.map_or(String::new(), |pid| format!(" as process {pid}"));
            log::error!("another edgerotate is already running{pid}; this one ends");
            Stopped::OtherInstance
        }
        NoInstance::Failed(e) => {
            log::error!(
                "EDGEROTATE_RUNTIME_DIRECTORY: {} can't be written ({e}); it may have been made by \
                 another user, such \
                 as root: remove it, or give it to the user that runs edgerotate",
                config.runtime_directory.display()
            );
            Stopped::Device
        }
    })
}

/// Credentials are short-lived, but flash remembers; and a device can be stolen.
fn warn_of_secrets_on_flash(config: &Config) {
    let clients = &config.outlets.client_directory;
    for (setting, path) in [
        ("EDGEROTATE_RUNTIME_DIRECTORY", &config.runtime_directory),
        ("EDGEROTATE_ENVIRONMENT_FILE", &config.litestream.environment_file),
    ]
    .into_iter()
    .chain(clients.iter().map(|path| ("EDGEROTATE_CLIENT_DIRECTORY", path)))
    {
        if let Ok(false) = is_volatile(path) {
            log::warn!(
                "{setting}: {} is not on tmpfs: credentials are written to storage; put it below \
                 /run",
                path.display()
            );
        }
    }
}

/// A PIN or a key that every program on the device can read protects nothing.
fn warn_of_keys_for_all(config: &Config) {
    let path = match &config.provider.key {
        PrivateKey::File(path) => path,
        PrivateKey::Token(Token { pin: Pin::File(path), .. }) => path,
        PrivateKey::Token(_) => return,
    };
    if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0) {
        log::warn!("{0}: every user can read it; chmod o-r {0}", path.display());
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The device's place in the fleet, from its certificate: machine ids get cloned, certificates do
/// not.
pub fn jitter(config: &Config) -> f64 {
    let identity = fs::read(&config.provider.certificate)
        .unwrap_or_else(|_| config.provider.thing_name.clone().unwrap_or_default().into_bytes());
    // FNV-1a: the same on every device and in every version, and spread evenly enough.
    let hash = identity.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    backoff::share_of(hash)
}

/// A seed for the retries' jitter, from the kernel's generator by way of the standard library's
/// hash keys.
pub fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
