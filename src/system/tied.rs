//! A program that ends with the one that started it, even by SIGKILL.
//!
//! Litestream 0.5 tries for minutes to reach an S3 that is away; one that nobody waits for any more
//! must not go on and fill the data partition. The kernel kills a process with its parent if the
//! process itself asks for it before it becomes the program: so edgerotate starts itself, asks, and
//! becomes Litestream.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode, ExitStatus, id},
};

use nix::{
    sys::{prctl, signal::Signal},
    unistd::getppid,
};

/// Followed by the parent's process id, the program and its arguments.
pub const FLAG: &str = "--become";

/// The program was never started.
const NOT_STARTED: u8 = 127;

/// The command that starts `program` through `edgerotate`; to be run by a thread that lives as long
/// as the process.
pub fn command(edgerotate: &Path, program: &OsStr) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(edgerotate);
    command.arg0("edgerotate");
    command.args(["verify", FLAG]).arg(id().to_string()).arg(program);
    command
}

/// Whether it ended without having become the program; the reason is what it printed.
pub fn was_not_started(status: ExitStatus) -> bool {
    status.code() == Some(i32::from(NOT_STARTED))
}

/// The inner half. Returns only if it fails.
pub fn become_program(words: Vec<OsString>) -> ExitCode {
    let mut words = words.into_iter();
    let (parent, program) = (words.next(), words.next());
    let (Some(parent), Some(program)) = (parent, program) else {
        return failed(&io::Error::other(
            "edgerotate starts other programs by this; it is not for use by hand",
        ));
    };
    if let Err(e) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return failed(&e.into());
    }
    // A parent that died before the line above was no parent any more.
    if parent.to_str() != Some(&getppid().to_string()) {
        return failed(&io::Error::other("its parent is gone"));
    }
    failed(&Command::new(program).args(words).exec())
}

fn failed(error: &io::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(NOT_STARTED)
}
