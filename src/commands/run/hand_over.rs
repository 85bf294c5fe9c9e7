//! Handing the credentials to Litestream: guard, rename, restart, in this order.

use std::{fs, sync::Arc};

use zeroize::Zeroizing;

use super::{
    Daemon,
    outlets::Outlets,
    tasks::{Done, WaitsForGuard},
};
use crate::{
    core::{
        credentials::Credentials,
        environment_file::{self, Contents},
        rotation::{Event, Restart, Write},
    },
    settings::Config,
    system::{atomic_file, clock},
};

/// Only its owner; systemd reads it as root before it starts Litestream.
const ENVIRONMENT_FILE_MODE: u32 = 0o600;

impl Daemon {
    /// Goes on once Litestream may restart, which it may do by itself as soon as the environment
    /// file is another.
    pub(super) fn after_guard(&mut self, guarded: WaitsForGuard) {
        let taken = self.guard.take(matches!(guarded, WaitsForGuard::Again(_)));
        self.tasks.spawn(async move { Done::Guarded(guarded, taken.await) });
    }

    pub(super) fn write(&mut self, write: Write) -> Event {
        match self.write_environment_file() {
            Ok(()) => Event::Written(write),
            Err(error) => {
                self.guard.restart_is_over(false);
                let now = clock::boottime();
                self.board.hand_over_failed(&error, now);
                self.report.write_failed(&error, now);
                Event::WriteFailed(write)
            }
        }
    }

    pub(super) fn restart(&mut self, restart: Restart) {
        // Whatever watches the file may have missed its change, or been busy.
        let again = restart.failures() > 0;
        if again && !self.litestream.is_restarted_here() {
            if let Err(error) = self.write_environment_file() {
                let now = clock::boottime();
                self.board.hand_over_failed(&error, now);
                self.report.write_failed(&error, now);
            }
        }
        self.report.restart_starts(again);
        let litestream = Arc::clone(&self.litestream);
        let written = self.written.clone();
        self.tasks.spawn(async move {
            let written = written.unwrap_or_else(|| litestream.just_written(clock::boottime()));
            let started = litestream.restart(&written, again).await;
            Done::Restarted(restart, started)
        });
    }

    fn write_environment_file(&mut self) -> Result<(), String> {
        let path = &self.config.litestream.environment_file;
        let text = environment_text(&self.config, &self.outlets, self.credentials.as_ref())?;
        atomic_file::replace(path, text.as_bytes(), ENVIRONMENT_FILE_MODE).map_err(|e| {
            let directory = path.parent().filter(|directory| !directory.is_dir());
            match directory {
                Some(directory) => {
                    format!(
                        "{}: its directory {} is not there",
                        path.display(),
                        directory.display()
                    )
                }
                None => format!("{}: {e}; look at its directory's rights and room", path.display()),
            }
        })?;
        self.written = Some(self.litestream.just_written(clock::boottime()));
        self.board.written(clock::boottime());
        match self.outlets.told_to_litestream() {
            Some(_) => self.report.endpoint_written(path),
            None => {
                let left = self.rotation.held().map(|held| held.expires.since(clock::boottime()));
                self.report.written(path, left.unwrap_or_default());
            }
        }
        Ok(())
    }
}

fn environment_text(
    config: &Config,
    outlets: &Outlets,
    credentials: Option<&Credentials>,
) -> Result<Zeroizing<String>, String> {
    let contents = outlets
        .told_to_litestream()
        .or(credentials.map(Contents::Credentials))
        .ok_or("there are no credentials to write")?;
    environment_file::text(
        &contents,
        &config.litestream.region,
        config.provider.thing_name.as_deref(),
    )
}

/// Whether the environment file holds just what it should with these credentials.
pub(super) fn holds(config: &Config, outlets: &Outlets, credentials: Option<&Credentials>) -> bool {
    let found = fs::read(&config.litestream.environment_file).map(Zeroizing::new);
    match (found, environment_text(config, outlets, credentials)) {
        (Ok(found), Ok(text)) => *found == text.as_bytes(),
        _ => false,
    }
}
