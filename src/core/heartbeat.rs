//! Which id the next heartbeat gets, and how many old rows go.
//!
//! The ids are what a restore is compared by, so they must be unique and rise whatever the clock
//! does. They begin at the start's Unix time, which makes them readable, and never fall behind what
//! is in the table.

use chrono::{DateTime, Utc};

/// The ids of one run of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    next: i64,
}

impl Ids {
    /// A run that starts at this time by the wall clock.
    pub fn starting_at(wall: DateTime<Utc>) -> Self {
        Self { next: wall.timestamp().max(1) }
    }

    /// The id for the next row, in a table whose largest id is `largest`; `None` once they are used
    /// up.
    pub fn next(&self, largest: Option<i64>) -> Option<i64> {
        match largest {
            None => Some(self.next),
            Some(largest) => Some(self.next.max(largest.checked_add(1)?)),
        }
    }

    /// The row with this id is in the table.
    pub fn written(&mut self, id: i64) {
        self.next = id.saturating_add(1);
    }
}

/// At most so many rows go with each insert: a table that grew large shrinks over minutes instead
/// of filling the WAL in one transaction.
const PRUNED_AT_ONCE: u64 = 10;

/// How many of the oldest rows to delete from a table of `rows`, of which `keep` are to stay (0:
/// all).
pub fn rows_to_prune(rows: u64, keep: u64) -> u64 {
    if keep == 0 { 0 } else { rows.saturating_sub(keep).min(PRUNED_AT_ONCE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(seconds: i64) -> Ids {
        Ids::starting_at(DateTime::from_timestamp(seconds, 0).unwrap())
    }

    #[test]
    fn begin_at_the_start_and_rise_by_one() {
        let mut ids = ids(1_700_000_000);
        assert_eq!(ids.next(None), Some(1_700_000_000));
        ids.written(1_700_000_000);
        assert_eq!(ids.next(Some(1_700_000_000)), Some(1_700_000_001));
    }

    #[test]
    fn never_fall_behind_the_table_when_the_clock_does() {
        assert_eq!(ids(5).next(Some(1_700_000_123)), Some(1_700_000_124));
        assert_eq!(ids(-5).next(None), Some(1));
        assert_eq!(ids(5).next(Some(i64::MAX)), None);
    }

    #[test]
    fn rows_go_by_their_number_a_few_at_a_time() {
        assert_eq!(rows_to_prune(100, 100), 0);
        assert_eq!(rows_to_prune(101, 100), 1);
        assert_eq!(rows_to_prune(5_000, 100), 10);
        assert_eq!(rows_to_prune(u64::MAX, 0), 0);
    }
}
