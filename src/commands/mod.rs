//! What a person or a unit runs, one file or folder for each command. Nobody imports them.
//!
//! May import: core, problems, settings, system, record, fetch, litestream, replica, outlets.

pub mod check;
pub mod cli;
pub mod fetch;
pub mod run;
pub mod status;
