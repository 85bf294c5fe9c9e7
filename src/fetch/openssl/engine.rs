//! OpenSSL's pkcs11 engine, which libp11 brings.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr::NonNull,
};

use foreign_types::ForeignType;
use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
};

use super::{no_key::NoKey, prompt::Prompt};

type Release = unsafe extern "C" fn(*mut c_void) -> c_int;
type Control = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, c_int) -> c_int;
type LoadKey =
    unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_void, *mut c_void) -> *mut c_void;

/// The engine, started.
pub struct Engine {
    engine: NonNull<c_void>,
    load_key: LoadKey,
    finish: Release,
    free: Release,
}

impl Engine {
    /// Opens the engine on a module.
    ///
    /// # Errors
    /// `None` where this OpenSSL has no engines, else its error queue.
    pub fn open(module: &CStr, pin: Option<&CStr>) -> Result<Self, Option<ErrorStack>> {
        let load_builtin =
            function!("ENGINE_load_builtin_engines": unsafe extern "C" fn()).ok_or(None)?;
        let by_id = function!("ENGINE_by_id": unsafe extern "C" fn(*const c_char) -> *mut c_void)
            .ok_or(None)?;
        let control = function!("ENGINE_ctrl_cmd_string": Control).ok_or(None)?;
        let init = function!("ENGINE_init": Release).ok_or(None)?;
        let finish = function!("ENGINE_finish": Release).ok_or(None)?;
        let free = function!("ENGINE_free": Release).ok_or(None)?;
        let load_key = function!("ENGINE_load_private_key": LoadKey).ok_or(None)?;

        openssl::init();
        // SAFETY: no conditions; it registers the loader of engines that are files.
        unsafe { load_builtin() };
        // SAFETY: a C string; the answer is null or a structural reference of our own.
        let engine = NonNull::new(unsafe { by_id(c"pkcs11".as_ptr()) })
            .ok_or_else(|| Some(ErrorStack::get()))?;
        let set = |name: &CStr, value: &CStr| {
            // SAFETY: the engine is live, both strings end with NUL and are copied by the engine.
            unsafe { control(engine.as_ptr(), name.as_ptr(), value.as_ptr(), 0) == 1 }
        };
        // All controls before ENGINE_init, as openssl.cnf does it. The PIN by a control rather than on demand, as libp11
        // takes none below 4 or above 32 characters on demand.
        let ready = set(c"MODULE_PATH", module)
            && pin.is_none_or(|pin| set(c"PIN", pin))
            // SAFETY: the engine is live.
            && unsafe { init(engine.as_ptr()) == 1 };
        if !ready {
            let errors = ErrorStack::get();
            // SAFETY: gives back the reference of ENGINE_by_id; it is not used again.
            unsafe { free(engine.as_ptr()) };
            return Err(Some(errors));
        }
        // OpenSSL looks in several places for the engine and leaves a note of each where it is not.
        let _ = ErrorStack::get();
        Ok(Self { engine, load_key, finish, free })
    }

    /// Opens a key. It must be dropped before the engine.
    pub fn key(&self, uri: &CStr) -> Result<PKey<Private>, NoKey> {
        let prompt = Prompt::new(None).map_err(NoKey::from)?;
        // SAFETY: engine and prompt are live and the prompt outlives the call; the engine keeps neither.
        let key = unsafe {
            (self.load_key)(self.engine.as_ptr(), uri.as_ptr(), prompt.method(), prompt.data())
        };
        if key.is_null() {
            return Err(NoKey { errors: ErrorStack::get(), pin_needed: prompt.asked_in_vain() });
        }
        // SAFETY: an EVP_PKEY with a reference that is ours.
        Ok(unsafe { PKey::from_ptr(key.cast()) })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: gives back the functional and the structural reference that `open` took, once each; keys are gone.
        unsafe {
            (self.finish)(self.engine.as_ptr());
            (self.free)(self.engine.as_ptr());
        }
    }
}
