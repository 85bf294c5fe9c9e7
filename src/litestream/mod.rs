//! Litestream as a program and as a service: it is run for an answer, restarted, told from other versions, and its
//! metrics are read.
//!
//! May import: core, problems, settings, system.

pub(crate) mod answer;
pub mod metrics;
pub mod restart;
pub(crate) mod run;
pub mod version;
