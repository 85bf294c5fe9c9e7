//! The directory that a replica is restored into: room first, one user at a time, nothing left
//! behind.
//!
//! It is on the data partition, since a replica is as large as the database, and tmpfs is memory.
//! Each run makes one of its own, and removes what is in that one alone, by the descriptor that it
//! holds: whatever else has a name like it, or is put in its place, is somebody else's. What a
//! killed run left is known by its owner and by a mark in it.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statvfs::fstatvfs,
    unistd::geteuid,
};

use crate::{
    core::own_files, problems::trouble::Trouble, replica::sqlite::beside,
    system::directory::Directory,
};

/// Who made the directory, and that all in it may go.
const MARK: &str = ".made-by-edgerotate-verify";

/// What stays free for the application and the heartbeat, and is used up by the WAL files that
/// Litestream 0.3 downloads eight at a time.
const MARGIN: u64 = 32 * 1024 * 1024;

/// A restore is ended when less than this is left: the replica was larger than the database let
/// expect.
const LEAST_LEFT: u64 = 4 * 1024 * 1024;

/// A directory of one's own, gone when this is dropped.
#[derive(Debug)]
pub struct Workplace {
    path: PathBuf,
    name: OsString,
    state: Directory,
    own: Directory,
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
    /// Makes it below the state directory, if there is room for a restore of `database`; what
    /// killed runs left goes first.
    ///
    /// # Errors
    /// No room, no right, or another run that is at work.
    pub fn new(state_directory: &Path, database: &Path) -> Result<Self, Trouble> {
        let told = |e: io::Error| {
            let remedy = "make it, and let this user write it";
            Trouble::io(state_directory, &e, "state-directory", remedy)
        };
        let state = Directory::open(state_directory).map_err(told)?;
        let Some(left) = leftovers(&state).map_err(told)? else { return Err(another_run()) };
        // Gigabytes take their time. They are locked one by one, and the daemon marks meanwhile.
        for one in &left {
            let _ = one.own.empty(OsStr::new(MARK));
        }
        let all = lock(&state).map_err(told)?;
        for one in left {
            remove(&state, &one.own, &one.name);
        }
        // Another one may have begun since.
        if leftovers_of_locked(&state).map_err(told)?.is_none() {
            return Err(another_run());
        }
        // From here on it is removed however this ends.
        let workplace = Self::make(state_directory, state).map_err(told)?;
        drop(all);
        let needed = needed(database);
        let available = workplace.available().map_err(told)?;
        if available < needed {
            return Err(Trouble::no_room(state_directory, needed, available));
        }
        Ok(workplace)
    }

    fn make(state_directory: &Path, state: Directory) -> io::Result<Self> {
        // Nobody can know it before; a name that is taken is an error.
        let number = RandomState::new().build_hasher().finish();
        let name = OsString::from(format!("{}{number:016x}", own_files::VERIFY_PREFIX));
        let own = state.make_below(&name)?;
        let made = || -> io::Result<Flock<File>> {
            own.make_file(OsStr::new(MARK), 0o600)?;
            Flock::lock(own.handle()?, FlockArg::LockExclusive).map_err(|(_, e)| e.into())
        };
        match made() {
            Ok(lock) => {
                let path = state_directory.join(&name);
                Ok(Self { path, name, state, own, _lock: lock })
            }
            Err(e) => {
                remove(&state, &own, &name);
                Err(e)
            }
        }
    }

    pub fn file(&self) -> PathBuf {
        self.path.join("restored.db")
    }

    /// Makes room for another restore.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn empty(&self) -> Result<(), Trouble> {
        self.own
            .empty(OsStr::new(MARK))
            .map_err(|e| Trouble::io(&self.path, &e, "state-directory", "remove it"))
    }

    /// What is there now.
    pub fn progress(&self) -> Progress {
        let mut files: Vec<_> = fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name() != MARK)
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
        let space = fstatvfs(&self.own)?;
        // The types differ between platforms.
        #[allow(clippy::useless_conversion, reason = "32 bits on some platforms")]
        Ok(u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size())))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        remove(&self.state, &self.own, &self.name);
    }
}

/// What can't be removed now is removed by the next run.
fn remove(state: &Directory, own: &Directory, name: &OsStr) {
    // The mark goes last: what is left without it nobody dares to remove.
    let _ = own.empty(OsStr::new(MARK));
    let _ = own.remove_file(OsStr::new(MARK));
    // Empty or not there, or another one took its place: that one stays.
    let _ = state.remove_directory(name);
}

/// What a restore of this database takes: the database, what its WAL will add to it, and the
/// margin.
fn needed(database: &Path) -> u64 {
    // A look at the names; nothing is opened, since closing it would drop this process's locks.
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    size(database).saturating_add(size(&beside(database, "-wal"))).saturating_add(MARGIN)
}

/// A directory that a killed run left.
struct Leftover {
    name: OsString,
    own: Directory,
    _lock: Flock<File>,
}

/// One run after the other, for as long as it takes to look at names. The daemon takes it to mark.
fn lock(state: &Directory) -> io::Result<Flock<File>> {
    Flock::lock(state.handle()?, FlockArg::LockExclusive).map_err(|(_, e)| e.into())
}

fn leftovers(state: &Directory) -> io::Result<Option<Vec<Leftover>>> {
    let _all = lock(state)?;
    leftovers_of_locked(state)
}

/// What killed runs of this user left, each locked; none at all if one of these is at work.
fn leftovers_of_locked(state: &Directory) -> io::Result<Option<Vec<Leftover>>> {
    let mut found = Vec::new();
    for name in state.names()? {
        if !name.to_string_lossy().starts_with(own_files::VERIFY_PREFIX) {
            continue;
        }
        // A link, a file, another user's: not ours.
        let Ok(own) = state.open_below(&name) else { continue };
        if own.metadata()?.uid() != geteuid().as_raw() {
            continue;
        }
        if own.look(OsStr::new(MARK))?.is_none() {
            // Of a run that was killed before it made the mark; one with anything in it stays.
            let _ = state.remove_directory(&name);
            continue;
        }
        match Flock::lock(own.handle()?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => found.push(Leftover { name, own, _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, e)) => return Err(e.into()),
        }
    }
    Ok(Some(found))
}

fn another_run() -> Trouble {
    Trouble {
        cause: "another-run",
        exit_code: crate::problems::exit_code::AWAY,
        what: "another edgerotate verify is at work".to_owned(),
        remedy: "wait for its end",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let state = std::env::temp_dir().join(format!("edgerotate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(&state).unwrap();
        state
    }

    /// As soon as no other run is at work: a child that another test starts has a copy of each
    /// descriptor, and so of each lock, until it becomes its program.
    #[allow(clippy::disallowed_methods, reason = "the kernel tells nobody when a lock is free")]
    fn workplace(state: &Path, database: &Path) -> Result<Workplace, Trouble> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match Workplace::new(state, database) {
                Err(e) if e.cause == "another-run" && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                made => return made,
            }
        }
    }

    fn names(state: &Path) -> Vec<OsString> {
        let mut names = Directory::open(state).unwrap().names().unwrap();
        names.sort();
        names
    }

    #[test]
    fn is_ones_own_locked_and_gone_at_the_end() {
        let state = scratch("work");
        let database = state.join("device.db");
        let work = workplace(&state, &database).unwrap();
        assert_eq!(work.progress(), Progress::default());
        assert_eq!(Workplace::new(&state, &database).unwrap_err().cause, "another-run");
        fs::write(work.file(), "12345").unwrap();
        assert_eq!(work.progress().bytes, 5);
        assert!(work.still_has_room().is_ok());
        work.empty().unwrap();
        assert_eq!(work.progress(), Progress::default());
        fs::create_dir(work.path.join("further")).unwrap();
        drop(work);
        assert!(names(&state).is_empty());

        // A sparse file: large to look at.
        File::create(&database).unwrap().set_len(1 << 43).unwrap();
        let trouble = workplace(&state, &database).unwrap_err();
        assert_eq!((trouble.cause, trouble.exit_code), ("no-room", 69));
        assert!(trouble.what.contains("a restore needs 8.8 TB"), "{trouble}");
        assert_eq!(names(&state), ["device.db"]);
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_others_made_stays() {
        let state = scratch("work-left");
        let elsewhere = scratch("work-elsewhere");
        fs::write(elsewhere.join("file"), "somebody's").unwrap();
        fs::write(elsewhere.join(MARK), "").unwrap();
        for name in ["verify", "verify.0000000000000001"] {
            fs::create_dir(state.join(name)).unwrap();
            fs::write(state.join(name).join("file"), "somebody's").unwrap();
        }
        std::os::unix::fs::symlink(&elsewhere, state.join("verify.0000000000000002")).unwrap();
        fs::write(state.join("verify.0000000000000003"), "a file").unwrap();
        let before = names(&state);
        fs::create_dir(state.join("verify.0000000000000004")).unwrap();
        let left = workplace(&state, &state.join("device.db")).unwrap();
        assert!(!state.join("verify.0000000000000004").exists());
        fs::write(left.file(), "left behind by a power cut").unwrap();
        fs::create_dir(left.path.join("further")).unwrap();
        let left_name = left.name.clone();
        // A power cut: the kernel takes the lock back, and nothing else is done.
        nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(&*left._lock)).unwrap();
        std::mem::forget(left);
        assert!(names(&state).contains(&left_name));

        drop(workplace(&state, &state.join("device.db")).unwrap());
        assert_eq!(names(&state), before);
        assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"somebody's");
        for directory in [state, elsewhere] {
            fs::remove_dir_all(directory).unwrap();
        }
    }
}
