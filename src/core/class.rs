//! How a failed fetch is treated: all that the rotation has to know of it.

/// How a failure is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It passes by itself: tried again soon, with full jitter.
    Passing,
    /// A part of this device does not answer. It may come by itself, as a bus that is late does, or
    /// not at all: tried again soon at first, then slowly.
    Device,
    /// A person must mend it: tried again slowly.
    Setup,
    /// Each further try could lock the token: not tried again until the PIN was changed.
    PinRefused,
}

impl Class {
    /// Whether it may be over the next time, so that nothing is lost while good credentials are
    /// left.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Passing | Self::Device)
    }
}
