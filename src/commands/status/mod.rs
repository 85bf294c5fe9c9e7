//! `edgerotate status`: what the daemon does, for a person and for programs.
//!
//! The daemon leaves a [`record`] in the runtime directory and holds a lock there as long as it
//! lives. This reads both, and nothing else: it needs no more rights than to read that directory,
//! and disturbs nobody. What is wrong ([`findings`]), the [`screen`] and the JSON are made of what
//! was seen, without a look at clocks or files.

mod finding;
pub mod findings;
mod json;
mod screen;
mod seen;
pub mod settings;
mod show;
#[cfg(test)]
pub(crate) mod tests;
pub mod times;
mod watch;

use std::io::{self, Write};

use self::settings::Settings;

pub use self::{
    finding::StatusFinding,
    seen::{DaemonLock, NoRecord, Seen},
    show::Manner,
    watch::watch,
};

/// Shows what the daemon does; answers with the exit code.
///
/// # Errors
/// The answer could not be written.
pub fn run(settings: Settings, manner: Manner, out: &mut dyn Write) -> io::Result<u8> {
    show::show(&Seen::by(settings), manner, out)
}
