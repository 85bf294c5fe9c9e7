//! `edgerotate check` against real parts: every finding with a cause of its own, and a device on
//! which all is well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod causes;
mod gate;
mod harness;
mod healthy;
mod of_certificates;
mod of_databases;
mod of_files;
mod of_litestream;
mod of_settings;
