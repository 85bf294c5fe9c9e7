//! The fetch child: an order in, one reply out, and no trace of the PIN.

use std::process::ExitCode;

use super::{
    isolation::{self, Isolated},
    material, notes, pin, refused_pin,
    request::{self, Identity},
    token::{self, TokenKey, TokenLock},
};
use crate::{
    clock,
    config::{PrivateKey, Provider, Token},
    failure::{Class, Failure},
    fetch_reply::{Envelope, FetchReply, Order},
    secret::Secret,
};

/// The part of the deadline that may go by waiting for another user of the token; the rest is for the fetch itself.
const LOCK_SHARE: u32 = 3;

/// Does all that `edgerotate fetch --child` does. The order comes on standard input, the reply goes to standard output,
/// and whatever else is printed goes into the reply, without its secrets.
pub fn child() -> ExitCode {
    let Isolated { order, reply: pipe, printed } = match isolation::enter() {
        Ok(isolated) => isolated,
        Err(_) => return ExitCode::FAILURE,
    };
    let mut pin = None;
    let reply = fetch(&order, &mut pin).unwrap_or_else(FetchReply::from);
    let notes = notes::collect(printed, pin.as_ref().map(Secret::expose));
    match pipe.send(&Envelope { reply, notes }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The key, and what must be held while it is used. The order is that of dropping: the lock goes last.
enum Key {
    File(openssl::pkey::PKey<openssl::pkey::Private>),
    Token(TokenKey, #[allow(dead_code, reason = "held, not read")] TokenLock),
}

fn fetch(order: &Order, pin_used: &mut Option<Secret>) -> Result<FetchReply, Failure> {
    let Order { provider, .. } = order;
    // Files first, token second, network last: what is cheap to look at is not found out by a login.
    request::check_tls_backend()?;
    let chain = material::certificates(&provider.certificate)?;
    let authorities = provider.ca_file.as_deref().map(material::authorities).transpose()?;
    let (key, words) = open_key(order, pin_used)?;
    let pkey = match &key {
        Key::File(key) => key.clone(),
        Key::Token(token, _) => token.key.clone(),
    };
    material::check_match(&chain, &provider.certificate, &pkey, &words)?;
    let answer = request::ask(provider, Identity { chain, key: pkey, authorities })?;
    drop(key);
    Ok(answer.into_reply())
}

fn open_key(order: &Order, pin_used: &mut Option<Secret>) -> Result<(Key, String), Failure> {
    match &order.provider.key {
        PrivateKey::File(path) => Ok((Key::File(material::key(path)?), path.display().to_string())),
        PrivateKey::Token(token) => {
            let lock = token::lock(&order.runtime_directory, lock_wait(&order.provider))?;
            let key = open_in_token(token, order, pin_used)?;
            Ok((Key::Token(key, lock), token.uri.clone()))
        }
    }
}

/// Looks at the mark of a refused PIN under the lock, so that of several that waited only the first is refused.
fn open_in_token(
    token: &Token,
    order: &Order,
    pin_used: &mut Option<Secret>,
) -> Result<TokenKey, Failure> {
    refused_pin::check(&token.pin, &order.state_directory)?;
    let held = pin::read(&token.pin)?;
    *pin_used = held.as_ref().map(|held| held.pin.clone());
    token::open(token, pin_used.as_ref()).map_err(|mut failure| {
        if let (Class::PinRefused, Some(held)) = (failure.class(), held) {
            if let Err(e) = refused_pin::remember(
                failure.cause,
                held.source,
                clock::wall(),
                &order.state_directory,
            ) {
                failure.detail = format!(
                    "{}, {}",
                    failure.detail,
                    refused_pin::not_remembered(&order.state_directory, &e)
                );
            }
        }
        failure
    })
}

fn lock_wait(provider: &Provider) -> std::time::Duration {
    provider.fetch_deadline / LOCK_SHARE
}
