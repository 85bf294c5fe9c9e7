//! What is the same for each database: how often it is restored, and how SQLite is let work
//! meanwhile.

use std::{sync::Arc, time::Duration};

use tokio::task::spawn_blocking;

use super::database::Interrupts;
use crate::{
    problems::{exit_code::DEVICE, trouble::Trouble},
    system::signals::Signals,
};

/// A doubt about another table is looked into so often, in all.
pub const MOST_RESTORES: u32 = 4;

/// Between two restores, Litestream gets at least this long to upload.
pub const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// How long a restore took, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreFigures {
    pub took: Duration,
    pub bytes: u64,
}

/// Lets SQLite work where it may wait, and ends it when a signal comes.
pub async fn on_databases<T: Send + 'static>(
    signals: &mut Signals,
    work: impl FnOnce(&Interrupts) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let interrupts = Arc::new(Interrupts::default());
    let mut task = spawn_blocking({
        let interrupts = Arc::clone(&interrupts);
        move || work(&interrupts)
    });
    let ended = tokio::select! {
        ended = &mut task => ended,
        _ = signals.next() => {
            interrupts.interrupt();
            let _ = task.await;
            return Err(Trouble::interrupted());
        }
    };
    ended.unwrap_or_else(|e| {
        Err(Trouble {
            cause: "device",
            exit_code: DEVICE,
            what: e.to_string(),
            remedy: "report it",
        })
    })
}
