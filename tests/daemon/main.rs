//! The daemon against real parts: a token, a cloud that checks what AWS checks, both generations of
//! Litestream.
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
mod harness;
mod heartbeat;
mod kills;
mod lifecycle;
mod outage;
mod pin;
mod restart;
mod rotation;
mod secrecy;
mod service;
mod settings;
