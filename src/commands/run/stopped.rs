//! Why the daemon ends by itself, and the exit code of it.

use std::{io, process::ExitCode};

use crate::problems::exit_code;

/// Why the daemon could not run. Each has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    Settings,
    OtherInstance,
    Device,
}

impl From<Stopped> for ExitCode {
    fn from(stopped: Stopped) -> Self {
        Self::from(match stopped {
            Stopped::Settings => exit_code::SETTINGS,
            Stopped::OtherInstance => exit_code::AWAY,
            Stopped::Device => exit_code::DEVICE,
        })
    }
}

/// Logs why the daemon can't run.
pub fn device(what: &'static str) -> impl Fn(io::Error) -> Stopped {
    move |e| {
        log::error!("{what}: {e}");
        Stopped::Device
    }
}
