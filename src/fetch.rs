//! The fetch: one request to the credential provider, in a process of its own.
//!
//! A vendor's PKCS#11 module can hang, crash, leak, print secrets and ask a terminal for a PIN. Here it does
//! so in a child that holds nothing else, is killed at a deadline and starts every rotation afresh. The parent's
//! side is [`crate::fetch_child`].
//!
//! In the order in which they work: [`child`] runs the others; `isolation` takes from the process what it must
//! not have; `material` looks at the device's files; `refused_pin` and `pin` guard the PIN; `token` takes the
//! lock and opens the key, through `native`; `request` asks; `answer` and `transport` explain what came. `look` stops
//! before the network, for whoever wants to know whether the device's own part works.

pub mod child;
pub mod refused_pin;

mod answer;
mod elf;
mod isolation;
mod look;
pub(crate) mod material;
mod native;
mod notes;
mod observed;
mod pin;
mod request;
mod text;
mod token;
mod token_faults;
mod transport;
