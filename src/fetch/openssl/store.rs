//! OpenSSL's pkcs11 provider (OpenSSL 3 and later), asked for a key by its URI through OSSL_STORE.
//!
//! libcurl has a key type of its own for this from 8.13 on, which takes the PIN only from the URI
//! or from openssl.cnf.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr::{self, NonNull},
};

use foreign_types::ForeignType;
use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
    provider::Provider,
};

use super::{no_key::NoKey, prompt::Prompt};

type Open = unsafe extern "C" fn(
    *const c_char,
    *const c_void,
    *mut c_void,
    *const c_void,
    *mut c_void,
) -> *mut c_void;
type Ask = unsafe extern "C" fn(*mut c_void) -> c_int;
type Take = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// OSSL_STORE_INFO_PKEY
const PRIVATE_KEY: c_int = 4;

/// The providers, loaded. They stay so: OpenSSL unloads them at the end of the process.
pub struct Store {
    _default: Provider,
    _pkcs11: Provider,
    open: Open,
    expect: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    load: Take,
    eof: Ask,
    kind: unsafe extern "C" fn(*const c_void) -> c_int,
    key: unsafe extern "C" fn(*const c_void) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    close: Ask,
}

impl Store {
    /// Loads the provider; it finds its module by PKCS11_PROVIDER_MODULE in the environment.
    ///
    /// # Errors
    /// `None` where this OpenSSL has no providers, else its error queue.
    pub fn open() -> Result<Self, Option<ErrorStack>> {
        let open = function!("OSSL_STORE_open": Open).ok_or(None)?;
        let expect =
            function!("OSSL_STORE_expect": unsafe extern "C" fn(*mut c_void, c_int) -> c_int)
                .ok_or(None)?;
        let load = function!("OSSL_STORE_load": Take).ok_or(None)?;
        let eof = function!("OSSL_STORE_eof": Ask).ok_or(None)?;
        let kind =
            function!("OSSL_STORE_INFO_get_type": unsafe extern "C" fn(*const c_void) -> c_int)
                .ok_or(None)?;
        type KeyOf = unsafe extern "C" fn(*const c_void) -> *mut c_void;
        let key = function!("OSSL_STORE_INFO_get1_PKEY": KeyOf).ok_or(None)?;
        let free =
            function!("OSSL_STORE_INFO_free": unsafe extern "C" fn(*mut c_void)).ok_or(None)?;
        let close = function!("OSSL_STORE_close": Ask).ok_or(None)?;
        openssl::init();
        // The default provider first, and by name: once another is loaded by name it no longer
        // comes by itself, and what the token could do as well (digests, random numbers) is to stay
        // with it.
        let default = Provider::load(None, "default").map_err(Some)?;
        let pkcs11 = Provider::load(None, "pkcs11").map_err(Some)?;
        let _ = ErrorStack::get();
        Ok(Self {
            _default: default,
            _pkcs11: pkcs11,
            open,
            expect,
            load,
            eof,
            kind,
            key,
            free,
            close,
        })
    }

    /// Opens a key.
    pub fn key(&self, uri: &CStr, pin: Option<&CStr>) -> Result<PKey<Private>, NoKey> {
        let prompt = Prompt::new(pin).map_err(NoKey::from)?;
        // SAFETY: the prompt outlives the store, which is closed below; null is no post-processing.
        let store = unsafe {
            (self.open)(uri.as_ptr(), prompt.method(), prompt.data(), ptr::null(), ptr::null_mut())
        };
        let Some(store) = NonNull::new(store) else {
            return Err(NoKey { errors: ErrorStack::get(), pin_needed: prompt.asked_in_vain() });
        };
        // SAFETY: the store is live. If it does not know what to expect, the loop below sorts it
        // out.
        unsafe { (self.expect)(store.as_ptr(), PRIVATE_KEY) };
        let mut found = None;
        // SAFETY: the store is live.
        while found.is_none() && unsafe { (self.eof)(store.as_ptr()) } == 0 {
            // SAFETY: as before; the answer is null or ours to free.
            let Some(info) = NonNull::new(unsafe { (self.load)(store.as_ptr()) }) else { break };
            // SAFETY: `info` is live until it is freed here, once; a key from it has a reference
            // that is ours.
            unsafe {
                if (self.kind)(info.as_ptr()) == PRIVATE_KEY {
                    found = NonNull::new((self.key)(info.as_ptr()));
                }
                (self.free)(info.as_ptr());
            }
        }
        let errors = ErrorStack::get();
        // SAFETY: opened above, and not used again.
        unsafe { (self.close)(store.as_ptr()) };
        match found {
            // SAFETY: an EVP_PKEY with a reference that is ours.
            Some(key) => Ok(unsafe { PKey::from_ptr(key.as_ptr().cast()) }),
            None => Err(NoKey { errors, pin_needed: prompt.asked_in_vain() }),
        }
    }
}
