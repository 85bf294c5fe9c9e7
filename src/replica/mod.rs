//! What keeps the rows and proves that they are in S3: the heartbeat, the guard over the WAL, the
//! marks of replicas that may lack rows, the forced snapshot, and the restore that is compared.
//!
//! May import: core, problems, settings, system, record, litestream.

pub mod guard;
pub mod heartbeat_store;
pub(crate) mod heartbeat_thread;
pub mod mend;
pub mod sqlite;
pub mod suspect;
pub(crate) mod uploads_watch;
pub mod verify;
pub mod wal_locks;
