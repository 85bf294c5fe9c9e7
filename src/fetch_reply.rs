//! What the fetch child tells its parent: one JSON object on its standard output.

use serde::{Deserialize, Serialize};

use crate::{credentials::Credentials, failure::Failure};

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
