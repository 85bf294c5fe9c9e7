//! What the daemon tells about itself, and what `edgerotate status` makes of it; on real daemons in real trouble.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]

#[path = "../support/mod.rs"]
mod support;

mod record;
