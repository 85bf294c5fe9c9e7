//! The clocks. Everything else takes time as an argument; this is the one file that reads it.

#![allow(clippy::disallowed_methods, reason = "this is the place that may")]

use std::{fs, io, time::Duration};

use chrono::{DateTime, Local, Utc};
use nix::time::{ClockId, clock_gettime};

use crate::core::boottime::Boottime;

/// This source was written after it: a wall clock that says less is wrong for certain.
pub const EARLIEST: DateTime<Utc> = match DateTime::from_timestamp(1_793_491_200, 0) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

/// Now, on CLOCK_BOOTTIME.
pub fn boottime() -> Boottime {
    // Linux has had this clock since 2.6.39 and the call fails for no other reason than its
    // absence.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    Boottime::from_millis(0) + now
}

/// Now, by the wall clock, which may be wrong by decades on a device without an RTC.
pub fn wall() -> DateTime<Utc> {
    Utc::now()
}

/// Now, by the wall clock, in the device's time zone: for the eyes of people.
pub fn local() -> DateTime<Local> {
    Local::now()
}

/// How long the device has been awake since boot (CLOCK_MONOTONIC): it stands still while the
/// device sleeps.
pub fn awake() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Which boot this is; a [`Boottime`] kept in a file means something only together with it.
///
/// # Errors
/// As reading `/proc/sys/kernel/random/boot_id` gives them.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}
