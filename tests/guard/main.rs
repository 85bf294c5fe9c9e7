//! The guard over Litestream's restarts, with the real Litestream of both generations, and another
//! program that does to the databases what loses rows.
//!
//! Nothing here measures a duration to judge it: a test waits until something is seen, with a
//! deadline that a busy machine keeps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]
#![allow(clippy::print_stderr, reason = "what was lost without a guard is worth a line")]

#[path = "../support/mod.rs"]
mod support;

mod harness;
mod hazards;
mod load;
mod mend;
mod offline;
mod restarts;
mod s3;
mod soak;
mod unkept;
mod uploads;

use support::application;
