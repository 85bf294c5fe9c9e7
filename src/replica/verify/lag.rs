//! How long the oldest row that is not in the replica has been waiting.
//!
//! The rows carry a time, `created_at`, but it is the wall clock's, and that clock steps: a device
//! without an RTC writes its first rows in the past, and the next ones years later. So the age is
//! not taken as "now less `created_at`". It is added up from row to row: heartbeats come at an
//! interval that is known, so a distance of more than two intervals between neighbours means that
//! the clock was set or the device was off, and counts as two; a distance backwards counts as
//! nothing. What is added after the last row is the time by the wall clock until now, but no more
//! than the device has been up. The sum is time during which the device ran and the row waited.
//!
//! Where it errs: a pause of the heartbeat while the device ran counts as two intervals only, so
//! the lag can be too small there; and a clock set forward after the last heartbeat makes it too
//! large until the next one.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// A sum over the waiting rows, in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    longest_step: u64,
    seconds: u64,
    last: Option<i64>,
    rows: u64,
}

/// A look at the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagClocks {
    pub wall: DateTime<Utc>,
    pub uptime: Duration,
}

impl Waiting {
    /// For heartbeats at this interval.
    pub fn new(interval: Duration) -> Self {
        // created_at has whole seconds: neighbours can look one further apart than they are.
        let longest_step = interval.as_secs().saturating_mul(2).max(2);
        Self { longest_step, seconds: 0, last: None, rows: 0 }
    }

    /// Adds a row by its `created_at`, in Unix seconds; a row without a usable one adds nothing.
    pub fn add(&mut self, created: Option<i64>) {
        self.rows += 1;
        let Some(created) = created else { return };
        if let Some(last) = self.last {
            let step = u64::try_from(created.saturating_sub(last)).unwrap_or(0);
            self.seconds = self.seconds.saturating_add(step.min(self.longest_step));
        }
        self.last = Some(created);
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How long the first of the rows had been waiting at this moment; nothing if there is none.
    pub fn until(&self, now: LagClocks) -> Duration {
        let since_last = self.last.map_or(0, |last| now.wall.timestamp().saturating_sub(last));
        let since_last = Duration::from_secs(u64::try_from(since_last).unwrap_or(0));
        Duration::from_secs(self.seconds) + since_last.min(now.uptime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(created: &[i64], now: i64, uptime: u64) -> u64 {
        let mut waiting = Waiting::new(Duration::from_secs(5));
        for created in created {
            waiting.add(Some(*created));
        }
        let wall = DateTime::from_timestamp(now, 0).unwrap();
        waiting.until(LagClocks { wall, uptime: Duration::from_secs(uptime) }).as_secs()
    }

    #[test]
    fn is_the_age_of_the_oldest_row_on_a_sound_clock() {
        assert_eq!(lag(&[], 1000, 1000), 0);
        assert_eq!(lag(&[998], 1000, 1000), 2);
        assert_eq!(lag(&[900, 905, 910, 915], 917, 1000), 17);
        // A second program writes many rows a second.
        assert_eq!(lag(&[900, 900, 900, 901, 901, 902], 903, 1000), 3);
    }

    #[test]
    fn a_clock_that_is_set_while_rows_wait_adds_two_intervals_at_most() {
        // Forward by fifty years, as a device without an RTC does after its first time
        // synchronisation.
        assert_eq!(lag(&[10, 15, 1_800_000_000, 1_800_000_005], 1_800_000_007, 60), 22);
        // Backward.
        assert_eq!(lag(&[1000, 1005, 200, 205], 207, 60), 12);
        assert_eq!(lag(&[1000], 10, 60), 0);
    }

    #[test]
    fn time_that_the_device_was_off_does_not_count() {
        // Two rows before the power went, three days ago; up for 20 s, no heartbeat yet.
        assert_eq!(lag(&[1000, 1005], 1005 + 3 * 86_400, 20), 25);
        assert_eq!(lag(&[1000, 1005, 300_000, 300_005], 300_006, 20), 21);
    }

    #[test]
    fn a_dead_heartbeat_does_not_hide_a_dead_replication() {
        assert_eq!(lag(&[1000, 1005], 1005 + 7200, 86_400), 7205);
    }

    #[test]
    fn rows_without_a_time_are_counted_and_add_nothing() {
        let mut waiting = Waiting::new(Duration::from_millis(100));
        for created in [Some(100), None, Some(101)] {
            waiting.add(created);
        }
        let now = LagClocks {
            wall: DateTime::from_timestamp(101, 0).unwrap(),
            uptime: Duration::from_secs(9),
        };
        assert_eq!((waiting.rows(), waiting.until(now)), (3, Duration::from_secs(1)));
        let nothing = Waiting::new(Duration::from_secs(5));
        assert_eq!(nothing.until(now), Duration::ZERO);
    }
}
