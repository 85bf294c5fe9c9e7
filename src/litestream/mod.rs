//! Litestream as a program and as a service: it is run for an answer, restarted, told from other
//! versions, and its metrics are read.
//!
//! May import: core, problems, settings, system.

pub(crate) mod answer;
pub mod configuration;
pub mod ltx;
pub mod metrics;
pub mod place;
pub mod position;
pub mod process;
pub mod restart;
pub(crate) mod run;
pub mod shadow_wal;
pub mod version;
