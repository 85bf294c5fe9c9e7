//! Everything that can be wrong, each with its name, its exit code, what it is in words, and what
//! to do.
//!
//! May import: core.

pub mod exit_code;
pub mod failure;
pub mod finding;
pub mod kinds;
pub(crate) mod trouble;
