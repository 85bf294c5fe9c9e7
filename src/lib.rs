//! edgerotate keeps short-lived AWS credentials fresh on a device whose private key never leaves
//! its HSM.
//!
//! The core decides and the edges act: see `docs/architecture.md`.
pub mod commands;
pub mod core;
pub mod fetch;
pub mod litestream;
pub mod outlets;
pub mod problems;
pub mod record;
pub mod replica;
pub mod settings;
pub mod system;
