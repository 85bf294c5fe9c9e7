//! Credentials by their dates alone, and what one daemon leaves of them to the next.

use std::time::Duration;

use crate::core::boottime::Boottime;

/// Credentials that are held, by their dates alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub expires: Boottime,
    pub lifetime: Duration,
}

/// What the daemons before this one left behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Left {
    pub resumed: Option<Resumed>,
    /// The configured PIN was refused.
    pub pin_refused: bool,
    /// This boot's turn in the fleet; see `Rotation::turn`.
    pub turn: Option<Boottime>,
}

/// What an earlier daemon of this boot held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    pub held: Held,
    /// Litestream was seen to start with them.
    pub handed_over: bool,
}
