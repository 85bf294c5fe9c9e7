//! A PKCS#11 module, asked directly: whether it is one, what it sees, and that it ends well.

use std::{
    ffi::{CStr, CString, c_ulong, c_void},
    mem::{MaybeUninit, transmute},
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr::{self, NonNull},
};

/// Why a file is no usable module.
#[derive(Debug, PartialEq, Eq)]
pub enum NoModule {
    /// The dynamic loader's words.
    NotLoadable(String),
    NotPkcs11,
}

/// A PKCS#11 module that was loaded. It is never unloaded: modules leave threads behind.
///
/// Its list of functions is asked for once: p11-kit answers each C_GetFunctionList with a new
/// instance of the module, and what was started by one list is not started by the next.
pub struct Module {
    functions: &'static FunctionList,
}

/// What the module sees in its slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenTokens {
    pub tokens: Vec<SeenToken>,
    /// The last CKR_… of a slot that has a token which can't be read.
    pub unreadable: Option<c_ulong>,
}

/// A token that the module sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenToken {
    pub slot: c_ulong,
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

/// More than any device has: a module that names more is not believed.
const MOST_SLOTS: usize = 4096;

const C_INITIALIZE: usize = 0;
const C_FINALIZE: usize = 1;
const C_GET_SLOT_LIST: usize = 4;
const C_GET_TOKEN_INFO: usize = 6;
const C_OPEN_SESSION: usize = 12;
const C_LOGIN: usize = 18;

/// CK_C_INITIALIZE_ARGS: the module may use the system's own locks, as libp11 and OpenSSL's
/// provider have it too.
#[repr(C)]
struct Arguments {
    mutexes: [Option<NonNull<c_void>>; 4],
    flags: c_ulong,
    reserved: Option<NonNull<c_void>>,
}

const CKF_OS_LOCKING_OK: c_ulong = 2;

/// CKR_FUNCTION_NOT_SUPPORTED, of a module that does not even have the function.
const NOT_SUPPORTED: c_ulong = 0x54;

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
    /// Loads the module as libp11 will, so that the loader's own words explain why it can't be
    /// loaded.
    pub fn load(path: &Path) -> Result<Self, NoModule> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| NoModule::NotLoadable("its path has a NUL in it".to_owned()))?;
        // SAFETY: a C string. The module's constructors run, which is what it is loaded for.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: the answer is null or a C string that lives until the next call, which comes
            // later.
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
        let get_list = functions.ok_or(NoModule::NotPkcs11)?;
        let mut list = ptr::null();
        // SAFETY: C_GetFunctionList may be called at any time, with a place for one pointer.
        if unsafe { get_list(&mut list) } != 0 {
            return Err(NoModule::NotPkcs11);
        }
        // SAFETY: null, or the module's CK_FUNCTION_LIST, which lives as long as the module, and
        // that is never unloaded.
        let functions = unsafe { list.as_ref() }.ok_or(NoModule::NotPkcs11)?;
        Ok(Self { functions })
    }

    fn function(&self, index: usize) -> Option<NonNull<c_void>> {
        self.functions.functions[index]
    }

    /// Starts the module. OpenSSL's ways to it take it as it is then.
    ///
    /// # Errors
    /// The CKR_… code.
    pub fn start(&self) -> Result<(), c_ulong> {
        let initialize = self.function(C_INITIALIZE).ok_or(NOT_SUPPORTED)?;
        let mut arguments =
            Arguments { mutexes: [None; 4], flags: CKF_OS_LOCKING_OK, reserved: None };
        // SAFETY: the type that PKCS#11 gives to this function, and its arguments, which it does
        // not keep.
        let code = unsafe {
            let initialize = transmute::<
                NonNull<c_void>,
                unsafe extern "C" fn(*mut Arguments) -> c_ulong,
            >(initialize);
            initialize(&mut arguments)
        };
        if code == 0 { Ok(()) } else { Err(code) }
    }

    /// Opens a session, in which nothing is written. It stays open: a login lasts as long as one
    /// does.
    ///
    /// # Errors
    /// The CKR_… code.
    pub fn open_session(&self, slot: c_ulong) -> Result<c_ulong, c_ulong> {
        type OpenSession = unsafe extern "C" fn(
            c_ulong,
            c_ulong,
            *mut c_void,
            *mut c_void,
            *mut c_ulong,
        ) -> c_ulong;
        /// CKF_SERIAL_SESSION: as each session has to be; without CKF_RW_SESSION, as nothing is
        /// written.
        const READ_ONLY: c_ulong = 4;

        let open = self.function(C_OPEN_SESSION).ok_or(NOT_SUPPORTED)?;
        let mut session = 0;
        // SAFETY: the type that PKCS#11 gives to this function; no notifications, and a place for
        // the session.
        let code = unsafe {
            let open = transmute::<NonNull<c_void>, OpenSession>(open);
            open(slot, READ_ONLY, ptr::null_mut(), ptr::null_mut(), &mut session)
        };
        if code == 0 { Ok(session) } else { Err(code) }
    }

    /// Logs in, once, for all sessions of this process.
    ///
    /// # Errors
    /// The CKR_… code.
    pub fn login(&self, session: c_ulong, pin: &[u8]) -> Result<(), c_ulong> {
        type Login = unsafe extern "C" fn(c_ulong, c_ulong, *mut u8, c_ulong) -> c_ulong;
        const CKU_USER: c_ulong = 1;
        const CKR_USER_ALREADY_LOGGED_IN: c_ulong = 0x100;

        let login = self.function(C_LOGIN).ok_or(NOT_SUPPORTED)?;
        let length = c_ulong::try_from(pin.len()).unwrap_or_default();
        // SAFETY: the type that PKCS#11 gives to this function, which reads the PIN and does not
        // change it.
        let code = unsafe {
            let login = transmute::<NonNull<c_void>, Login>(login);
            login(session, CKU_USER, pin.as_ptr().cast_mut(), length)
        };
        if matches!(code, 0 | CKR_USER_ALREADY_LOGGED_IN) { Ok(()) } else { Err(code) }
    }

    /// The tokens that the module sees.
    ///
    /// # Errors
    /// The CKR_… code of C_GetSlotList.
    pub fn tokens(&self) -> Result<SeenTokens, c_ulong> {
        let slots_of = self.function(C_GET_SLOT_LIST).ok_or(NOT_SUPPORTED)?;
        let info_of = self.function(C_GET_TOKEN_INFO).ok_or(NOT_SUPPORTED)?;
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
        let mut count = 0;
        // SAFETY: without a list the number of slots is all that is written (PKCS#11,
        // C_GetSlotList).
        let code = unsafe { slots_of(1, ptr::null_mut(), &mut count) };
        if code != 0 {
            return Err(code);
        }
        // A token that is plugged in between the two calls has room as well.
        let mut slots = vec![0; usize::try_from(count).unwrap_or_default().min(MOST_SLOTS) + 1];
        let mut count = slots.len() as c_ulong;
        // SAFETY: room for `count` slots.
        let code = unsafe { slots_of(1, slots.as_mut_ptr(), &mut count) };
        if code != 0 {
            return Err(code);
        }
        let mut seen = SeenTokens::default();
        for &slot in slots.iter().take(usize::try_from(count).unwrap_or_default()) {
            let mut info = MaybeUninit::<TokenInfo>::zeroed();
            // SAFETY: room for one CK_TOKEN_INFO.
            let code = unsafe { info_of(slot, info.as_mut_ptr()) };
            if code != 0 {
                seen.unreadable = Some(code);
                continue;
            }
            // SAFETY: a CK_TOKEN_INFO, of which every bit pattern is one.
            seen.tokens.push(SeenToken::of(slot, &unsafe { info.assume_init() }));
        }
        Ok(seen)
    }
}

impl SeenToken {
    fn of(slot: c_ulong, info: &TokenInfo) -> Self {
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned();
        Self {
            slot,
            label: text(&info.label),
            manufacturer: text(&info.manufacturer),
            model: text(&info.model),
            serial: text(&info.serial),
            flags: info.flags,
        }
    }
}

impl Drop for Module {
    /// Logs out and ends the module's sessions: libp11 holds on to itself through its keys and
    /// never does.
    fn drop(&mut self) {
        if let Some(finalize) = self.function(C_FINALIZE) {
            // SAFETY: the type that PKCS#11 gives to this function, and the null that it asks for.
            // A module that was never started answers that.
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
