//! Every unsafe line of the fetch: what OpenSSL, PKCS#11 and the dynamic loader offer to C alone.
//!
//! - The ENGINE functions are looked up at run time, as OpenSSL 4 has none and a link against them would keep the
//!   whole program from starting there.
//! - libcurl's SSL_CTX is reached through its callback, so that key and certificate are opened before the request and
//!   each failure can be told from a failure of the network.
//! - After a failure the module itself is asked which tokens it sees: libp11 says "object not found" for all.

// There is no safe way to any of these; the rest of the crate has none of it.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    ffi::{CStr, CString, c_char, c_int, c_ulong, c_void},
    mem::{ManuallyDrop, MaybeUninit, transmute},
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr::{self, NonNull},
};

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
    ssl::SslContextBuilder,
    x509::X509StoreContextRef,
};

/// Looks a function up among what the program is linked with, and gives it its type.
macro_rules! function {
    ($name:literal: $kind:ty) => {{
        // SAFETY: the name ends with NUL; RTLD_DEFAULT needs no handle.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, concat!($name, "\0").as_ptr().cast()) };
        // SAFETY: the type is the one that the library's public header gives to this name, in every version that
        // has it; a null pointer becomes None.
        unsafe { transmute::<*mut c_void, Option<$kind>>(address) }
    }};
}

/// Runs `configure` on the SSL_CTX that libcurl hands to its callback.
pub fn with_ssl_ctx<R>(ctx: *mut c_void, configure: impl FnOnce(&mut SslContextBuilder) -> R) -> R {
    // SAFETY: libcurl with OpenSSL (the caller has checked that) passes a live SSL_CTX which stays its own: so the
    // builder is never dropped.
    let mut builder = ManuallyDrop::new(unsafe { SslContextBuilder::from_ptr(ctx.cast()) });
    configure(&mut builder)
}

/// Looks on while a server's certificate is verified: the verdict on each certificate of its chain.
pub type Witness = fn(ok: bool, &X509StoreContextRef);

thread_local! {
    // The openssl crate's own callback needs an Ssl that it made itself, and here libcurl makes it; OpenSSL's has no
    // room for a pointer of ours. There is one request at a time, on one thread.
    static WITNESS: Cell<Option<Witness>> = const { Cell::new(None) };
}

/// Has a witness look on, without a say in the verdict.
pub fn watch_verification(tls: &mut SslContextBuilder, witness: Witness) {
    WITNESS.set(Some(witness));
    // SAFETY: a live SSL_CTX, and a function of the type that OpenSSL calls here. The mode is libcurl's own for
    // CURLOPT_SSL_VERIFYPEER.
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

/// Gives OpenSSL nothing when it asks for a PIN, and remembers that it asked: a prompt would wait for ever, and an
/// empty PIN would cost the token a try.
#[derive(Default)]
struct Prompt {
    asked: Cell<bool>,
}

extern "C" fn no_pin(_: *mut c_char, _: c_int, _: c_int, prompt: *mut c_void) -> c_int {
    // SAFETY: OpenSSL hands back the pointer it was given together with this function, which outlives the call.
    unsafe { &*prompt.cast::<Prompt>() }.asked.set(true);
    -1
}

type PromptFunction = extern "C" fn(*mut c_char, c_int, c_int, *mut c_void) -> c_int;
type LoadKey =
    unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_void, *mut c_void) -> *mut c_void;
type WrapPrompt = unsafe extern "C" fn(PromptFunction, c_int) -> *mut c_void;

/// OpenSSL's pkcs11 engine, started.
pub struct Engine {
    engine: NonNull<c_void>,
    load_key: LoadKey,
    wrap_prompt: WrapPrompt,
    destroy_prompt: unsafe extern "C" fn(*mut c_void),
    finish: unsafe extern "C" fn(*mut c_void) -> c_int,
    free: unsafe extern "C" fn(*mut c_void) -> c_int,
}

impl Engine {
    /// Opens the engine on a module.
    ///
    /// # Errors
    /// `None` where this OpenSSL has no engines, else its error queue.
    pub fn open(module: &CStr, pin: Option<&CStr>) -> Result<Self, Option<ErrorStack>> {
        let find = || {
            Some((
                function!("ENGINE_load_builtin_engines": unsafe extern "C" fn())?,
                function!("ENGINE_by_id": unsafe extern "C" fn(*const c_char) -> *mut c_void)?,
                function!("ENGINE_ctrl_cmd_string": unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, c_int) -> c_int)?,
                function!("ENGINE_init": unsafe extern "C" fn(*mut c_void) -> c_int)?,
                function!("ENGINE_finish": unsafe extern "C" fn(*mut c_void) -> c_int)?,
                function!("ENGINE_free": unsafe extern "C" fn(*mut c_void) -> c_int)?,
                function!("ENGINE_load_private_key": LoadKey)?,
                function!("UI_UTIL_wrap_read_pem_callback": WrapPrompt)?,
                function!("UI_destroy_method": unsafe extern "C" fn(*mut c_void))?,
            ))
        };
        let (
            load_builtin,
            by_id,
            control,
            init,
            finish,
            free,
            load_key,
            wrap_prompt,
            destroy_prompt,
        ) = find().ok_or(None)?;
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
        // All controls before ENGINE_init, as openssl.cnf does it.
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
        Ok(Self { engine, load_key, wrap_prompt, destroy_prompt, finish, free })
    }

    /// Opens a key. It must be dropped before the engine.
    ///
    /// # Errors
    /// The error queue, and whether a PIN was asked for that nobody gave.
    pub fn key(&self, uri: &CStr) -> Result<PKey<Private>, (ErrorStack, bool)> {
        let prompt = Prompt::default();
        // SAFETY: a function of the type that pem_password_cb has, and not for writing (0).
        let method = unsafe { (self.wrap_prompt)(no_pin, 0) };
        if method.is_null() {
            return Err((ErrorStack::get(), false));
        }
        // SAFETY: engine and method are live; the prompt outlives the call, and the engine keeps neither.
        let key = unsafe {
            (self.load_key)(
                self.engine.as_ptr(),
                uri.as_ptr(),
                method,
                ptr::from_ref(&prompt).cast_mut().cast(),
            )
        };
        let errors = ErrorStack::get();
        // SAFETY: made above, and not used again.
        unsafe { (self.destroy_prompt)(method) };
        if key.is_null() {
            return Err((errors, prompt.asked.get()));
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

/// Why a file is no usable module.
#[derive(Debug, PartialEq, Eq)]
pub enum NoModule {
    /// The dynamic loader's words.
    NotLoadable(String),
    NotPkcs11,
}

/// A PKCS#11 module that was loaded. It is never unloaded: modules leave threads behind.
pub struct Module {
    functions: unsafe extern "C" fn(*mut *const FunctionList) -> c_ulong,
}

/// A token that the module sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenToken {
    pub label: String,
    pub manufacturer: String,
    pub model: String,
    pub serial: String,
    /// CKF_….
    pub flags: c_ulong,
}

/// CK_FUNCTION_LIST: the functions stand in the order of the standard, each a pointer.
#[repr(C)]
struct FunctionList {
    version: [u8; 2],
    functions: [Option<NonNull<c_void>>; 68],
}

const C_FINALIZE: usize = 1;
const C_GET_SLOT_LIST: usize = 4;
const C_GET_TOKEN_INFO: usize = 6;

/// CK_TOKEN_INFO.
#[repr(C)]
struct TokenInfo {
    label: [u8; 32],
    manufacturer: [u8; 32],
    model: [u8; 16],
    serial: [u8; 16],
    flags: c_ulong,
    counts: [c_ulong; 10],
    versions: [u8; 4],
    time: [u8; 16],
}

impl Module {
    /// Loads the module as libp11 will, so that the loader's own words explain why it can't be loaded.
    pub fn load(path: &Path) -> Result<Self, NoModule> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| NoModule::NotLoadable("its path has a NUL in it".to_owned()))?;
        // SAFETY: a C string. The module's constructors run, which is what it is loaded for.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: the answer is null or a C string that lives until the next call, which comes later.
            let words = unsafe {
                let words = libc::dlerror();
                if words.is_null() {
                    String::new()
                } else {
                    CStr::from_ptr(words).to_string_lossy().into_owned()
                }
            };
            return Err(NoModule::NotLoadable(words));
        }
        // SAFETY: a live handle and a C string.
        let address = unsafe { libc::dlsym(handle, c"C_GetFunctionList".as_ptr()) };
        // SAFETY: the type that PKCS#11 gives to this name; null becomes None.
        let functions = unsafe {
            transmute::<
                *mut c_void,
                Option<unsafe extern "C" fn(*mut *const FunctionList) -> c_ulong>,
            >(address)
        };
        functions.map(|functions| Self { functions }).ok_or(NoModule::NotPkcs11)
    }

    fn function(&self, index: usize) -> Option<NonNull<c_void>> {
        let mut list = ptr::null();
        // SAFETY: C_GetFunctionList may be called at any time, with a place for one pointer.
        if unsafe { (self.functions)(&mut list) } != 0 {
            return None;
        }
        // SAFETY: null, or the module's CK_FUNCTION_LIST, which is static.
        unsafe { list.as_ref() }.and_then(|list| list.functions[index])
    }

    /// The tokens that the module sees; `None` if it is not started or does not answer.
    pub fn tokens(&self) -> Option<Vec<SeenToken>> {
        let (slots_of, info_of) =
            (self.function(C_GET_SLOT_LIST)?, self.function(C_GET_TOKEN_INFO)?);
        // SAFETY: the types that PKCS#11 gives to the functions at these two places.
        let (slots_of, info_of) = unsafe {
            (
                transmute::<
                    NonNull<c_void>,
                    unsafe extern "C" fn(u8, *mut c_ulong, *mut c_ulong) -> c_ulong,
                >(slots_of),
                transmute::<
                    NonNull<c_void>,
                    unsafe extern "C" fn(c_ulong, *mut TokenInfo) -> c_ulong,
                >(info_of),
            )
        };
        // More slots than any device has; a longer list answers "buffer too small" and is not looked at.
        let mut slots = [0; 64];
        let mut count = slots.len() as c_ulong;
        // SAFETY: room for `count` slots.
        if unsafe { slots_of(1, slots.as_mut_ptr(), &mut count) } != 0 {
            return None;
        }
        let seen = slots.iter().take(usize::try_from(count).ok()?).filter_map(|&slot| {
            let mut info = MaybeUninit::<TokenInfo>::zeroed();
            // SAFETY: room for one CK_TOKEN_INFO, of which every bit pattern is one.
            let info =
                unsafe { (info_of(slot, info.as_mut_ptr()) == 0).then(|| info.assume_init()) }?;
            let text = |bytes: &[u8]| {
                String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned()
            };
            Some(SeenToken {
                label: text(&info.label),
                manufacturer: text(&info.manufacturer),
                model: text(&info.model),
                serial: text(&info.serial),
                flags: info.flags,
            })
        });
        Some(seen.collect())
    }
}

impl Drop for Module {
    /// Logs out and ends the module's sessions: libp11 holds on to itself through its keys and never does.
    fn drop(&mut self) {
        if let Some(finalize) = self.function(C_FINALIZE) {
            // SAFETY: the type that PKCS#11 gives to this function, and the null that it asks for. A module that was
            // never started answers that.
            unsafe {
                let finalize = transmute::<
                    NonNull<c_void>,
                    unsafe extern "C" fn(*mut c_void) -> c_ulong,
                >(finalize);
                finalize(ptr::null_mut());
            }
        }
    }
}
