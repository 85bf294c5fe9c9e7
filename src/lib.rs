//! edgerotate keeps short-lived AWS credentials fresh on a device whose private key never leaves its HSM.
//!
//! The core decides and the edges act: see `docs/architecture.md`.

pub mod atomic_file;
pub mod backoff;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod core_dump;
pub mod credential_process;
pub mod credentials;
pub mod daemon;
pub mod endpoint;
pub mod environment_file;
pub mod failure;
pub mod fetch;
pub mod fetch_child;
pub mod fetch_reply;
pub mod finding;
pub mod heartbeat;
pub mod heartbeat_store;
pub mod kernel_locks;
pub mod lifetime;
pub mod litestream;
pub mod litestream_metrics;
pub mod litestream_version;
pub mod mend;
pub mod pkcs11_uri;
pub mod process_group;
pub mod restart_guard;
pub mod rotation;
pub mod secret;
pub mod service_manager;
pub mod span;
pub mod state_file;
pub mod status;
pub mod suspect;
pub mod uploads;
pub mod verify;
pub mod wal_locks;
