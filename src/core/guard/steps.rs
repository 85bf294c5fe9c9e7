//! What goes into the machine beside looks, and what comes out of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::look::Look;

/// Up to where a guard is held.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Litestream runs for so long and gives no sign of reading this database.
    pub time: Duration,
    /// Bytes of the WAL that are in use.
    pub wal: u64,
    /// Something waits to be read for so long: it stands still.
    pub still: Duration,
}

impl Limits {
    /// Where heartbeats pause, and where nobody guards a checkpoint is made.
    pub fn large(&self) -> u64 {
        self.wal / 4 * 3
    }
}

/// Who keeps a WAL from being begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeper {
    Guard,
    Litestream,
    /// The guard could not be had.
    Nobody,
    /// The guard was let go at a limit.
    GivenUp,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Looked(Look),
    /// The guard was taken, or renewed.
    Taken,
    /// It could not be had. `missing`: there is no database.
    NotTaken {
        missing: bool,
    },
    /// Litestream is about to be restarted.
    RestartBegins,
    RestartOver,
    /// `replicate -once` has run, and Litestream's own start follows.
    Mended,
    /// `replicate -once` begins.
    MendingBegins,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take the guard, or renew it; the answer is [`Event::Taken`] or [`Event::NotTaken`].
    Take,
    LetGo(Proof),
    /// Let it go without a proof.
    GiveUp,
    /// The replica may lack rows.
    Mark(MarkReason),
    /// Copy the WAL into the database: the replica is marked already, and the disk must not fill.
    Checkpoint,
    /// Give Litestream something to read, in a table of its own.
    Nudge,
    AskForRestart(RestartCause),
    /// The WAL is beyond its limit, and Litestream keeps it.
    SayLarge,
}

/// Why the guard is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Read,
    Lock,
}

/// Why Litestream is to be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartCause {
    /// It keeps to a file that was exchanged.
    Exchanged,
    /// It runs, and reads nothing of what is written.
    StandsStill,
}

/// Why a replica may lack rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkReason {
    Unread,
    Unproven,
    Exchanged,
    /// Litestream started while the guard could not be had.
    Unguarded,
    TooLong,
    TooLarge,
    Copied,
}
