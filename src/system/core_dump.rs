//! Core dumps, which there are none of.

use std::io;

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

/// No secret gets into a core dump, and no other program of this user reads this one's memory.
/// Processes that are started later inherit the former; the latter each has to do for itself.
///
/// # Errors
/// As the system gives them.
pub fn forbid() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(prctl::set_dumpable(false)?)
}
