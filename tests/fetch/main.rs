//! The fetch against real parts: SoftHSM with a key that can't be read out, libp11, libcurl, and tests/cloud.
//!
//! Each test has a token, a cloud and directories of its own, so that they run side by side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(
    clippy::print_stderr,
    reason = "each failure's line is worth reading in the test's output"
)]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod files;
mod provider;
mod supervision;
mod tls;
mod token;
