//! What the fetch child gives up before it does anything else.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{prctl, signal::Signal},
    unistd::{dup2_stderr, dup2_stdin, dup2_stdout, getpid, getppid, getsid, pipe2, setsid},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    fetch::protocol::{Envelope, FetchOrder, MAX_REPLY_BYTES, REPLY_END, VERSION},
    system::core_dump,
};

/// More than any order is long; a reader without a bound is a fault waiting.
const MAX_ORDER_BYTES: usize = 256 * 1024;

/// The process after it gave up what it must not have.
pub struct Isolated {
    pub order: FetchOrder,
    pub reply: ReplyPipe,
    /// What is printed from now on, by whatever library.
    pub printed: OwnedFd,
}

/// The way back to the parent, out of reach of whatever prints on standard output.
pub struct ReplyPipe(File);

/// Why a child does not begin.
pub enum NotEntered {
    /// What is missing, in words.
    Words(String),
    /// The parent is another build of this program.
    OtherVersion,
}

impl From<String> for NotEntered {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

/// Leaves no core dump, dies with the parent, has no terminal, and catches what others print.
///
/// # Errors
/// In words; there is nobody to tell but the parent, who sees a child that ended without a reply.
pub fn enter() -> Result<Isolated, NotEntered> {
    // First of all: from here on a crash writes no secret anywhere.
    core_dump::forbid().map_err(|e| format!("core dumps can't be ruled out: {e}"))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("not bound to the parent: {e}"))?;
    // No controlling terminal: libp11 would prompt on it for a PIN and wait for ever.
    match setsid() {
        Ok(_) => {}
        // The parent saw to it.
        Err(Errno::EPERM) if getsid(None) == Ok(getpid()) => {}
        Err(Errno::EPERM) => {
            return Err("this is the inner half of `edgerotate fetch`; run that".to_owned().into());
        }
        Err(e) => return Err(format!("no session of its own: {e}").into()),
    }

    let redirect = || -> io::Result<(File, File, OwnedFd)> {
        let order = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let reply = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        // Non-blocking: a module that prints more than the pipe holds loses the rest and does not
        // wait.
        let (printed, printer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        dup2_stdout(&printer)?;
        dup2_stderr(&printer)?;
        dup2_stdin(File::open("/dev/null")?)?;
        Ok((order, reply, printed))
    };
    let (order, reply, printed) = redirect().map_err(|e| format!("no pipes: {e}"))?;

    let order = read_order(order)?;
    // PDEATHSIG says nothing about a parent that had already died.
    if u32::try_from(getppid().as_raw()) != Ok(order.parent) {
        return Err("the parent is gone".to_owned().into());
    }
    Ok(Isolated { order, reply: ReplyPipe(reply), printed })
}

fn read_order(pipe: File) -> Result<FetchOrder, NotEntered> {
    // Allocated once: a buffer that grows leaves copies of the PIN behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_ORDER_BYTES + 1));
    pipe.take(MAX_ORDER_BYTES as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|e| format!("no order: {e}"))?;
    // An order of another version may well have other fields.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if serde_json::from_slice(&text).is_ok_and(|order: Versioned| order.version != VERSION) {
        return Err(NotEntered::OtherVersion);
    }
    // serde_json quotes what it found, which may be the PIN: only the place is said.
    serde_json::from_slice(&text)
        .map_err(|e| format!("no order (line {}, column {})", e.line(), e.column()).into())
}

impl ReplyPipe {
    /// Writes the one reply, and the newline that tells the parent that it is whole. The pipe's end
    /// would not: a process that the module has started may hold it open.
    pub fn send(mut self, envelope: &Envelope<impl Serialize>) -> io::Result<()> {
        let mut text = Zeroizing::new(Vec::with_capacity(2 * MAX_REPLY_BYTES));
        serde_json::to_writer(&mut *text, envelope)?;
        text.push(REPLY_END);
        self.0.write_all(&text)
    }
}
