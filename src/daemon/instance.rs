//! One daemon on a device: two would fetch twice, and write the environment file and the database against each other.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
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
