//! The directory that a replica is restored into: room first, one user at a time, nothing left behind.
//!
//! It is on the data partition, since a replica is as large as the database, and tmpfs is memory.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statvfs::statvfs,
};

use crate::problems::trouble::Trouble;

const NAME: &str = "verify";

/// What stays free for the application and the heartbeat, and is used up by the WAL files that Litestream 0.3
/// downloads eight at a time.
const MARGIN: u64 = 32 * 1024 * 1024;

/// A restore is ended when less than this is left: the replica was larger than the database let expect.
const LEAST_LEFT: u64 = 4 * 1024 * 1024;

/// A directory of one's own, emptied at first and gone when this is dropped.
#[derive(Debug)]
pub struct Workplace {
    path: PathBuf,
    /// The kernel takes it back however the process ends.
    _lock: Flock<File>,
}

/// How far a restore got: if it equals an earlier one, nothing has happened in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub bytes: u64,
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl Workplace {
    /// Makes it below the state directory, or empties what an earlier run left, if there is room for a restore of
    /// `database`.
    ///
    /// # Errors
    /// No room, no right, or another run that is at work.
    pub fn new(state_directory: &Path, database: &Path) -> Result<Self, Trouble> {
        let path = state_directory.join(NAME);
        let told = |e: &io::Error| {
            Trouble::io(&path, e, "state-directory", "make it, and let this user write it")
        };
        let lock = take(&path).map_err(|e| told(&e))?.ok_or_else(another_run)?;
        // From here on it is removed however this ends.
        let workplace = Self { path: path.clone(), _lock: lock };
        empty(&path).map_err(|e| told(&e))?;
        let needed = needed(database);
        let available = workplace.available().map_err(|e| told(&e))?;
        if available < needed {
            return Err(Trouble::no_room(state_directory, needed, available));
        }
        Ok(workplace)
    }

    pub fn file(&self) -> PathBuf {
        self.path.join("restored.db")
    }

    /// Makes room for another restore.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn empty(&self) -> Result<(), Trouble> {
        empty(&self.path).map_err(|e| Trouble::io(&self.path, &e, "state-directory", "remove it"))
    }

    /// What is there now.
    pub fn progress(&self) -> Progress {
        let mut files: Vec<_> = fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((entry.path(), metadata.len(), metadata.modified().ok()))
            })
            .collect();
        files.sort();
        Progress { bytes: files.iter().map(|(_, bytes, _)| bytes).sum(), files }
    }

    /// Whether a restore may go on.
    ///
    /// # Errors
    /// There is hardly any room left.
    pub fn still_has_room(&self) -> Result<(), Trouble> {
        match self.available() {
            Ok(left) if left < LEAST_LEFT => Err(Trouble::no_room(&self.path, LEAST_LEFT, left)),
            _ => Ok(()),
        }
    }

    fn available(&self) -> io::Result<u64> {
        let space = statvfs(&self.path)?;
        // The types differ between platforms.
        #[allow(clippy::useless_conversion, reason = "32 bits on some platforms")]
        Ok(u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size())))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next run, which will say why it can't.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What a restore of this database takes: the database, what its WAL will add to it, and the margin.
fn needed(database: &Path) -> u64 {
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    // A look at the names; nothing is opened, since closing it would drop this process's locks.
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    size(database).saturating_add(size(Path::new(&wal))).saturating_add(MARGIN)
}

/// Makes the directory and locks it; `None` if somebody else has it.
fn take(path: &Path) -> io::Result<Option<Flock<File>>> {
    loop {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let lock = match Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, e)) => return Err(e.into()),
        };
        // Another run may have ended, and removed it, between the two steps.
        let locked = lock.metadata()?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => {
                return Ok(Some(lock));
            }
            _ => {}
        }
    }
}

fn empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn another_run() -> Trouble {
    Trouble {
        cause: "another-run",
        exit_code: crate::problems::trouble::AWAY,
        what: "another edgerotate verify is at work".to_owned(),
        remedy: "wait for its end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_emptied_locked_and_gone_at_the_end() {
        let state = std::env::temp_dir().join(format!("edgerotate-work-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(state.join("verify/further")).unwrap();
        fs::write(state.join("verify/restored.db.tmp"), "left behind").unwrap();
        let database = state.join("device.db");

        let workplace = Workplace::new(&state, &database).unwrap();
        assert_eq!(workplace.progress(), Progress::default());
        assert_eq!(Workplace::new(&state, &database).unwrap_err().cause, "another-run");
        fs::write(workplace.file(), "12345").unwrap();
        assert_eq!(workplace.progress().bytes, 5);
        assert!(workplace.still_has_room().is_ok());
        drop(workplace);
        assert!(!state.join("verify").exists());

        // A sparse file: large to look at.
        File::create(&database).unwrap().set_len(1 << 43).unwrap();
        let trouble = Workplace::new(&state, &database).unwrap_err();
        assert_eq!((trouble.cause, trouble.exit_code), ("no-room", 69));
        assert!(trouble.what.contains("a restore needs 8.8 TB"), "{trouble}");
        assert!(!state.join("verify").exists());
        fs::remove_dir_all(&state).unwrap();
    }
}
