//! One daemon on a device: two would fetch twice, and write the environment file and the database
//! against each other.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::{
    core::own_files,
    system::kernel_locks::{self, FileId, Lock, LockKind},
};

/// The right to be the daemon, as long as it is held. The kernel takes it back however the process
/// ends.
#[derive(Debug)]
pub struct Instance(#[allow(dead_code, reason = "held, not read")] Flock<File>);

/// Why it can't be had.
#[derive(Debug)]
pub enum NoInstance {
    /// Another daemon runs; its process id, if it could be read.
    Running(Option<u32>),
    Failed(io::Error),
}

impl Instance {
    /// Takes the lock in the runtime directory, or says who has it.
    ///
    /// # Errors
    /// See [`NoInstance`].
    pub fn take(runtime_directory: &Path) -> Result<Self, NoInstance> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(runtime_directory.join(own_files::INSTANCE_LOCK))
            .map_err(NoInstance::Failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // For the one that comes second; a full tmpfs must not keep the first from running.
                let _ = note_owner(&mut lock);
                Ok(Self(lock))
            }
            Err((file, Errno::EWOULDBLOCK)) => Err(NoInstance::Running(owner(file))),
            Err((_, e)) => Err(NoInstance::Failed(e.into())),
        }
    }
}

/// The process that is the daemon, if one runs. Taking the lock for a look could keep a daemon from
/// starting; so the kernel's table of locks is read, for which nothing need be opened. `known` is
/// who it probably is: on btrfs and the like stat(2) names another device than the table does.
///
/// # Errors
/// The runtime directory may not be passed, or there is no /proc.
pub fn holder(runtime_directory: &Path, known: Option<u32>) -> io::Result<Option<u32>> {
    let file = match fs::metadata(runtime_directory.join(own_files::INSTANCE_LOCK)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let runs = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    Ok(find(&kernel_locks::table()?, &FileId::of(&file), known, runs))
}

/// Who is known goes before who is found: in a long table somebody may stand who has ended
/// meanwhile.
fn find(
    locks: &[Lock],
    file: &FileId,
    known: Option<u32>,
    runs: impl Fn(u32) -> bool,
) -> Option<u32> {
    let mut holders = locks.iter().filter(|lock| {
        lock.kind == LockKind::Flock
            && lock.file.inode == file.inode
            && (lock.file.device == file.device || known == Some(lock.pid))
    });
    let is_known = holders.clone().any(|lock| known == Some(lock.pid));
    known.filter(|_| is_known).or_else(|| holders.find(|lock| runs(lock.pid)).map(|lock| lock.pid))
}

fn note_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn owner(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_seen_without_touching_the_lock() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-instance-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(holder(&directory, None).unwrap(), None);
        let instance = Instance::take(&directory).unwrap();
        let own = std::process::id();
        assert_eq!(holder(&directory, Some(own)).unwrap(), Some(own));
        drop(instance);
        assert_eq!(holder(&directory, Some(own)).unwrap(), None);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn reads_the_table_of_locks() {
        let locks = kernel_locks::parse(&["1: POSIX  ADVISORY  WRITE 11 00:19:42 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 00:19:43 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 14 00:19:42 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 00:20:42 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 15 00:19:43 0 EOF\n"]);
        let find = |inode, known, ended: &[u32]| {
            let file = FileId { device: "00:19".to_owned(), inode };
            find(&locks, &file, known, |pid| !ended.contains(&pid))
        };
        assert_eq!(find(42, None, &[]), None);
        assert_eq!(find(42, Some(13), &[]), Some(13), "on another device, by stat's account");
        assert_eq!(find(43, None, &[12]), Some(15), "who has ended holds nothing");
        assert_eq!(find(43, Some(15), &[]), Some(15));
    }
}
