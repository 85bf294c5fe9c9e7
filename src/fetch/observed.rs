//! OpenSSL's error queue as data, so that what explains it can be tested on what was captured.

use openssl::error::ErrorStack;

/// Under this name libp11 hands on what the PKCS#11 module answered; the codes are CKR_….
pub const MODULE_LIBRARY: &str = "PKCS#11 module";

/// One entry of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueEntry {
    /// `SSL routines`, `PKCS#11 module` (libp11), `pkcs11 engine`, …
    pub library: String,
    /// For the PKCS#11 libraries this is the CKR_… code.
    pub code: u32,
    pub reason: String,
    pub data: String,
}

/// Empties this thread's error queue.
pub fn take_queue() -> Vec<QueueEntry> {
    entries(&ErrorStack::get())
}

pub fn entries(stack: &ErrorStack) -> Vec<QueueEntry> {
    stack
        .errors()
        .iter()
        .map(|e| QueueEntry {
            library: e.library().unwrap_or_default().to_owned(),
            code: e.reason_code().unsigned_abs(),
            reason: e.reason().unwrap_or_default().to_owned(),
            data: e.data().unwrap_or_default().to_owned(),
        })
        .collect()
}

/// The queue in one line, for a failure that nothing more is known about.
pub fn in_words(queue: &[QueueEntry]) -> String {
    let mut words: Vec<String> = Vec::new();
    // What OpenSSL's engine code adds to each failure of an engine says nothing.
    let empty = |e: &&QueueEntry| {
        e.library == "engine routines" && e.reason == "failed loading private key"
    };
    for entry in queue.iter().filter(|e| !empty(e)) {
        let text = if entry.reason.is_empty() {
            format!("code {:#x}", entry.code)
        } else {
            entry.reason.clone()
        };
        let text = format!("{}: {text}", entry.library);
        if !words.contains(&text) {
            words.push(text);
        }
    }
    words.join(", ")
}
