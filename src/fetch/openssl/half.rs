//! A key that has no public half.

use foreign_types::ForeignTypeRef;
use openssl::{
    error::ErrorStack,
    pkey::{HasPublic, Id, PKeyRef, Private},
};

/// Gives a P-256 (or other EC) key of an engine the public half that another has; false where it
/// can't be done.
///
/// libp11 hands out an EC_KEY of OpenSSL's, whose private operations go to the token. Without a
/// public key object in the token it has no point, and OpenSSL refuses it for TLS.
pub fn give_public_half(key: &PKeyRef<Private>, other: &PKeyRef<impl HasPublic>) -> bool {
    if key.id() != Id::EC || other.id() != Id::EC {
        return false;
    }
    let (Ok(mine), Ok(theirs)) = (key.ec_key(), other.ec_key()) else {
        let _ = ErrorStack::get();
        return false;
    };
    // SAFETY: both are live EC_KEYs; `theirs` has a group and a point, as it is a whole public key,
    // and both are copied. `mine` is the one that `key` holds, so that what it gets is there for
    // every user of `key`.
    let given = unsafe {
        let (mine, theirs) = (mine.as_ptr(), theirs.as_ptr());
        let group = openssl_sys::EC_KEY_get0_group(theirs);
        let has_group = !openssl_sys::EC_KEY_get0_group(mine).is_null();
        (has_group || openssl_sys::EC_KEY_set_group(mine, group) == 1)
            && openssl_sys::EC_KEY_set_public_key(mine, openssl_sys::EC_KEY_get0_public_key(theirs))
                == 1
    };
    let _ = ErrorStack::get();
    given && other.public_eq(key)
}
