pub mod guard;
pub mod heartbeat_store;
pub(crate) mod heartbeat_thread;
pub mod mend;
pub mod suspect;
pub(crate) mod uploads_watch;
pub mod verify;
pub mod wal_locks;
