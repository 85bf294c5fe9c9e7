//! The guard of one database, as a state machine without effects.
//!
//! Somebody must keep the WAL from being begun anew before Litestream has read it: Litestream
//! itself by its read transaction, or the guard by one of its own. Looks and other events go in
//! with their time, actions come out. The machine reads no file, lock or clock, so that thousands
//! of hours of bad luck run in a second (`simulation`).
//!
//! What counts as proof, and what each proof proves:
//!
//! - *Litestream has read on since this start, and holds a lock* ([`Proof::Read`]). Litestream 0.5
//!   takes its lock first and then asks S3. Refused, it drops the lock again; only after an answer
//!   does it read. A position that has moved since the start, in the WAL of now, is therefore that
//!   of a Litestream that keeps its lock until it is told to stop.
//! - *It holds a lock for longer than any answer of S3 takes* ([`Proof::Lock`]), where the position
//!   can't be read. It proves less: only that this start was not refused.
//! - *Litestream 0.3 holds a lock* ([`Proof::Lock`]): it asks S3 for nothing before, and never
//!   drops it.
//! - *The WAL began anew, and all of the old one had been read*: see [`evidence`]. It is asked at
//!   every look, whoever keeps the WAL, so that what happened between two looks, or while no daemon
//!   ran, is found out afterwards.
//!
//! What can't be shown is marked. Looking never ends.

pub mod evidence;
mod hand_over;
pub mod look;
mod machine;
mod pace;
mod rules;
#[cfg(test)]
mod simulation;
mod steps;
#[cfg(test)]
mod tests;

pub use self::{
    machine::{Machine, Memory},
    steps::{Action, Event, Keeper, Limits, MarkReason, Proof, RestartCause},
};
