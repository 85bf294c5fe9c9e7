//! One daemon on a device: two would fetch twice, and write the environment file and the database against each other.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::stat::{major, minor},
};

const FILE_NAME: &str = "edgerotate.lock";

/// The right to be the daemon, as long as it is held. The kernel takes it back however the process ends.
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
            .open(runtime_directory.join(FILE_NAME))
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

/// Whether a daemon holds the lock. The kernel's table tells it to whoever may look at the file, though not open it.
///
/// # Errors
/// The runtime directory may not be looked into, or there is no /proc.
pub fn runs(runtime_directory: &Path) -> io::Result<bool> {
    let lock = match fs::metadata(runtime_directory.join(FILE_NAME)) {
        Ok(lock) => lock,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let file = format!("{:02x}:{:02x}:{}", major(lock.dev()), minor(lock.dev()), lock.ino());
    let locks = fs::read_to_string("/proc/locks")?;
    // proc_locks(5): a number, FLOCK, ADVISORY, WRITE, the process, the file.
    Ok(locks.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next() == Some("FLOCK") && fields.nth(3) == Some(&file)
    }))
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
    fn a_daemon_is_seen_as_long_as_it_lives() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-instance-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert!(!runs(&directory).unwrap());
        let instance = Instance::take(&directory).unwrap();
        assert!(runs(&directory).unwrap());
        assert!(matches!(Instance::take(&directory), Err(NoInstance::Running(Some(_)))));
        drop(instance);
        assert!(!runs(&directory).unwrap());
        fs::remove_dir_all(directory).unwrap();
    }
}
