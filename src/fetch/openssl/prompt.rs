//! What OpenSSL gets when it asks for a PIN.

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
    mem,
    ptr::{self, NonNull},
};

use openssl::error::ErrorStack;
use zeroize::Zeroizing;

/// Answers with the PIN if it has one; else with nothing, and remembers that it was asked. A prompt
/// on a terminal would wait for ever, and an empty PIN would cost the token a try.
pub struct Prompt {
    pin: Option<Zeroizing<Vec<u8>>>,
    asked: Cell<bool>,
    /// Whether the PIN may be handed out, for as long as somebody wants to be asked.
    before: Cell<Option<NonNull<dyn FnMut() -> bool>>>,
    method: NonNull<c_void>,
    destroy: unsafe extern "C" fn(*mut c_void),
}

type Answer = extern "C" fn(*mut c_char, c_int, c_int, *mut c_void) -> c_int;

impl Prompt {
    /// # Errors
    /// `None` where this OpenSSL has no such thing, else its error queue.
    pub fn new(pin: Option<&CStr>) -> Result<Box<Self>, Option<ErrorStack>> {
        type Wrap = unsafe extern "C" fn(Answer, c_int) -> *mut c_void;
        let wrap = function!("UI_UTIL_wrap_read_pem_callback": Wrap).ok_or(None)?;
        let destroy =
            function!("UI_destroy_method": unsafe extern "C" fn(*mut c_void)).ok_or(None)?;
        // SAFETY: a function of the type that pem_password_cb has; 0 says that it is not asked for
        // a new PIN.
        let method =
            NonNull::new(unsafe { wrap(answer, 0) }).ok_or_else(|| Some(ErrorStack::get()))?;
        let pin = pin.map(|pin| Zeroizing::new(pin.to_bytes().to_vec()));
        // OpenSSL is told where it is, so it stays there.
        let (asked, before) = (Cell::new(false), Cell::new(None));
        Ok(Box::new(Self { pin, asked, before, method, destroy }))
    }

    /// The UI_METHOD, which lives as long as this does.
    pub fn method(&self) -> *mut c_void {
        self.method.as_ptr()
    }

    /// What OpenSSL has to hand back with each question.
    pub fn data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Runs `act`. Whenever OpenSSL asks for the PIN meanwhile, `before` says whether it gets it.
    pub fn with<R>(&self, before: &mut dyn FnMut() -> bool, act: impl FnOnce() -> R) -> R {
        let before: NonNull<dyn FnMut() -> bool + '_> = NonNull::from(before);
        // SAFETY: only the lifetime is made longer. The pointer is taken back before this call
        // ends.
        let before: NonNull<dyn FnMut() -> bool> = unsafe { mem::transmute(before) };
        self.before.set(Some(before));
        let result = act();
        self.before.set(None);
        result
    }

    /// Whether a PIN was asked for and none was there.
    pub fn asked_in_vain(&self) -> bool {
        self.pin.is_none() && self.asked.get()
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and not used again.
        unsafe { (self.destroy)(self.method.as_ptr()) };
    }
}

extern "C" fn answer(buffer: *mut c_char, size: c_int, _: c_int, prompt: *mut c_void) -> c_int {
    // SAFETY: OpenSSL hands back the pointer it was given, to a prompt that outlives the call it
    // was given to.
    let prompt = unsafe { &*prompt.cast::<Prompt>() };
    prompt.asked.set(true);
    let Some(pin) = &prompt.pin else { return -1 };
    // SAFETY: set by `with`, whose caller lends the function until it is taken back; nobody else
    // calls it meanwhile.
    if prompt.before.get().is_some_and(|mut before| unsafe { !(before.as_mut())() }) {
        return -1;
    }
    match c_int::try_from(pin.len()) {
        Ok(length) if length <= size => {
            // SAFETY: `buffer` has room for `size` bytes, and is OpenSSL's own.
            unsafe { ptr::copy_nonoverlapping(pin.as_ptr(), buffer.cast(), pin.len()) };
            length
        }
        _ => -1,
    }
}
