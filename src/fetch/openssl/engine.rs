//! OpenSSL's pkcs11 engine, which libp11 brings.

use std::{
    ffi::{CStr, c_char, c_int, c_long, c_void},
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

/// ENGINE_ctrl, whose last argument is a function that these controls have no use for.
type Point = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    c_long,
    *mut c_void,
    Option<unsafe extern "C" fn()>,
) -> c_int;

const ENGINE_CTRL_SET_USER_INTERFACE: c_int = 4;
const ENGINE_CTRL_SET_CALLBACK_DATA: c_int = 5;

/// The engine, started.
pub struct Engine {
    engine: NonNull<c_void>,
    /// It was given the PIN already, and asks nobody before it logs in.
    has_pin: bool,
    load_key: LoadKey,
    finish: Release,
    free: Release,
    prompt: Box<Prompt>,
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
        let prompt = Prompt::new(pin)?;
        // In the list before anybody asked for it: by openssl.cnf, which may have given it a PIN.
        let is_configured = is_listed();
        // SAFETY: no conditions; it registers the loader of engines that are files.
        unsafe { load_builtin() };
        // SAFETY: a C string; the answer is null or a structural reference of our own.
        let engine = NonNull::new(unsafe { by_id(c"pkcs11".as_ptr()) })
            .ok_or_else(|| Some(ErrorStack::get()))?;
        let set = |name: &CStr, value: &CStr| {
            // SAFETY: the engine is live, both strings end with NUL and are copied by the engine.
            unsafe { control(engine.as_ptr(), name.as_ptr(), value.as_ptr(), 0) == 1 }
        };
        // All controls before ENGINE_init, as openssl.cnf does it. The PIN on demand, so that what
        // hangs before the login is known to be before it; but libp11 takes none below 4 or above
        // 32 characters on demand.
        let at_once = pin.filter(|pin| is_configured || !(4..=32).contains(&pin.to_bytes().len()));
        // The prompt by controls as well: libp11 asks it again for the signatures of a key with
        // CKA_ALWAYS_AUTHENTICATE.
        if let Some(point) = function!("ENGINE_ctrl": Point) {
            for (what, at) in [
                (ENGINE_CTRL_SET_USER_INTERFACE, prompt.method()),
                (ENGINE_CTRL_SET_CALLBACK_DATA, prompt.data()),
            ] {
                // SAFETY: the engine is live; the prompt lives as long as the engine is used.
                unsafe { point(engine.as_ptr(), what, 0, at, None) };
            }
        }
        let ready = set(c"MODULE_PATH", module)
            && at_once.is_none_or(|pin| set(c"PIN", pin))
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
        Ok(Self { engine, has_pin: at_once.is_some(), load_key, finish, free, prompt })
    }

    /// Opens a key. It must be dropped before the engine. `before_login` says whether the PIN may
    /// go to the token; it is asked right before that.
    pub fn key(
        &self,
        uri: &CStr,
        before_login: &mut dyn FnMut() -> bool,
    ) -> Result<PKey<Private>, NoKey> {
        if self.has_pin && !before_login() {
            return Err(NoKey { errors: ErrorStack::get(), pin_needed: false });
        }
        let (method, data) = (self.prompt.method(), self.prompt.data());
        let key = self.prompt.with(before_login, || {
            // SAFETY: the engine is live, and so is the prompt, as long as the engine and its keys.
            unsafe { (self.load_key)(self.engine.as_ptr(), uri.as_ptr(), method, data) }
        });
        if key.is_null() {
            let pin_needed = self.prompt.asked_in_vain();
            return Err(NoKey { errors: ErrorStack::get(), pin_needed });
        }
        // SAFETY: an EVP_PKEY with a reference that is ours.
        Ok(unsafe { PKey::from_ptr(key.cast()) })
    }
}

/// Whether OpenSSL has an engine of this name already.
fn is_listed() -> bool {
    let first = function!("ENGINE_get_first": unsafe extern "C" fn() -> *mut c_void);
    let next = function!("ENGINE_get_next": unsafe extern "C" fn(*mut c_void) -> *mut c_void);
    let id = function!("ENGINE_get_id": unsafe extern "C" fn(*const c_void) -> *const c_char);
    let free = function!("ENGINE_free": Release);
    let (Some(first), Some(next), Some(id), Some(free)) = (first, next, id, free) else {
        return false;
    };
    // SAFETY: null, or an engine with a reference of ours, which ENGINE_get_next and ENGINE_free
    // give back.
    unsafe {
        let mut engine = first();
        while !engine.is_null() {
            if CStr::from_ptr(id(engine)) == c"pkcs11" {
                free(engine);
                return true;
            }
            engine = next(engine);
        }
    }
    false
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: gives back the functional and the structural reference that `open` took, once
        // each; keys are gone.
        unsafe {
            (self.finish)(self.engine.as_ptr());
            (self.free)(self.engine.as_ptr());
        }
    }
}
