//! `edgerotate check` against real parts: every finding with a cause of its own, and a device on which all is well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

#[path = "../support/mod.rs"]
mod support;

mod harness;
mod healthy;
