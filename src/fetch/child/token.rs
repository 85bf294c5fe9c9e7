//! The key in a token: one user at a time, opened through OpenSSL.

use std::{
    ffi::{CStr, CString, c_ulong},
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    },
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
};
use zeroize::Zeroizing;

use super::{
    ckr, elf,
    observed::{QueueEntry, entries, in_words},
    text::printable,
    token_faults::{Observed, PIN_FLAGS, explain, fits, one_of},
};
use crate::{
    core::{own_files, pin_mark::Flags, secret::Secret},
    fetch::{
        material::io_words,
        openssl::{Engine, Module, NoKey, NoModule, SeenTokens, Store},
    },
    problems::failure::{Cause, Failure},
    settings::{Route, Token},
};

const MAX_WORDS: usize = 300;

/// A key, and what must live as long as it does. The order is that of dropping.
pub struct TokenKey {
    pub key: PKey<Private>,
    _engine: Option<Engine>,
}

/// Held while the token is used.
pub struct TokenLock(#[allow(dead_code, reason = "held, not read")] Flock<File>);

/// Waits for the token, but not for ever. Where there is no lock to take, nobody uses the token:
/// one is made, unless whoever asks must `leave_nothing`, and has none then.
pub fn lock(
    runtime_directory: &Path,
    wait: Duration,
    leave_nothing: bool,
) -> Result<Option<TokenLock>, Failure> {
    let path = runtime_directory.join(own_files::TOKEN_LOCK);
    let unusable = |e: &io::Error| {
        Failure::new(Cause::TokenLockUnusable, format!("{} ({})", path.display(), io_words(e)))
    };
    // The directory's owner and group have it, also where root has fetched first; nobody else may
    // open it, as whoever can may hold the lock. (A directory that root's fetch had to make is
    // root's.)
    let open = || {
        if leave_nothing {
            return File::open(&path);
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(runtime_directory)?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_CREAT | nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .mode(0o640)
            .open(&path)?;
        let directory = fs::metadata(runtime_directory)?;
        // Whatever the umask was. Only root and its owner may, and have done so. What is not a file
        // of its own is left alone: the directory's owner must not get another's file through root.
        let opened = file.metadata()?;
        if opened.is_file() && opened.nlink() == 1 {
            let _ = fchown(&file, Some(directory.uid()), Some(directory.gid()));
            let _ = file.set_permissions(Permissions::from_mode(0o640));
        }
        Ok(file)
    };
    let file = match open() {
        Err(e) if leave_nothing && e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|e| unusable(&e))?,
    };
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => return Ok(Some(TokenLock(lock))),
        Err((file, Errno::EWOULDBLOCK)) => file,
        Err((_, errno)) => return Err(unusable(&errno.into())),
    };
    // flock has no timeout: a thread waits in it, and it goes with the process if nothing comes of
    // it.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(Flock::lock(file, FlockArg::LockExclusive)));
    match receiver.recv_timeout(wait) {
        Ok(Ok(lock)) => Ok(Some(TokenLock(lock))),
        Ok(Err((_, errno))) => Err(unusable(&errno.into())),
        Err(_) => Err(Failure::new(
            Cause::TokenBusy,
            format!("waited {} s for {}", wait.as_secs(), path.display()),
        )),
    }
}

/// Opens the key. `before_login` is called right before the PIN goes to the token, which may then
/// not come to it.
pub fn open(
    token: &Token,
    module: &Module,
    pin: Option<&Secret>,
    before_login: impl FnOnce(Flags) -> Result<(), Failure>,
) -> Result<TokenKey, Failure> {
    let uri = c_string(token.uri.as_bytes())?;
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
    start(token, module)?;
    let seen = see(token, module)?;
    let (slot, flags) = one_of(&seen, &token.uri, &token.module, pin.is_some())?;
    let says = if flags & PIN_FLAGS == 0 { Flags::Silent } else { Flags::RefusedLately };
    let (mut before_login, mut stopped) = (Some(before_login), None);
    let mut before_login = || match before_login.take().map(|before| before(says)) {
        Some(Err(failure)) => {
            stopped = Some(failure);
            false
        }
        // A key may ask again for each signature; the PIN is known to be good by then.
        Some(Ok(())) | None => true,
    };
    let (key, engine) = match token.route {
        Route::Engine => {
            let engine = engine(token, pin_text)?;
            (engine.key(&uri, &mut before_login), Some(engine))
        }
        Route::Provider => {
            let store = store()?;
            // The provider hides why a login failed, so it gets a token that is logged in. (libp11
            // would end this login: it begins with C_CloseAllSessions.)
            let may_go_on = match pin {
                Some(pin) => log_in(token, module, slot, pin, &mut before_login)?,
                None => true,
            };
            // It would log in by itself.
            let key = if may_go_on { store.key(&uri, pin_text) } else { Err(NoKey::from(None)) };
            (key, None)
        }
    };
    if let Some(failure) = stopped {
        return Err(failure);
    }
    match key {
        Ok(key) => Ok(TokenKey { key, _engine: engine }),
        Err(NoKey { errors, pin_needed }) => Err(explain(&Observed {
            queue: entries(&errors),
            pin_needed,
            flags: flags_now(token, module),
            uri: &token.uri,
        })),
    }
}

/// False where the PIN must not come to the token, which it then does not.
fn log_in(
    token: &Token,
    module: &Module,
    slot: c_ulong,
    pin: &Secret,
    before_login: &mut dyn FnMut() -> bool,
) -> Result<bool, Failure> {
    let explained = |code| {
        let queue = vec![QueueEntry::of_module(code)];
        let flags = flags_now(token, module);
        explain(&Observed { queue, pin_needed: false, flags, uri: &token.uri })
    };
    let session = module.open_session(slot).map_err(explained)?;
    if !before_login() {
        return Ok(false);
    }
    module.login(session, pin.expose().as_bytes()).map_err(explained)?;
    Ok(true)
}

/// Whether module and token are there, as far as that can be told without a PIN.
pub fn look(token: &Token, module: &Module) -> Result<(), Failure> {
    start(token, module)?;
    match token.route {
        Route::Engine => drop(engine(token, None)?),
        Route::Provider => drop(store()?),
    }
    let seen = see(token, module)?;
    one_of(&seen, &token.uri, &token.module, false).map(drop)
}

fn start(token: &Token, module: &Module) -> Result<(), Failure> {
    module.start().map_err(|code| {
        let cause =
            if ckr::may_pass(code) { Cause::ModuleNotStarted } else { Cause::ModuleRefuses };
        let words = ckr::words(code);
        let words = format!("{} (C_Initialize answers {words})", token.module.display());
        Failure::new(cause, words)
    })
}

fn see(token: &Token, module: &Module) -> Result<SeenTokens, Failure> {
    module.tokens().map_err(|code| {
        let words = ckr::words(code);
        let words = format!("{} (C_GetSlotList answers {words})", token.module.display());
        Failure::new(Cause::TokenFault, words)
    })
}

fn engine(token: &Token, pin: Option<&CStr>) -> Result<Engine, Failure> {
    let path = c_string(token.module.as_os_str().as_bytes())?;
    Engine::open(&path, pin).map_err(|errors| {
        missing(Cause::EngineMissing, "this OpenSSL has no engines at all", errors)
    })
}

fn store() -> Result<Store, Failure> {
    Store::open().map_err(|errors| {
        missing(Cause::ProviderMissing, "this OpenSSL has no providers at all", errors)
    })
}

fn missing(cause: Cause, none: &str, errors: Option<ErrorStack>) -> Failure {
    let words = errors.map_or_else(|| none.to_owned(), |errors| not_found(&entries(&errors)));
    Failure::new(cause, printable(&words, MAX_WORDS))
}

fn c_string(text: &[u8]) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::new(Cause::KeyUriInvalid, "it has a NUL in it"))
}

/// The loader's words, which say where OpenSSL looked, rather than OpenSSL's. It has looked for
/// others as well (rdrand).
fn not_found(queue: &[QueueEntry]) -> String {
    let ours = |data: &str| data.starts_with("filename(") && data.contains("pkcs11");
    let loader = queue.iter().find(|entry| ours(&entry.data));
    loader.map_or_else(|| in_words(queue), |entry| entry.data.clone())
}

/// What the token says of itself, after what happened to it.
fn flags_now(token: &Token, module: &Module) -> c_ulong {
    let seen = module.tokens().unwrap_or_default();
    // Where the token is gone it says nothing.
    let fitting = seen.tokens.iter().find(|seen| fits(&token.uri, seen));
    fitting.map_or(0, |seen| seen.flags)
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
