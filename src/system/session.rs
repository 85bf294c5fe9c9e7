//! A child in a session of its own, out of reach of the terminal that this process has.
//!
//! A process of a terminal's session can push input into that terminal (TIOCSTI), and Ctrl-C
//! reaches it. Root's terminal must not be open to a user that root's command became; and Ctrl-C is
//! for this process, which ends its children and tidies up.

use nix::unistd::setsid;
use tokio::process::Command;

/// Has the command lead a session and a process group of its own, without a terminal.
#[allow(unsafe_code, reason = "between fork and exec there is no other way to run anything")]
pub fn lead_own(command: &mut Command) {
    // SAFETY: setsid(2) is async-signal-safe and touches no memory, and nothing else runs here. It
    // is called before the exec, while the child is as undumpable as this process: afterwards
    // another process of the same user could take the program over first.
    unsafe { command.pre_exec(|| Ok(setsid().map(drop)?)) };
}
