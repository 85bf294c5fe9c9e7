//! How far the state machine is, in words for people and programs. Nothing is decided by them.

use serde::{Deserialize, Serialize};

use super::machine::{Acquire, HandOver, Rotation};
use crate::core::boottime::Boottime;

/// Where the acquiring of credentials is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acquiring {
    /// The next fetch is the next rotation, or the first one.
    Waiting,
    /// The last fetch failed; the next one tries again.
    Retrying,
    Fetching,
    /// Nothing is tried until the PIN is changed.
    PinRefused,
}

/// Where the hand-over of the newest credentials is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandingOver {
    /// Litestream was seen to start with them, or there are none.
    Done,
    /// The next step, or the next try, begins at its time.
    Due,
    UnderWay,
}

impl Rotation {
    pub fn acquiring(&self) -> Acquiring {
        match &self.acquire {
            Acquire::Due { failed, .. } if failed.times > 0 => Acquiring::Retrying,
            Acquire::Due { .. } => Acquiring::Waiting,
            Acquire::UnderWay => Acquiring::Fetching,
            Acquire::PinRefused { .. } => Acquiring::PinRefused,
        }
    }

    pub fn handing_over(&self) -> HandingOver {
        match &self.hand_over {
            HandOver::Done => HandingOver::Done,
            HandOver::WriteDue { .. } | HandOver::RestartDue { .. } => HandingOver::Due,
            HandOver::UnderWay { .. } => HandingOver::UnderWay,
        }
    }

    /// When the next step of the hand-over begins, unless one is under way or none is left.
    pub fn next_hand_over(&self) -> Option<Boottime> {
        match self.hand_over {
            HandOver::WriteDue { at, .. } | HandOver::RestartDue { at, .. } => Some(at),
            HandOver::Done | HandOver::UnderWay { .. } => None,
        }
    }
}
