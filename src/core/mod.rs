//! What decides, and the values that it decides on. Nothing here reads a clock, a file, a socket or
//! the environment: whatever it needs to know is an argument.
//!
//! May import: nothing.

pub mod backoff;
pub mod boottime;
pub mod by_name;
pub mod class;
pub mod credentials;
pub mod environment_file;
pub mod guard;
pub mod heartbeat;
pub mod lifetime;
pub mod own_files;
pub mod pin_mark;
pub mod pkcs11_uri;
pub mod repeats;
pub mod rotation;
pub mod secret;
pub mod size;
pub mod span;
pub mod suspect;
pub mod uploads;
