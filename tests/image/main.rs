//! A device booted from an image: the shipped units under a systemd of their own, a read-only root,
//! a data partition, SoftHSM and the real Litestream; the cloud is outside.
//!
//! Nothing here measures a duration to judge it: a test waits until something is seen, with a
//! deadline that a busy machine keeps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]

#[path = "../support/mod.rs"]
mod support;

mod boot;
mod first_day;
mod fleet;
mod gate;
mod machine;
mod outage;
mod parts;
mod restarts;
mod sandbox;

use std::time::Duration;

use machine::Machine;
use support::{Generation, skip};

/// Short enough for a test to see rotations, long enough for a busy machine to restart Litestream
/// in between.
const LIFETIME: Duration = Duration::from_secs(24);

/// A provisioned device, or a skip.
fn machine(name: &str, generation: Generation) -> Option<Machine> {
    or_skip(Machine::new(name, generation, LIFETIME))
}

fn or_skip(machine: Result<Machine, String>) -> Option<Machine> {
    machine.map_err(|reason| skip(&reason)).ok()
}
