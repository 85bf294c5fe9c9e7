//! What can go wrong with a fetch, and what a person does about it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Why a fetch gave no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub cause: Cause,
    /// What was found here: a host, a path, the peer's message. Never a secret.
    pub detail: String,
    /// What the provider asked for with `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// How a failure is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It passes by itself: tried again soon, with full jitter.
    Passing,
    /// A person must mend it: tried again slowly.
    Setup,
    /// Each further try could lock the token: not tried again until the PIN was changed.
    PinRefused,
}

/// The causes that are told apart. The names in kebab case are stable: logs and `--json` carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    Dns,
}

impl Failure {
    /// A failure without a `Retry-After`.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
            retry_after: None,
        }
    }
}

impl Cause {
    pub fn class(self) -> Class {
        match self {
            Self::Dns => Class::Passing,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}
