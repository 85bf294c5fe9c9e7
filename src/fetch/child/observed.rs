//! OpenSSL's error queue as data, so that what explains it can be tested on what was captured.

use std::ffi::c_ulong;

use openssl::error::ErrorStack;

use super::ckr;

/// Under these names libp11's engine and OpenSSL's pkcs11 provider hand on what the PKCS#11 module
/// answered; the codes are CKR_….
const MODULES: [&str; 2] = ["PKCS#11 module", "pkcs11"];

/// One entry of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueEntry {
    /// `SSL routines`, `PKCS#11 module`, `pkcs11 engine`, …
    pub library: String,
    pub code: u32,
    pub reason: String,
    pub data: String,
}

impl QueueEntry {
    /// What the PKCS#11 module answered to us, rather than to OpenSSL.
    pub fn of_module(code: c_ulong) -> Self {
        // The standard's codes fit 32 bits.
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        let reason = match code {
            0xa0 => "PIN incorrect".to_owned(),
            0xa4 => "PIN locked".to_owned(),
            _ => String::new(),
        };
        Self { library: MODULES[0].to_owned(), code, reason, data: String::new() }
    }

    /// Whether the PKCS#11 module said this.
    pub fn is_modules(&self) -> bool {
        MODULES.contains(&self.library.as_str())
    }
}

/// Whether libcurl's words quote the PKCS#11 module: it takes the first entry of the queue into
/// them, as `error:41800090:PKCS#11 module::Operation active`.
pub fn quotes_module(words: &str) -> bool {
    words
        .split("error:")
        .skip(1)
        .any(|quoted| quoted.split(':').nth(1).is_some_and(|name| MODULES.contains(&name)))
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
        let name = Some(entry.code).filter(|_| entry.is_modules()).map(c_ulong::from);
        let text = match (entry.reason.as_str(), name.and_then(ckr::name)) {
            ("", Some(name)) => name.to_owned(),
            ("", None) => format!("code {:#x}", entry.code),
            (reason, Some(name)) => format!("{reason}, {name}"),
            (reason, None) => reason.to_owned(),
        };
        let text = format!("{}: {text}", entry.library);
        if !words.contains(&text) {
            words.push(text);
        }
    }
    words.join(", ")
}
