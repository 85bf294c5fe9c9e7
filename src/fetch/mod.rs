//! The fetch: one request to the credential provider, in a process of its own.
//!
//! A vendor's PKCS#11 module can hang, crash, leak, print secrets and ask a terminal for a PIN. Here it does
//! so in a child that holds nothing else, is killed at a deadline and starts every rotation afresh. The parent's
//! side is [`crate::fetch::parent`].
//!
//! In the order in which they work: [`child`] runs the others; `isolation` takes from the process what it must
//! not have; `material` looks at the device's files; `refused_pin` and `pin` guard the PIN; `token` takes the
//! lock and opens the key, through `native`; `request` asks; `answer` and `transport` explain what came. `look` stops
//! before the network, for whoever wants to know whether the device's own part works.

pub mod parent;
pub mod protocol;

pub mod child;
pub mod pin_mark;

pub(crate) mod material;
mod openssl;
