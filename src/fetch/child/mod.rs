//! The fetch child: an order in, one reply out, and no trace of the PIN.
//!
//! In the order in which they work: `isolation` takes from the process what it must not have; `pin` reads the PIN;
//! `token` takes the lock and opens the key; `request` asks; `answer` and `transport` explain what came. `look` stops
//! before the network, for whoever wants to know whether the device's own part works.

mod answer;
mod ckr;
mod elf;
mod isolation;
mod look;
mod notes;
mod observed;
mod pin;
mod proof;
mod request;
mod text;
mod token;
mod token_faults;
mod transport;

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    process::ExitCode,
    time::Duration,
};

use openssl::pkey::{PKey, Private};

use self::{
    answer::HttpAnswer,
    isolation::{Isolated, NotEntered},
    proof::Certified,
    request::ClientIdentity,
    token::{TokenKey, TokenLock},
};
use crate::{
    core::class::Class,
    fetch::{
        material,
        openssl::Module,
        pin_mark::{self, Source, attempt::attempt, with_words},
        protocol::{Envelope, FetchOrder, FetchReply, Purpose},
    },
    problems::{
        exit_code,
        failure::{Cause, Failure},
    },
    settings::{PrivateKey, Provider, Token},
    system::clock,
};

/// Does all that `edgerotate fetch --child` does. The order comes on standard input, the reply goes to standard output,
/// and whatever else is printed goes into the reply, without its secrets.
pub fn child() -> ExitCode {
    let Isolated { order, reply: pipe, printed } = match isolation::enter() {
        Ok(isolated) => isolated,
        Err(NotEntered::OtherVersion) => return ExitCode::from(exit_code::OTHER_VERSION),
        Err(NotEntered::Words(what)) => {
            // For whoever starts this by hand; the parent listens to the reply alone.
            let _ = writeln!(io::stderr(), "edgerotate: {what}");
            return ExitCode::FAILURE;
        }
    };
    let mut kept = ChildState::default();
    let sent = match order.purpose {
        Purpose::Look | Purpose::LookAtFiles => {
            let mut reply = look::look(&order, &mut kept);
            let notes = kept.notes(printed);
            if let Some(Err(failure)) = &mut reply.key {
                quote(failure, &notes);
            }
            if let Some(Err(failure)) = &mut reply.without_pin {
                quote(failure, &notes);
            }
            pipe.send(&Envelope { reply, notes })
        }
        Purpose::Fetch | Purpose::Try => {
            let mut reply = fetch(&order, &mut kept).unwrap_or_else(FetchReply::from);
            let notes = kept.notes(printed);
            if let FetchReply::Failed { failure, .. } = &mut reply {
                quote(failure, &notes);
            }
            pipe.send(&Envelope { reply, notes })
        }
    };
    // The reply is out. Whatever the module does now, hang or crash, does it no harm.
    drop(kept);
    if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Adds to a failure that says little what the module printed last: often that is the reason.
fn quote(failure: &mut Failure, notes: &str) {
    let says_little = matches!(
        failure.cause,
        Cause::ModuleRefuses
            | Cause::ModuleNotStarted
            | Cause::TokenFault
            | Cause::TokenAbsent
            | Cause::TokenNotInitialized
    );
    if let Some(words) = notes::last_words(notes).filter(|_| says_little) {
        failure.detail += &format!("; the module printed: {words}");
    }
}

/// What is kept until the reply is out. The order is that of dropping: the key is closed, the module finalized, which
/// logs out and ends its sessions, and then the next may use the token.
#[derive(Default)]
pub(super) struct ChildState {
    pin: Option<pin::HeldPin>,
    key: Option<TokenKey>,
    module: Option<Module>,
    lock: Option<TokenLock>,
}

impl ChildState {
    /// What was printed, without the PIN.
    fn notes(&self, printed: OwnedFd) -> String {
        notes::collect(printed, self.pin.as_ref().map(|held| held.pin.expose()))
    }

    /// Looks at module and token without a login.
    pub(super) fn look_without_pin(&mut self, token: &Token) -> Result<(), Failure> {
        token::look(token, self.module.insert(token::load(&token.module)?))
    }
}

fn fetch(order: &FetchOrder, kept: &mut ChildState) -> Result<FetchReply, Failure> {
    let FetchOrder { provider, .. } = order;
    // Files first, token second, network last: what is cheap to look at is not found out by a login.
    request::check_tls_backend()?;
    let chain = material::certificates(&provider.certificate)?;
    let authorities = provider.ca_file.as_deref().map(material::authorities).transpose()?;
    let (key, key_words) = open(order, kept)?;
    let certified = Certified::of(&chain, &provider.certificate)?;
    proof::check_match(&certified, &key, &key_words)
        .map_err(|failure| remember(failure, order, kept))?;
    let asked = request::ask(provider, ClientIdentity { chain, key, authorities });
    asked.map(HttpAnswer::into_reply).map_err(|failure| remember(failure, order, kept))
}

/// The key, and what it is called.
pub(super) fn open(
    order: &FetchOrder,
    kept: &mut ChildState,
) -> Result<(PKey<Private>, String), Failure> {
    Ok(match &order.provider.key {
        PrivateKey::File(path) => (material::key(path)?, path.display().to_string()),
        PrivateKey::Token(token) => (open_in_token(token, order, kept)?, token.uri.clone()),
    })
}

fn open_in_token(
    token: &Token,
    order: &FetchOrder,
    kept: &mut ChildState,
) -> Result<PKey<Private>, Failure> {
    let leave_nothing = order.purpose != Purpose::Fetch;
    kept.lock = token::lock(&order.runtime_directory, lock_wait(&order.provider), leave_nothing)?;
    // Under the lock, so that of several that waited with a wrong PIN only the first is refused.
    if let Some(refused) = pin_mark::refused(&token.pin, marks(order)) {
        return Err(refused.failure());
    }
    kept.pin = pin::read(&token.pin)?;
    let module = kept.module.insert(token::load(&token.module)?);
    let Some(held) = &kept.pin else {
        let opened = token::open(token, module, None, |_| Ok(()))
            .map_err(|failure| remember(failure, order, kept))?;
        return Ok(kept.key.insert(opened).key.clone());
    };
    // From there until its end is known, a crash counts as a refusal.
    let mut begun_login = None;
    let opened = token::open(token, module, Some(&held.pin), |flags| {
        let (reader, now) = (order.parent, clock::wall());
        let begun = attempt(token, held.source, reader, flags, now, marks(order))?;
        begun_login = Some(begun);
        Ok(())
    });
    match (opened, begun_login) {
        (Ok(opened), attempt) => {
            if let Some(attempt) = attempt {
                attempt.accepted();
            }
            Ok(kept.key.insert(opened).key.clone())
        }
        (Err(failure), Some(attempt)) if failure.class() == Class::PinRefused => {
            let put = attempt.refused(failure.cause, clock::wall());
            Err(with_words(failure, put))
        }
        (Err(failure), Some(attempt)) => {
            attempt.failed_otherwise();
            Err(failure)
        }
        // What the token says of itself, before any login.
        (Err(failure), None) if failure.cause == Cause::PinLocked => {
            Err(remember(failure, order, kept))
        }
        (Err(failure), None) => Err(failure),
    }
}

/// Puts what the token refused on record at once; the failure says so if that can't be done.
pub(super) fn remember(failure: Failure, order: &FetchOrder, kept: &ChildState) -> Failure {
    if failure.class() != Class::PinRefused {
        return failure;
    }
    // Without a PIN of ours: whatever it was that the token refused, it would refuse it again.
    let source = kept.pin.as_ref().map_or(Source::Settings, |held| held.source);
    let put = pin_mark::remember(failure.cause, source, clock::wall(), marks(order));
    with_words(failure, put)
}

fn marks(order: &FetchOrder) -> pin_mark::Directories<'_> {
    pin_mark::Directories { state: &order.state_directory, runtime: &order.runtime_directory }
}

/// Half of what the request leaves of the deadline; the other half is for opening the key.
fn lock_wait(provider: &Provider) -> Duration {
    provider.fetch_deadline.saturating_sub(provider.fetch_timeout) / 2
}
