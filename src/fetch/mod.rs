//! The fetch: one request to the credential provider, in a process of its own.
//!
//! A vendor's PKCS#11 module can hang, crash, leak, print secrets and ask a terminal for a PIN.
//! Here it does so in a child that holds nothing else, is killed at a deadline and starts every
//! rotation afresh. [`parent`] starts it and waits, [`child`] is what it does, [`protocol`] what
//! the two say to each other; [`pin_mark`] remembers a PIN that was refused, `material` looks at
//! the device's files, and `openssl` has every unsafe line.
//!
//! May import: core, problems, settings, system.

mod basic_constraints;
pub mod parent;
mod pem;
pub mod protocol;

pub mod child;
pub mod pin_mark;

pub(crate) mod material;
mod openssl;
