//! `edgerotate status --watch`: the same again and again, until a signal ends it.

use std::{
    io::{self, Write},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    findings::verdict,
    json,
    seen::Seen,
    settings::Settings,
    show::{Manner, show},
};
use crate::system::signals::Signals;

const EVERY: Duration = Duration::from_secs(1);

/// From the top left corner; what an earlier, longer line left is erased.
const HOME: &str = "\u{1b}[H";
const ERASE_LINE: &str = "\u{1b}[K\n";
const ERASE_BELOW: &str = "\u{1b}[J";

/// Shows the state each second, each time by the settings as they are then; answers with the last
/// one's exit code.
///
/// # Errors
/// The answer could not be written, or signals can't be caught.
pub fn watch(
    settings: impl Fn() -> Settings,
    manner: Manner,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        loop {
            let seen = Seen::by(settings());
            let exit_code = show_again(&seen, manner, out)?;
            tokio::select! {
                () = sleep(EVERY) => {}
                _ = signals.next() => return Ok(exit_code),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::status::{DaemonLock, NoRecord, times::Now};

    #[test]
    fn on_a_terminal_each_state_is_in_the_place_of_the_one_before() {
        let seen = Seen {
            directory: "/run/edgerotate".into(),
            settings: Vec::new(),
            lock: DaemonLock::Free,
            record: Err(NoRecord::Missing),
            now: Now {
                boottime: crate::core::boottime::Boottime::from_millis(1),
                wall: "2026-11-22T14:12:11+01:00".parse().unwrap(),
                boot_id: String::new(),
            },
            is_full: false,
        };
        let shown = |in_place| {
            let manner = Manner { json: false, color: false, in_place };
            let mut text = Vec::new();
            assert_eq!(show_again(&seen, manner, &mut text).unwrap(), 69);
            String::from_utf8(text).unwrap()
        };
        let in_place = shown(true);
        assert!(in_place.starts_with("\u{1b}[Hedgerotate: NOT RUNNING\u{1b}[K\n"), "{in_place:?}");
        assert!(in_place.ends_with("\u{1b}[K\n\u{1b}[J"), "{in_place:?}");
        assert!(!shown(false).contains('\u{1b}') && shown(false).ends_with("\n\n"));
    }
}
