//! edgerotate keeps short-lived AWS credentials fresh on a device whose private key never leaves its HSM.
//!
//! The core decides and the edges act: see `docs/architecture.md`.

pub mod backoff;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod failure;
pub mod fetch;
pub mod fetch_child;
pub mod fetch_reply;
pub mod lifetime;
pub mod pkcs11_uri;
pub mod rotation;
pub mod secret;
