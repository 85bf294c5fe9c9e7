//! The clocks. Everything else takes time as an argument; this is the one file that reads it.

#![allow(clippy::disallowed_methods, reason = "this is the place that may")]

use std::{fs, io, ops::Add, time::Duration};

use chrono::{DateTime, Local, Utc};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment on CLOCK_BOOTTIME: it never steps and goes on while the device sleeps. Resolution: 1 ms.
///
/// Two such moments can be compared only within one boot, see [`boot_id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boottime(u64);

impl Boottime {
    /// A moment so many milliseconds after boot.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since boot.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment so long before this one, or boot.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

impl Add<Duration> for Boottime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// This source was written after it: a wall clock that says less is wrong for certain.
pub const EARLIEST: DateTime<Utc> = match DateTime::from_timestamp(1_793_491_200, 0) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

/// Now, on CLOCK_BOOTTIME.
pub fn boottime() -> Boottime {
    // Linux has had this clock since 2.6.39 and the call fails for no other reason than its absence.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    Boottime(millis(now))
}

/// Now, by the wall clock, which may be wrong by decades on a device without an RTC.
pub fn wall() -> DateTime<Utc> {
    Utc::now()
}

/// Now, by the wall clock, in the device's time zone: for the eyes of people.
pub fn local() -> DateTime<Local> {
    Local::now()
}

/// Which boot this is; a [`Boottime`] kept in a file means something only together with it.
///
/// # Errors
/// As reading `/proc/sys/kernel/random/boot_id` gives them.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}
