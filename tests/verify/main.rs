//! `edgerotate verify` against real parts: both generations of Litestream, and an S3 that checks
//! what AWS checks.
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

mod applications;
mod as_root;
mod harness;
mod lag;
mod manners;
mod replica;
mod trouble;
