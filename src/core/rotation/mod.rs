//! When to fetch credentials, when to hand them on, and when to try again: a state machine without
//! effects.
//!
//! Events and the time go in, actions come out; [`Rotation::next_wake`] says when it wants to be
//! called even if nothing happens. It reads no clock, file or socket, so that years run in a second
//! (`simulation`).
//!
//! An action that is under way is a ticket ([`Fetch`], [`Write`], [`Restart`]) which only this
//! module can make and which its result hands back. So "a fetch failed that was never begun", or
//! two fetches at once, can't be written down.
//!
//! Two things go on side by side: *acquiring* credentials, and *handing over* the newest to
//! Litestream. A failing restart must not keep the next fetch from starting, nor the other way
//! round.

mod held;
mod machine;
mod policy;
mod progress;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use self::held::{Held, Left, Resumed};
pub use self::machine::{Action, Event, Fetch, RETRY_AFTER_MAX, Restart, Rotation, Write};
pub use self::policy::{HandOverPolicy, Policy};
pub use self::progress::{Acquiring, HandingOver};
