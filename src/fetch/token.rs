//! The key in a token: one user at a time, opened through OpenSSL, and each refusal explained.

use std::{
    ffi::{CStr, CString, c_ulong},
    fs::{self, File, OpenOptions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use openssl::pkey::{PKey, Private};
use zeroize::Zeroizing;

use super::{
    elf,
    material::io_words,
    native::{Engine, Module, NoModule, SeenToken},
    observed::{MODULE_LIBRARY, QueueEntry, entries, in_words},
    text::printable,
};
use crate::{
    config::{Route, Token},
    failure::{Cause, Failure},
    secret::Secret,
};

const LOCK_NAME: &str = "token.lock";
const MAX_WORDS: usize = 300;

/// A key, and what must live as long as it does. The order is that of dropping.
pub struct TokenKey {
    pub key: PKey<Private>,
    _engine: Engine,
}

/// Held while the token is used.
pub struct TokenLock(#[allow(dead_code, reason = "held, not read")] Flock<File>);

/// Waits for the token, but not for ever.
pub fn lock(runtime_directory: &Path, wait: Duration) -> Result<TokenLock, Failure> {
    let path = runtime_directory.join(LOCK_NAME);
    let unusable = |e: &io::Error| {
        Failure::new(Cause::TokenLockUnusable, format!("{} ({})", path.display(), io_words(e)))
    };
    // Read-only and readable to all: where root fetched once by hand, the daemon can still open it.
    let open = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(runtime_directory)?;
        OpenOptions::new().read(true).custom_flags(nix::libc::O_CREAT).mode(0o644).open(&path)
    };
    let file = open().map_err(|e| unusable(&e))?;
    // flock has no timeout: a thread waits in it, and it goes with the process if nothing comes of it.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(Flock::lock(file, FlockArg::LockExclusive)));
    match receiver.recv_timeout(wait) {
        Ok(Ok(lock)) => Ok(TokenLock(lock)),
        Ok(Err((_, errno))) => Err(unusable(&errno.into())),
        Err(_) => Err(Failure::new(
            Cause::TokenBusy,
            format!("waited {} s for {}", wait.as_secs(), path.display()),
        )),
    }
}

/// Opens the key.
pub fn open(token: &Token, module: &Module, pin: Option<&Secret>) -> Result<TokenKey, Failure> {
    let c_string = |text: &[u8]| {
        CString::new(text).map_err(|_| Failure::new(Cause::KeyUriInvalid, "it has a NUL in it"))
    };
    let uri = c_string(token.uri.as_bytes())?;
    let path = c_string(token.module.as_os_str().as_bytes())?;
    match token.route {
        Route::Engine => {}
        Route::Provider => {
            return Err(Failure::new(
                Cause::ProviderMissing,
                "this build of edgerotate has the engine route only",
            ));
        }
    }
    // `pin::read` has refused a NUL already. Allocated once, and wiped.
    let pin_text = pin.map(|pin| {
        let mut text = Zeroizing::new(Vec::with_capacity(pin.expose().len() + 1));
        text.extend_from_slice(pin.expose().as_bytes());
        text.push(0);
        text
    });
    let pin_text = match &pin_text {
        Some(text) => Some(
            CStr::from_bytes_with_nul(text)
                .map_err(|_| Failure::new(Cause::PinUnfit, "it has a NUL in it"))?,
        ),
        None => None,
    };
    let engine = Engine::open(&path, pin_text).map_err(|errors| {
        let words = match errors {
            None => "this OpenSSL has no engines at all".to_owned(),
            Some(errors) => in_words(&entries(&errors)),
        };
        Failure::new(Cause::EngineMissing, printable(&words, MAX_WORDS))
    })?;
    match engine.key(&uri) {
        Ok(key) => Ok(TokenKey { key, _engine: engine }),
        Err((errors, pin_asked)) => Err(explain(&Observed {
            queue: entries(&errors),
            pin_asked,
            tokens: module.tokens(),
            uri: &token.uri,
            module: &token.module,
        })),
    }
}

/// Loads the module, which does not start it yet.
pub fn load(path: &Path) -> Result<Module, Failure> {
    File::open(path).map_err(|e| {
        let cause = match e.kind() {
            io::ErrorKind::PermissionDenied => Cause::ModuleNotPermitted,
            _ => Cause::ModuleMissing,
        };
        Failure::new(cause, format!("{} ({})", path.display(), io_words(&e)))
    })?;
    if let Some(words) = elf::other_machine(path) {
        return Err(Failure::new(
            Cause::ModuleNotLoadable,
            format!("{} ({words})", path.display()),
        ));
    }
    Module::load(path).map_err(|e| match e {
        NoModule::NotLoadable(words) => {
            // The loader begins with the path, mostly; said twice it makes the line harder to read.
            let path = path.display().to_string();
            let words = words.strip_prefix(&path).unwrap_or(&words).trim_start_matches([':', ' ']);
            Failure::new(
                Cause::ModuleNotLoadable,
                format!("{path} ({})", printable(words, MAX_WORDS)),
            )
        }
        NoModule::NotPkcs11 => Failure::new(Cause::ModuleNotPkcs11, path.display().to_string()),
    })
}

/// What was seen when a key could not be opened.
struct Observed<'a> {
    queue: Vec<QueueEntry>,
    /// A PIN was asked for and none was there.
    pin_asked: bool,
    tokens: Option<Vec<SeenToken>>,
    uri: &'a str,
    module: &'a Path,
}

/// libp11's other names in OpenSSL's error queue.
const ENGINE_LIBRARY: &str = "pkcs11 engine";
const LIBP11: &str = "libp11";

const CKF_USER_PIN_INITIALIZED: c_ulong = 0x8;
const CKF_USER_PIN_FINAL_TRY: c_ulong = 0x2_0000;
const CKF_USER_PIN_LOCKED: c_ulong = 0x4_0000;

fn explain(seen: &Observed) -> Failure {
    let fitting: Vec<&SeenToken> =
        seen.tokens.iter().flatten().filter(|token| fits(seen.uri, token)).collect();
    let flag = |flag: c_ulong| fitting.iter().any(|token| token.flags & flag != 0);
    let words = printable(&in_words(&seen.queue), MAX_WORDS);
    let module = seen.module.display();
    let with = |cause, detail: String| Failure::new(cause, detail);

    let refusal = seen
        .queue
        .iter()
        .find(|e| e.library == MODULE_LIBRARY)
        .map(|e| (e.code, pin_cause(e.code)));
    match refusal {
        Some((_, Some(cause @ Cause::PinIncorrect))) => {
            let cause = if flag(CKF_USER_PIN_LOCKED) { Cause::PinLocked } else { cause };
            let left = if flag(CKF_USER_PIN_FINAL_TRY) {
                ", and one more wrong PIN will lock it"
            } else {
                ""
            };
            return with(cause, format!("{} ({words}{left})", seen.uri));
        }
        Some((_, Some(cause))) => return with(cause, format!("{} ({words})", seen.uri)),
        _ => {}
    }
    if seen.pin_asked {
        return with(Cause::PinNeeded, seen.uri.to_owned());
    }
    if seen.queue.iter().any(|e| e.library == LIBP11 && e.reason.contains("load PKCS#11 module")) {
        return with(Cause::ModuleNotLoadable, format!("{module} ({words})"));
    }
    if seen.queue.iter().any(|e| e.library == ENGINE_LIBRARY && e.reason == "invalid id") {
        return with(Cause::KeyUriInvalid, seen.uri.to_owned());
    }
    let Some(tokens) = &seen.tokens else {
        return with(Cause::ModuleNotStarted, format!("{module} ({words})"));
    };
    match fitting.as_slice() {
        [] => {
            let labels: Vec<String> =
                tokens.iter().map(|token| format!("\"{}\"", token.label)).collect();
            let here = if labels.is_empty() {
                "it sees none".to_owned()
            } else {
                format!("it sees {}", labels.join(", "))
            };
            with(
                Cause::TokenMissing,
                printable(&format!("{}, module {module}: {here}", seen.uri), MAX_WORDS),
            )
        }
        [_, _, ..] => {
            with(Cause::TokenAmbiguous, format!("{} fits {} tokens", seen.uri, fitting.len()))
        }
        [token] if refusal.is_some() => {
            with(Cause::TokenFault, printable(&format!("\"{}\" ({words})", token.label), MAX_WORDS))
        }
        [token] if token.flags & CKF_USER_PIN_INITIALIZED == 0 => {
            with(Cause::PinNotSet, format!("\"{}\"", token.label))
        }
        [_] => with(Cause::KeyObjectMissing, seen.uri.to_owned()),
    }
}

/// The CKR_… codes that C_Login answers with when it is about the PIN.
pub fn pin_cause(code: u32) -> Option<Cause> {
    match code {
        // CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE: whether the last two cost a try is the token's
        // secret, so they count as refused.
        0xa0..=0xa2 => Some(Cause::PinIncorrect),
        0xa3 => Some(Cause::PinExpired),
        0xa4 => Some(Cause::PinLocked),
        // CKR_USER_PIN_NOT_INITIALIZED
        0x102 => Some(Cause::PinNotSet),
        _ => None,
    }
}

/// Whether the URI's token attributes fit the token, as libp11 compares them.
fn fits(uri: &str, token: &SeenToken) -> bool {
    let path = uri.strip_prefix("pkcs11:").unwrap_or(uri);
    path.split('?').next().unwrap_or_default().split(';').all(|attribute| {
        let Some((name, value)) = attribute.split_once('=') else {
            return true;
        };
        let seen = match name {
            "token" => &token.label,
            "manufacturer" => &token.manufacturer,
            "model" => &token.model,
            "serial" => &token.serial,
            _ => return true,
        };
        percent_decoded(value) == seen.as_bytes()
    })
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digits = [ahead.next(), ahead.next()]
            .map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
        match (byte, digits) {
            (b'%', [Some(high), Some(low)]) => {
                // Two hexadecimal digits fit a byte.
                decoded.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}
