//! libcurl's SSL_CTX, and a look at the verification of the server.

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    mem::ManuallyDrop,
};

use foreign_types::ForeignTypeRef;
use openssl::{ssl::SslContextBuilder, x509::X509StoreContextRef};

/// Runs `configure` on the SSL_CTX that libcurl hands to its callback.
pub fn with_ssl_ctx<R>(ctx: *mut c_void, configure: impl FnOnce(&mut SslContextBuilder) -> R) -> R {
    // SAFETY: libcurl with OpenSSL (the caller has checked that) passes a live SSL_CTX which stays
    // its own: so the builder is never dropped.
    let mut builder = ManuallyDrop::new(unsafe { SslContextBuilder::from_ptr(ctx.cast()) });
    configure(&mut builder)
}

/// Looks on while a server's certificate is verified: the verdict on each certificate of its chain.
pub type Witness = fn(ok: bool, &X509StoreContextRef);

thread_local! {
    // The openssl crate's own callback needs an Ssl that it made itself, and here libcurl makes it;
    // OpenSSL's has no room for a pointer of ours. There is one request at a time, on one thread.
    static WITNESS: Cell<Option<Witness>> = const { Cell::new(None) };
}

/// Has a witness look on, without a say in the verdict.
pub fn watch_verification(tls: &mut SslContextBuilder, witness: Witness) {
    WITNESS.set(Some(witness));
    // SAFETY: a live SSL_CTX, and a function of the type that OpenSSL calls here. The mode is
    // libcurl's own for CURLOPT_SSL_VERIFYPEER.
    unsafe {
        openssl_sys::SSL_CTX_set_verify(tls.as_ptr(), openssl_sys::SSL_VERIFY_PEER, Some(verified))
    };
}

extern "C" fn verified(ok: c_int, context: *mut openssl_sys::X509_STORE_CTX) -> c_int {
    if let Some(witness) = WITNESS.get() {
        // SAFETY: OpenSSL hands over the context of the verification that is under way.
        witness(ok != 0, unsafe { X509StoreContextRef::from_ptr(context) });
    }
    ok
}
