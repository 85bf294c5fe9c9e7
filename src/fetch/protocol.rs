//! What the fetch child and its parent say to each other: an order in, a reply out, one JSON object
//! each.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{core::credentials::Credentials, problems::failure::Failure, settings::Provider};

/// The largest reply that is read: an answer of the provider, and the words around it.
pub const MAX_REPLY_BYTES: usize = crate::core::credentials::MAX_ANSWER_BYTES + 16 * 1024;

/// What a whole reply ends with; JSON on one line has none inside.
pub const REPLY_END: u8 = b'\n';

/// The form of order and reply. Parent and child are the same build: the child is started from the
/// parent's own file, also where another one took its place. It is one more with each change that
/// the other side would not understand.
pub const VERSION: u32 = 1;

/// What the child reads from its standard input, so that nothing secret is in its arguments or
/// environment.
#[derive(Serialize, Deserialize)]
pub struct FetchOrder {
    pub version: u32,
    /// Who must still be the child's parent; another one means that the parent died before it could
    /// be watched.
    pub parent: u32,
    pub purpose: Purpose,
    pub provider: Provider,
    pub runtime_directory: PathBuf,
    pub state_directory: PathBuf,
}

/// What the child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Credentials; the answer is a [`FetchReply`].
    Fetch,
    /// The same for somebody who only looks: it makes no lock file where nobody has made one.
    Try,
    /// What can be seen without the network; the answer is [`Looked`].
    Look,
    /// The same without a look at the key, which somebody else is using.
    LookAtFiles,
}

/// What the child writes on its standard output.
#[derive(Serialize, Deserialize)]
pub struct Envelope<R> {
    pub reply: R,
    /// What the PKCS#11 module and its libraries printed, without the PIN: for the debug log.
    pub notes: String,
}

/// The outcome of one request to the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FetchReply {
    Credentials {
        credentials: Credentials,
        /// The `Date` header of the answer as it came; the parent judges it.
        date: Option<String>,
    },
    Failed {
        failure: Failure,
        /// The `Date` header, where an answer came at all.
        date: Option<String>,
    },
}

impl From<Failure> for FetchReply {
    /// A failure before any answer came.
    fn from(failure: Failure) -> Self {
        Self::Failed { failure, date: None }
    }
}

/// What is known of the device's own part of a fetch: all that goes before the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// None where the child did not get as far.
    pub certificate: Option<Result<CertificateFacts, Failure>>,
    /// None where the settings name no CA file.
    pub authorities: Option<Result<(), Failure>>,
    /// Why the proxy's user and password can't be taken from their file.
    pub proxy_file: Option<Failure>,
    /// The key was opened and has signed; none where it was not looked at.
    pub key: Option<Result<KeyFacts, Failure>>,
    /// Module and token without any login, where it is the PIN that kept the key from being opened.
    pub without_pin: Option<Result<(), Failure>>,
    /// Whether certificate and key belong together, where both are there.
    pub pair: Option<Result<(), Failure>>,
}

/// A certificate, as far as a person wants to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    pub subject: String,
    pub common_name: Option<String>,
    pub not_before: DateTime<Utc>,
    pub not_after: DateTime<Utc>,
}

/// A private key, without anything private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// Such as `EC, 256 bits`.
    pub kind: String,
}

impl From<Failure> for Looked {
    /// The child came to no answer, which is the token's doing.
    fn from(failure: Failure) -> Self {
        Self {
            certificate: None,
            authorities: None,
            proxy_file: None,
            key: Some(Err(failure)),
            without_pin: None,
            pair: None,
        }
    }
}
