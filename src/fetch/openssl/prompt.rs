//! What OpenSSL gets when it asks for a PIN.

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
    ptr::{self, NonNull},
};

use openssl::error::ErrorStack;

/// Answers with the PIN if it has one; else with nothing, and remembers that it was asked. A prompt on a terminal would
/// wait for ever, and an empty PIN would cost the token a try.
pub struct Prompt<'a> {
    pin: Option<&'a CStr>,
    asked: Cell<bool>,
    method: NonNull<c_void>,
    destroy: unsafe extern "C" fn(*mut c_void),
}

type Answer = extern "C" fn(*mut c_char, c_int, c_int, *mut c_void) -> c_int;

impl<'a> Prompt<'a> {
    /// # Errors
    /// `None` where this OpenSSL has no such thing, else its error queue.
    pub fn new(pin: Option<&'a CStr>) -> Result<Self, Option<ErrorStack>> {
        let wrap = function!("UI_UTIL_wrap_read_pem_callback": unsafe extern "C" fn(Answer, c_int) -> *mut c_void).ok_or(None)?;
        let destroy =
            function!("UI_destroy_method": unsafe extern "C" fn(*mut c_void)).ok_or(None)?;
        // SAFETY: a function of the type that pem_password_cb has; 0 says that it is not asked for a new PIN.
        let method =
            NonNull::new(unsafe { wrap(answer, 0) }).ok_or_else(|| Some(ErrorStack::get()))?;
        Ok(Self { pin, asked: Cell::new(false), method, destroy })
    }

    /// The UI_METHOD, which lives as long as this does.
    pub fn method(&self) -> *mut c_void {
        self.method.as_ptr()
    }

    /// What OpenSSL has to hand back with each question.
    pub fn data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Whether a PIN was asked for and none was there.
    pub fn asked_in_vain(&self) -> bool {
        self.pin.is_none() && self.asked.get()
    }
}

impl Drop for Prompt<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and not used again.
        unsafe { (self.destroy)(self.method.as_ptr()) };
    }
}

extern "C" fn answer(buffer: *mut c_char, size: c_int, _: c_int, prompt: *mut c_void) -> c_int {
    // SAFETY: OpenSSL hands back the pointer it was given, to a prompt that outlives the call it was given to.
    let prompt = unsafe { &*prompt.cast::<Prompt>() };
    prompt.asked.set(true);
    let Some(pin) = prompt.pin else { return -1 };
    let pin = pin.to_bytes();
    match c_int::try_from(pin.len()) {
        Ok(length) if length <= size => {
            // SAFETY: `buffer` has room for `size` bytes, and is OpenSSL's own.
            unsafe { ptr::copy_nonoverlapping(pin.as_ptr(), buffer.cast(), pin.len()) };
            length
        }
        _ => -1,
    }
}
