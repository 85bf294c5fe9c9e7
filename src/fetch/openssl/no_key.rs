//! Why neither engine nor provider gave a key.

use openssl::error::ErrorStack;

/// Why a key could not be opened.
pub struct NoKey {
    pub errors: ErrorStack,
    /// A PIN was asked for, and none was there.
    pub pin_needed: bool,
}

impl From<Option<ErrorStack>> for NoKey {
    fn from(errors: Option<ErrorStack>) -> Self {
        Self { errors: errors.unwrap_or_else(ErrorStack::get), pin_needed: false }
    }
}
