//! What takes long and is a task of its own: how it ends.

use crate::{
    core::rotation::{Fetch, Restart, Write},
    fetch::protocol::FetchReply,
    litestream::restart::{RestartError, Start},
};

/// A task that has ended.
pub enum Done {
    Fetched(Fetch, FetchReply),
    /// The guard is taken, or was waited for long enough (`false`).
    Guarded(WaitsForGuard, bool),
    Restarted(Restart, Result<Option<Start>, RestartError>),
}

/// What waits for the guard.
pub enum WaitsForGuard {
    Write(Write),
    /// Not the first try: the guard of that one may have been let go since.
    Again(Restart),
}
