//! What hands the credentials to programs that ask: the loopback endpoint, and
//! `credential_process`.
//!
//! May import: core, problems, settings, system, record, fetch.

pub mod credential_process;
pub mod endpoint;
pub mod state_file;
