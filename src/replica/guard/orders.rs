//! What the guard's thread is told, and what it tells.

use std::path::PathBuf;

use tokio::sync::oneshot;

use crate::{
    core::suspect::Suspect,
    replica::mend::{MendOutcome, Wanted},
};

/// What the thread is told.
#[derive(Debug)]
pub(super) enum GuardOrder {
    Take {
        /// Not the first try of this restart.
        again: bool,
        taken: oneshot::Sender<()>,
    },
    /// The restart is over; `restarted`: Litestream was seen to start.
    Over { restarted: bool },
    /// Litestream is about to start: which replicas want a new snapshot first?
    Asked { wanted: oneshot::Sender<Wanted> },
    /// What came of it.
    Mended(MendOutcome),
    /// The replica of this database may lack rows, or all.
    Suspect { database: Option<PathBuf>, why: String, kept: oneshot::Sender<bool> },
    /// Something changed: it is worth a look.
    Changed,
    /// The daemon ends: is what was seen last in the record?
    End { recorded: oneshot::Sender<()> },
}

/// What the thread tells.
#[derive(Debug)]
pub enum News {
    /// What is suspect, each time that changes; `None`: that can't be told.
    Suspect(Option<Suspect>),
    /// Litestream is to be restarted, as something is to be mended and its start will mend it.
    RestartWanted,
}
