//! The fetch child: an order in, one reply out, and no trace of the PIN.
//!
//! In the order in which they work: `isolation` takes from the process what it must not have; `pin` reads the PIN;
//! `token` takes the lock and opens the key; `request` asks; `answer` and `transport` explain what came. `look` stops
//! before the network, for whoever wants to know whether the device's own part works.

mod answer;
mod elf;
mod isolation;
mod look;
mod notes;
mod observed;
mod pin;
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
    answer::Answer,
    isolation::Isolated,
    request::Identity,
    token::{TokenKey, TokenLock},
};
use crate::{
    core::class::Class,
    fetch::{
        material,
        openssl::Module,
        pin_mark::{self, Source, attempt::attempt},
        protocol::{Envelope, FetchReply, Order, Purpose},
    },
    problems::failure::Failure,
    settings::{PrivateKey, Provider, Token},
    system::clock,
};

/// Does all that `edgerotate fetch --child` does. The order comes on standard input, the reply goes to standard output,
/// and whatever else is printed goes into the reply, without its secrets.
pub fn child() -> ExitCode {
    let Isolated { order, reply: pipe, printed } = match isolation::enter() {
        Ok(isolated) => isolated,
        Err(what) => {
            // For whoever starts this by hand; the parent listens to the reply alone.
            let _ = writeln!(io::stderr(), "edgerotate: {what}");
            return ExitCode::FAILURE;
        }
    };
    let mut kept = Kept::default();
    let sent = match order.purpose {
        Purpose::Look | Purpose::LookAtFiles => {
            let reply = look::look(&order, &mut kept);
            pipe.send(&Envelope { reply, notes: kept.notes(printed) })
        }
        Purpose::Fetch | Purpose::Try => {
            let reply = fetch(&order, &mut kept).unwrap_or_else(FetchReply::from);
            pipe.send(&Envelope { reply, notes: kept.notes(printed) })
        }
    };
    // The reply is out. Whatever the module does now, hang or crash, does it no harm.
    drop(kept);
    if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is kept until the reply is out. The order is that of dropping: the key is closed, the module finalized, which
/// logs out and ends its sessions, and then the next may use the token.
#[derive(Default)]
pub(super) struct Kept {
    pin: Option<pin::Held>,
    key: Option<TokenKey>,
    module: Option<Module>,
    lock: Option<TokenLock>,
}

impl Kept {
    /// What was printed, without the PIN.
    fn notes(&self, printed: OwnedFd) -> String {
        notes::collect(printed, self.pin.as_ref().map(|held| held.pin.expose()))
    }

    /// Looks at module and token without a login.
    pub(super) fn look_without_pin(&mut self, token: &Token) -> Result<(), Failure> {
        token::look(token, self.module.insert(token::load(&token.module)?))
    }
}

fn fetch(order: &Order, kept: &mut Kept) -> Result<FetchReply, Failure> {
    let Order { provider, .. } = order;
    // Files first, token second, network last: what is cheap to look at is not found out by a login.
    request::check_tls_backend()?;
    let chain = material::certificates(&provider.certificate)?;
    let authorities = provider.ca_file.as_deref().map(material::authorities).transpose()?;
    let (key, key_words) = open(order, kept)?;
    material::check_match(&chain, &provider.certificate, &key, &key_words)?;
    let asked = request::ask(provider, Identity { chain, key, authorities });
    asked.map(Answer::into_reply).map_err(|failure| remember(failure, order, kept))
}

/// The key, and what it is called.
pub(super) fn open(order: &Order, kept: &mut Kept) -> Result<(PKey<Private>, String), Failure> {
    Ok(match &order.provider.key {
        PrivateKey::File(path) => (material::key(path)?, path.display().to_string()),
        PrivateKey::Token(token) => (open_in_token(token, order, kept)?, token.uri.clone()),
    })
}

fn open_in_token(token: &Token, order: &Order, kept: &mut Kept) -> Result<PKey<Private>, Failure> {
    let leave_nothing = order.purpose != Purpose::Fetch;
    kept.lock = token::lock(&order.runtime_directory, lock_wait(&order.provider), leave_nothing)?;
    // Under the lock, so that of several that waited with a wrong PIN only the first is refused.
    if let Some(refused) = pin_mark::refused(&token.pin, marks(order)) {
        return Err(refused.failure());
    }
    kept.pin = pin::read(&token.pin)?;
    let module = kept.module.insert(token::load(&token.module)?);
    let Some(held) = &kept.pin else {
        let opened =
            token::open(token, module, None).map_err(|failure| remember(failure, order, kept))?;
        return Ok(kept.key.insert(opened).key.clone());
    };
    // From here until its end is known, a crash counts as a refusal.
    let attempt = attempt(token, held.source, order.parent, clock::wall(), marks(order))?;
    let opened = match token::open(token, module, Some(&held.pin)) {
        Ok(opened) => opened,
        Err(failure) if failure.class() == Class::PinRefused => {
            let put = attempt.refused(failure.cause, clock::wall());
            return Err(with_words(failure, put));
        }
        Err(failure) => {
            attempt.failed_otherwise();
            return Err(failure);
        }
    };
    attempt.accepted();
    Ok(kept.key.insert(opened).key.clone())
}

/// Puts what the token refused on record at once; the failure says so if that can't be done.
pub(super) fn remember(failure: Failure, order: &Order, kept: &Kept) -> Failure {
    if failure.class() != Class::PinRefused {
        return failure;
    }
    // Without a PIN of ours: whatever it was that the token refused, it would refuse it again.
    let source = kept.pin.as_ref().map_or(Source::Settings, |held| held.source);
    let put = pin_mark::remember(failure.cause, source, clock::wall(), marks(order));
    with_words(failure, put)
}

fn with_words(mut failure: Failure, put: Result<(), String>) -> Failure {
    if let Err(words) = put {
        failure.detail = format!("{}, {words}", failure.detail);
    }
    failure
}

fn marks(order: &Order) -> pin_mark::Directories<'_> {
    pin_mark::Directories { state: &order.state_directory, runtime: &order.runtime_directory }
}

/// Half of what the request leaves of the deadline; the other half is for opening the key.
fn lock_wait(provider: &Provider) -> Duration {
    provider.fetch_deadline.saturating_sub(provider.fetch_timeout) / 2
}
