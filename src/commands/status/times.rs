//! Moments of the record, by the clock of the one who reads it.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};

use crate::{
    core::{boottime::Boottime, span::span},
    record::{Clocks, Moment},
    system::clock::EARLIEST,
};

/// When and where it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    pub boottime: Boottime,
    /// In the device's time zone.
    pub wall: DateTime<FixedOffset>,
    pub boot_id: String,
}

/// Tells when a moment of the record was, or will be.
#[derive(Clone, Debug)]
pub struct Times {
    /// A moment, and what the wall clock says to it.
    known: (Boottime, DateTime<FixedOffset>),
    now: DateTime<FixedOffset>,
    /// Moments can be compared with now.
    is_this_boot: bool,
}

impl Times {
    /// For a record that was written with these clocks, in the boot `boot_id`.
    pub fn new(clocks: &Clocks, boot_id: &str, now: &Now) -> Self {
        let is_this_boot = boot_id == now.boot_id;
        let known = if is_this_boot {
            (now.boottime, now.wall)
        } else {
            (clocks.boottime.at, clocks.wall.with_timezone(now.wall.offset()))
        };
        Self { known, now: now.wall, is_this_boot }
    }

    pub fn is_this_boot(&self) -> bool {
        self.is_this_boot
    }

    /// The device's clock shows a time before this program was written.
    pub fn clock_is_wrong(&self) -> bool {
        self.now < EARLIEST
    }

    /// By the wall clock.
    pub fn wall(&self, moment: Moment) -> DateTime<FixedOffset> {
        let (at, wall) = self.known;
        wall.checked_add_signed(difference(moment.at, at)).unwrap_or(wall)
    }

    /// How far ahead it is, in seconds; negative in the past. In a record of another boot nothing
    /// can be said.
    pub fn ahead_s(&self, moment: Moment) -> Option<f64> {
        let ahead = difference(moment.at, self.known.0);
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of centuries fit")]
        self.is_this_boot.then(|| ahead.num_milliseconds() as f64 / 1000.0)
    }

    /// How long ago it was; nothing for what lies ahead.
    pub fn age(&self, moment: Moment) -> Option<Duration> {
        self.is_this_boot.then(|| self.known.0.since(moment.at))
    }

    pub fn is_over(&self, moment: Moment) -> bool {
        !self.is_this_boot || moment.at <= self.known.0
    }

    /// "14:02:11 (8 min ago)" or "14:57:04 (in 47 min)".
    pub fn show(&self, moment: Moment) -> String {
        let at = self.clock(moment);
        if !self.is_this_boot {
            return at;
        }
        let (ago, ahead) = (self.known.0.since(moment.at), moment.at.since(self.known.0));
        let how_far = if ahead.is_zero() {
            format!("{} ago", span(ago))
        } else {
            format!("in {}", span(ahead))
        };
        format!("{at} ({how_far})")
    }

    pub fn now(&self) -> String {
        self.now.format("%F %T").to_string()
    }

    /// A time that was kept by the wall clock of then: "2026-11-21 14:02:11".
    pub fn date(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(self.now.offset()).format("%F %T").to_string()
    }

    /// "14:02:11", with the day if it is not today. What a clock of 1970 says helps nobody.
    pub fn clock(&self, moment: Moment) -> String {
        if self.clock_is_wrong() {
            return "--:--:--".to_owned();
        }
        let at = self.wall(moment);
        let form = if at.date_naive() == self.now.date_naive() { "%H:%M:%S" } else { "%F %T" };
        at.format(form).to_string()
    }
}

fn difference(moment: Boottime, from: Boottime) -> TimeDelta {
    let signed = |duration| TimeDelta::from_std(duration).unwrap_or_default();
    signed(moment.since(from)) - signed(from.since(moment))
}
