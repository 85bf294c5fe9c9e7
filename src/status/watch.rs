//! `edgerotate status --watch`: the same again and again, until a signal ends it.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use tokio::time::sleep;

use super::{Manner, Seen, findings::verdict, json, show};
use crate::verify::signals::Signals;

const EVERY: Duration = Duration::from_secs(1);

/// From the top left corner; what an earlier, longer line left is erased.
const HOME: &str = "\u{1b}[H";
const ERASE_LINE: &str = "\u{1b}[K\n";
const ERASE_BELOW: &str = "\u{1b}[J";

/// Shows the state each second; answers with the last one's exit code.
///
/// # Errors
/// The answer could not be written, or signals can't be caught.
pub fn watch(directory: &Path, manner: Manner, out: &mut dyn Write) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        loop {
            let seen = Seen::look(directory);
            let exit_code = show_again(&seen, manner, out)?;
            tokio::select! {
                () = sleep(EVERY) => {}
                () = signals.next() => return Ok(exit_code),
            }
        }
    })
}

fn show_again(seen: &Seen, manner: Manner, out: &mut dyn Write) -> io::Result<u8> {
    if manner.json {
        // A line each, for a program that reads lines.
        let findings = seen.findings();
        writeln!(out, "{}", json::json(seen, &findings))?;
        out.flush()?;
        return Ok(verdict(&findings).exit_code);
    }
    let mut text = Vec::new();
    let exit_code = show(seen, manner, &mut text)?;
    let text = String::from_utf8_lossy(&text);
    if manner.in_place {
        write!(out, "{HOME}{}{ERASE_BELOW}", text.replace('\n', ERASE_LINE))?;
    } else {
        writeln!(out, "{text}")?;
    }
    out.flush()?;
    Ok(exit_code)
}
