//! What the state machine goes by: how early, how often, and how far apart the devices of a fleet.

use std::time::Duration;

use super::held::Held;
use crate::core::{backoff::Backoff, boottime::Boottime};

/// How the device behaves, fixed for the life of the daemon.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// A rotation begins this long before expiry, or at half the lifetime if that is less.
    pub lead: Duration,
    /// This device's place in the fleet, from 0 to 1: a rotation begins earlier by this share of
    /// [`JITTER`] of the lifetime, so that devices which booted together drift apart.
    pub jitter: f64,
    /// What the boot starts asks for its first credentials within this time, not at once: after a
    /// power cut a whole fleet boots in the same second.
    pub boot_spread: Duration,
    pub delivery: HandOverPolicy,
}

/// How Litestream gets at what was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOverPolicy {
    /// Each time anew: the credentials are written, and Litestream restarts with them.
    EachTime,
    /// It asks for them itself. Where to ask is written once, and Litestream is started with that;
    /// `done`: it was, by an earlier daemon of this boot.
    Once { done: bool },
}

impl Policy {
    /// When these credentials are to be replaced.
    pub(super) fn rotation_due(&self, held: Held) -> Boottime {
        let lead = self.lead.min(held.lifetime / 2);
        held.expires.before(lead + held.lifetime.mul_f64(JITTER * self.jitter.clamp(0.0, 1.0)))
    }

    /// When a device that the boot started asks for its first credentials: a moment that is drawn
    /// once a boot, by a daemon before this one if it was `drawn`. `share`: from 0 to 1, at random.
    /// None for a device that has not just booted.
    pub(super) fn turn(
        &self,
        drawn: Option<Boottime>,
        share: f64,
        now: Boottime,
    ) -> Option<Boottime> {
        let is_spread = now < BOOTING && !self.boot_spread.is_zero();
        // The setting may be a shorter one by now.
        let latest = now + self.boot_spread;
        let turn = || drawn.unwrap_or(now + self.boot_spread.mul_f64(share)).min(latest);
        is_spread.then(turn)
    }
}

/// A machine that starts within this time after the boot was started by the boot, also on a slow
/// device.
const BOOTING: Boottime = Boottime::from_millis(5 * 60 * 1000);

/// The share of the lifetime over which a fleet's rotations are spread.
pub(super) const JITTER: f64 = 0.1;

/// Faults that pass. The cap bounds what comes at an outage's end: of a fleet that waits for it,
/// one in 75 asks in each second, and a device notices the end after 75 s on average. Where
/// credentials are about to expire, it tries sooner.
pub(super) const PASSING: Backoff = Backoff {
    floor: Duration::from_secs(1),
    first: Duration::from_secs(2),
    cap: Duration::from_secs(150),
};

/// Between a failed try and one that a program brings nearer by asking. A fleet whose programs all
/// ask in an outage, each device from its own failure on, thus shows the provider 2 % of its
/// devices in each second.
pub(super) const WANTED_PAUSE: Duration = Duration::from_secs(50);

/// A part of the device that does not answer is tried so often as if it passed, for two minutes at
/// the most; after that as if a person must mend it.
pub(super) const SOON_TRIES: u32 = 6;

/// Mistakes that a person mends: quick enough for the technician who waits, rare enough for a fleet
/// whose role alias was deleted.
pub(super) const SETUP: Backoff = Backoff {
    floor: Duration::from_secs(30),
    first: Duration::from_secs(120),
    cap: Duration::from_secs(900),
};

/// A write or a restart that failed: local, so no jitter is needed and Litestream waits for it.
pub(super) const HAND_OVER: Backoff = Backoff {
    floor: Duration::from_secs(1),
    first: Duration::from_secs(1),
    cap: Duration::from_secs(60),
};
