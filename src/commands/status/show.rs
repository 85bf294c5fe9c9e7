//! One look at the daemon, shown.

use std::io::{self, Write};

use super::{findings::verdict, json, screen, screen::Paint, seen::Seen};

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub json: bool,
    pub color: bool,
    /// A terminal shows each state in the place of the one before.
    pub in_place: bool,
}

/// Shows what was seen; answers with the exit code.
///
/// # Errors
/// The answer could not be written.
pub fn show(seen: &Seen, manner: Manner, out: &mut dyn Write) -> io::Result<u8> {
    let findings = seen.findings();
    if manner.json {
        writeln!(out, "{:#}", json::json(seen, &findings))?;
    } else {
        out.write_all(screen::text(seen, &findings, Paint::new(manner.color)).as_bytes())?;
    }
    out.flush()?;
    Ok(verdict(&findings).exit_code)
}
