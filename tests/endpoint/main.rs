//! Credentials without a restart: the loopback endpoint and `edgerotate credential-process`, with
//! the clients that devices have.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]
#![allow(clippy::print_stderr, reason = "what was measured is worth a line")]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod gaps;
mod hostile;
mod load;
mod outage;
mod process;
mod programs;
mod protocol;
