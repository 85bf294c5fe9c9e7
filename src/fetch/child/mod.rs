//! The fetch child: an order in, one reply out, and no trace of the PIN.
//!
//! In the order in which they work: `isolation` takes from the process what it must not have; `pin`
//! reads the PIN; `token` takes the lock and opens the key; `request` asks; `answer` and
//! `transport` explain what came. `look` stops before the network, for whoever wants to know
//! whether the device's own part works.

mod answer;
mod ckr;
mod elf;
mod isolation;
mod key;
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
    process::ExitCode,
};

use self::{
    answer::HttpAnswer,
    isolation::{Isolated, NotEntered},
    key::{ChildState, open, remember},
    proof::Certified,
    request::ClientIdentity,
};
use crate::{
    fetch::{
        material,
        protocol::{Envelope, FetchOrder, FetchReply, Purpose},
    },
    problems::{
        exit_code,
        failure::{Cause, Failure},
    },
};

/// Does all that `edgerotate fetch --child` does. The order comes on standard input, the reply goes
/// to standard output, and whatever else is printed goes into the reply, without its secrets.
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
    let mut kept = ChildState::new(&order);
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

fn fetch(order: &FetchOrder, kept: &mut ChildState) -> Result<FetchReply, Failure> {
    let FetchOrder { provider, .. } = order;
    // Files first, token second, network last: what is cheap to look at is not found out by a
    // login.
    request::check_tls_backend()?;
    let chain = material::certificates(&provider.certificate)?;
    let authorities = provider.ca_file.as_deref().map(material::authorities).transpose()?;
    let proxy_user = request::proxy_user(provider)?;
    let (key, key_words) = open(order, kept)?;
    let certified = Certified::of(&chain, &provider.certificate)?;
    proof::check_match(&certified, &key, &key_words)
        .map_err(|failure| remember(failure, order, kept))?;
    let asked = request::ask(provider, ClientIdentity { chain, key, authorities }, proxy_user);
    asked.map(HttpAnswer::into_reply).map_err(|failure| remember(failure, order, kept))
}
