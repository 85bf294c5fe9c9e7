//! The kernel and systemd, one file for each of their facts: clocks, locks, processes, signals,
//! files that are whole.
//!
//! May import: core.

pub mod atomic_file;
pub mod child_environment;
pub mod clock;
pub mod core_dump;
pub mod directory;
pub mod file_system;
pub mod instance;
pub mod kernel_locks;
pub mod process_end;
pub mod process_group;
pub mod service_manager;
pub mod session;
pub mod signals;
pub mod sockets;
pub mod tied;
pub mod user;
