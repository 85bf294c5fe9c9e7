//! How a failed fetch is treated: all that the rotation has to know of it.

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
