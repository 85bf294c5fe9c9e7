//! The device's files and directories: whether they are there, and who may read and write them.
//!
//! Looked at by name alone; nothing is opened, and nothing is made.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::unistd::{AccessFlags, Uid, User, access};

use super::{
    cause,
    report::{Found, Line},
    step::Step,
};
use crate::{
    fetch::material::{CA_FILE, CERTIFICATE, FileCauses, KEY_FILE, PIN_FILE},
    problems::finding::Finding,
    settings::{Config, Pin, PrivateKey},
    system::file_system::{LEAST_ROOM, is_volatile, room},
};

/// All but the databases, which SQLite looks at.
pub fn lines(config: &Config, user: &str) -> Vec<Line> {
    let provider = &config.provider;
    let mut lines = vec![
        directory(Step::RuntimeDirectory, &config.runtime_directory, user),
        directory(Step::StateDirectory, &config.state_directory, user),
        file(Step::CertificateFile, &provider.certificate, &CERTIFICATE, SecretFile::No),
    ];
    match &provider.key {
        PrivateKey::File(path) => {
            lines.push(file(Step::KeyFile, path, &KEY_FILE, SecretFile::Yes));
        }
        PrivateKey::Token(token) => {
            if let Pin::File(path) = &token.pin {
                lines.push(file(Step::PinFile, path, &PIN_FILE, SecretFile::Yes));
            }
        }
    }
    lines.push(match &provider.ca_file {
        Some(path) => file(Step::CaFile, path, &CA_FILE, SecretFile::No),
        None => Line::ok(Step::CaFile, "none is set: the system's authorities are trusted"),
    });
    lines.push(environment_file(&config.litestream.environment_file));
    lines
}

/// Whose the daemon's files are: the user that it runs as.
pub fn user(config: &Config) -> Option<Uid> {
    let directories = [&config.state_directory, &config.runtime_directory];
    directories
        .into_iter()
        .find_map(|directory| Some(Uid::from_raw(fs::metadata(directory).ok()?.uid())))
}

pub fn name(user: Uid) -> String {
    match User::from_uid(user) {
        Ok(Some(user)) => user.name,
        _ => user.to_string(),
    }
}

/// `/etc/edgerotate/pin (edgerotate 0400)`.
fn described(path: &Path, metadata: &Metadata) -> String {
    let owner = name(Uid::from_raw(metadata.uid()));
    format!("{} ({owner} {:04o})", path.display(), metadata.mode() & 0o7777)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SecretFile {
    Yes,
    No,
}

fn directory(step: Step, path: &Path, user: &str) -> Line {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) => {
            let finding = match e.kind() {
                io::ErrorKind::NotFound => Finding::DirectoryMissing,
                _ => Finding::DirectoryNotUsable,
            };
            let found = Found::file(finding, path, &words(&e)).by(user);
            return Line::wrong(step, path.display().to_string(), found);
        }
    };
    let mut found = Vec::new();
    if !metadata.is_dir() {
        found.push(Found::file(Finding::DirectoryNotUsable, path, "(is no directory)").by(user));
    } else if let Err(e) = access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        let why = format!("({})", e.desc());
        found.push(Found::file(Finding::DirectoryNotUsable, path, &why).by(user));
    }
    if room(path).is_ok_and(|left| left < LEAST_ROOM) {
        found.push(Found::file(Finding::DirectoryFull, path, "").by(user));
    }
    found.extend(replaceable(path, &metadata));
    match (step, is_volatile(path)) {
        (Step::RuntimeDirectory, Ok(false)) => {
            found.push(Found::file(Finding::SecretsOnFlash, path, ""));
        }
        (Step::StateDirectory, Ok(true)) => {
            found.push(Found::file(Finding::StateOnTmpfs, path, ""));
        }
        _ => {}
    }
    Line::new(step, described(path, &metadata), found)
}

fn file(step: Step, path: &Path, causes: &FileCauses, secret: SecretFile) -> Line {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) => {
            let failure = causes.failure(path, &e);
            let found = Found::failure(&failure, cause::gate(failure.cause));
            return Line::wrong(step, path.display().to_string(), found);
        }
    };
    let mut found = Vec::new();
    if secret == SecretFile::Yes {
        found.extend(readable(path, &metadata));
    }
    found.extend(replaceable(path, &metadata));
    Line::new(step, described(path, &metadata), found)
}

fn environment_file(path: &Path) -> Line {
    let step = Step::EnvironmentFile;
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) => {
            let finding = match e.kind() {
                io::ErrorKind::NotFound => Finding::EnvironmentFileMissing,
                _ => Finding::EnvironmentFileNotReadable,
            };
            let found = Found::file(finding, path, &words(&e));
            return Line::wrong(step, path.display().to_string(), found);
        }
    };
    let mut found: Vec<_> = readable(path, &metadata).into_iter().collect();
    found.extend(replaceable(path, &metadata));
    if is_volatile(path).is_ok_and(|volatile| !volatile) {
        found.push(Found::file(Finding::SecretsOnFlash, path, ""));
    }
    if let Err(e) = access(path, AccessFlags::R_OK) {
        let why = format!("({})", e.desc());
        found.push(Found::file(Finding::EnvironmentFileNotReadable, path, &why));
    }
    Line::new(step, described(path, &metadata), found)
}

fn readable(path: &Path, metadata: &Metadata) -> Option<Found> {
    let is_readable = metadata.mode() & 0o004 != 0;
    is_readable.then(|| Found::file(Finding::SecretReadable, path, ""))
}

/// A program or library that any user may replace is that user's.
pub fn program(path: &Path) -> Option<Found> {
    replaceable(path, &fs::metadata(path).ok()?)
}

/// Whoever may write its directory can put another file in its place, unless the directory is
/// sticky, as /tmp is.
fn replaceable(path: &Path, metadata: &Metadata) -> Option<Found> {
    let open = |path: &Path, metadata: &Metadata| {
        let mode = metadata.mode();
        let is_open = mode & 0o002 != 0 && !(metadata.is_dir() && mode & 0o1000 != 0);
        is_open.then(|| Found::file(Finding::WritableByAll, path, ""))
    };
    open(path, metadata).or_else(|| {
        let directory = path.parent()?;
        open(directory, &fs::metadata(directory).ok()?)
    })
}

fn words(error: &io::Error) -> String {
    format!("({})", crate::fetch::material::io_words(error))
}
