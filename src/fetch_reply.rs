//! What the fetch child and its parent say to each other: an order in, a reply out, one JSON object each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{config::Provider, credentials::Credentials, failure::Failure};

/// The largest reply that is read: an answer of the provider, and the words around it.
pub const MAX_REPLY_BYTES: usize = crate::credentials::MAX_ANSWER_BYTES + 16 * 1024;

/// What a whole reply ends with; JSON on one line has none inside.
pub const REPLY_END: u8 = b'\n';

/// What the child reads from its standard input, so that nothing secret is in its arguments or environment.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// Who must still be the child's parent; another one means that the parent died before it could be watched.
    pub parent: u32,
    pub provider: Provider,
    pub runtime_directory: PathBuf,
    pub state_directory: PathBuf,
}

/// What the child writes on its standard output.
#[derive(Serialize, Deserialize)]
pub struct Envelope {
    pub reply: FetchReply,
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
