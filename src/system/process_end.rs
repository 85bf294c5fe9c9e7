//! The end of a process that is not ours, waited for without asking again and again: pidfd_open(2),
//! Linux 5.3.

#![allow(unsafe_code, reason = "neither the standard library nor nix has this call")]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// A process that can be waited for.
#[derive(Debug)]
pub struct ProcessEnd(OwnedFd);

impl ProcessEnd {
    /// # Errors
    /// As the system gives them: no such process (any more), or an older kernel.
    pub fn of(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        // SAFETY: the call takes two numbers and gives a descriptor or an error.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Returns when the process has ended.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn wait(&self) -> io::Result<()> {
        let mut one = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        loop {
            // SAFETY: one entry, which lives through the call.
            if unsafe { libc::poll(&raw mut one, 1, -1) } >= 0 {
                return Ok(());
            }
            let e = io::Error::last_os_error();
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(e);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn is_told_when_a_process_ends() {
        let mut child = Command::new("sleep").arg("3600").spawn().unwrap();
        let end = ProcessEnd::of(child.id()).unwrap();
        child.kill().unwrap();
        end.wait().unwrap();
        child.wait().unwrap();
        assert!(ProcessEnd::of(child.id()).is_err(), "it is waited for, and gone");
    }
}
