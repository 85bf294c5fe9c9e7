//! The key of a fetch: opened, with the marks of the PIN around its login, and kept until the reply
//! is out.

use std::{env, os::fd::OwnedFd, time::Duration};

use openssl::pkey::{PKey, Private};

use super::{
    notes, pin,
    token::{self, TokenKey, TokenLock},
};
use crate::{
    core::{class::Class, secret::Secret},
    fetch::{
        material,
        openssl::Module,
        pin_mark::{self, Source, attempt::attempt, with_words},
        protocol::{FetchOrder, Purpose},
    },
    problems::failure::{Cause, Failure},
    settings::{PrivateKey, Provider, Token},
    system::clock,
};

/// What is kept until the reply is out. The order is that of dropping: the key is closed, the
/// module finalized, which logs out and ends its sessions, and then the next may use the token.
#[derive(Default)]
pub(super) struct ChildState {
    /// What the module was given in its environment, which may be or hold a PIN.
    secrets: Vec<Secret>,
    pin: Option<pin::HeldPin>,
    key: Option<TokenKey>,
    module: Option<Module>,
    lock: Option<TokenLock>,
}

impl ChildState {
    pub(super) fn new(order: &FetchOrder) -> Self {
        let token = match &order.provider.key {
            PrivateKey::Token(token) => Some(token),
            PrivateKey::File(_) => None,
        };
        let variables = token.into_iter().flat_map(|token| &token.module_environment);
        let values = variables.filter_map(|variable| env::var(&variable.name).ok());
        // A path is no secret, and often just what a module complains of.
        let secrets = values.filter(|value| !value.is_empty() && !value.starts_with('/'));
        Self { secrets: secrets.map(Secret::new).collect(), ..Self::default() }
    }

    /// What was printed, without the PIN and other secrets.
    pub(super) fn notes(&self, printed: OwnedFd) -> String {
        let pin = self.pin.as_ref().map(|held| held.pin.expose());
        notes::collect(printed, pin, &self.secrets)
    }

    /// Looks at module and token without a login.
    pub(super) fn look_without_pin(&mut self, token: &Token) -> Result<(), Failure> {
        token::look(token, self.module.insert(token::load(&token.module)?))
    }
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
