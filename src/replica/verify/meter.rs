//! Tells a person that a long restore gets on: one line that is redrawn on a terminal, a line now
//! and then elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use super::workplace::Progress;
use crate::{
    core::{boottime::Boottime, size::size},
    system::clock,
};

/// A restore that is over sooner needs no meter.
const QUIET: Duration = Duration::from_secs(2);

/// In a log, more often would be noise.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

pub struct Meter {
    on_terminal: bool,
    started: Boottime,
    told: Option<Boottime>,
}

impl Meter {
    pub fn start() -> Self {
        Self { on_terminal: io::stderr().is_terminal(), started: clock::boottime(), told: None }
    }

    pub fn elapsed(&self) -> Duration {
        clock::boottime().since(self.started)
    }

    pub fn show(&mut self, progress: &Progress) {
        let now = clock::boottime();
        let elapsed = now.since(self.started);
        let is_soon = self.told.is_some_and(|told| now.since(told) < BETWEEN_LINES);
        if elapsed < QUIET || (!self.on_terminal && is_soon) {
            return;
        }
        self.told = Some(now);
        let line = format!("restoring: {}, {} s", size(progress.bytes), elapsed.as_secs());
        // A progress that nobody can see is no reason to stop.
        let _ = if self.on_terminal {
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.on_terminal && self.told.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
