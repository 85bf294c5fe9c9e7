//! Every unsafe line of the fetch: what OpenSSL, PKCS#11 and the dynamic loader offer to C alone.
//!
//! - libcurl's SSL_CTX is reached through its callback (`tls`), so that key and certificate are
//!   opened before the request and each failure can be told from a failure of the network.
//! - A key in a token is opened by OpenSSL's engine (`engine`) or its provider (`store`); neither
//!   ever gets to prompt (`prompt`).
//! - After a failure the module itself is asked which tokens it sees (`module`): libp11 says
//!   "object not found" for all.
//!
//! Functions that not every OpenSSL has are looked up at run time: a link against them would keep
//! the whole program from starting where they are gone, as the ENGINE functions are in OpenSSL 4.

// There is no safe way to any of these; the rest of the crate has none of it.
#![allow(unsafe_code)]

/// Looks a function up among what the program is linked with, and gives it its type.
macro_rules! function {
    ($name:literal: $kind:ty) => {{
        let name = concat!($name, "\0").as_ptr().cast();
        // SAFETY: the name ends with NUL; RTLD_DEFAULT needs no handle.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name) };
        // SAFETY: the type is the one that the library's public header gives to this name, in every
        // version that has it; a null pointer becomes None.
        unsafe { std::mem::transmute::<*mut std::ffi::c_void, Option<$kind>>(address) }
    }};
}

mod engine;
mod half;
mod module;
mod no_key;
mod prompt;
mod store;
mod tls;

pub use self::engine::Engine;
pub use self::half::give_public_half;
pub use self::module::{Module, NoModule, SeenToken, SeenTokens};
pub use self::no_key::NoKey;
pub use self::store::Store;
pub use self::tls::{watch_verification, with_ssl_ctx};
