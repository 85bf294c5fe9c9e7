//! When a new snapshot of suspect replicas is wanted: at most so often, however often Litestream
//! starts.

use std::time::Duration;

use crate::core::{backoff::Backoff, boottime::Boottime, suspect::Suspect};

/// A snapshot is as large as the database, and some are made in vain.
const TRIES: Backoff = Backoff {
    floor: Duration::from_secs(600),
    first: Duration::from_secs(600),
    cap: Duration::from_secs(24 * 3600),
};

/// What is known of it.
#[derive(Debug, Default)]
pub struct Mending {
    /// A start of Litestream has asked: whatever starts it runs `edgerotate mend`.
    is_known: bool,
    /// Tries since a snapshot was made, and when the next may be.
    tries: u32,
    next: Option<Boottime>,
    /// When a restart was asked for, for this purpose alone.
    restart_asked: Option<Boottime>,
    /// What was suspect when the try that is under way began.
    under_way: Option<Suspect>,
}

impl Mending {
    /// A start of Litestream asks. Whether it may be told to make a snapshot of what is `suspect`.
    pub fn asked(&mut self, suspect: &Suspect, wanted: bool, now: Boottime) -> bool {
        self.is_known = true;
        if !wanted || !self.may_try(now) {
            return false;
        }
        self.tries = self.tries.saturating_add(1);
        self.next = Some(now + TRIES.delay(self.tries, 1.0));
        self.under_way = Some(suspect.clone());
        true
    }

    /// It came to an end: what was suspect when it began.
    pub fn ended(&mut self, succeeded: bool) -> Option<Suspect> {
        if succeeded {
            // The next may come as early as after a first failure, no earlier: Litestream may be
            // ending again and again.
            self.tries = 0;
        }
        self.under_way.take()
    }

    /// How long until the next try, if it is too early for it.
    pub fn next_in(&self, now: Boottime) -> Option<Duration> {
        self.next.filter(|next| *next > now).map(|next| next.since(now))
    }

    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Asks for a restart of Litestream, if one is due for it: once for each try.
    pub fn ask_for_restart(&mut self, now: Boottime) -> bool {
        let was_asked_lately = self.restart_asked.is_some_and(|at| now.since(at) < TRIES.floor);
        if !self.is_known || was_asked_lately || !self.may_try(now) {
            return false;
        }
        self.restart_asked = Some(now);
        true
    }

    fn may_try(&self, now: Boottime) -> bool {
        self.under_way.is_none() && self.next.is_none_or(|next| now >= next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Boottime {
        Boottime::from_millis(minutes * 60_000)
    }

    #[test]
    fn is_tried_at_once_and_then_ever_more_rarely() {
        let (mut mending, suspect) = (Mending::default(), Suspect::default());
        let mut tries = Vec::new();
        // Litestream starts each minute.
        for minute in 0..200 {
            if mending.asked(&suspect, true, at(minute)) {
                tries.push(minute);
                assert!(!mending.asked(&suspect, true, at(minute)), "one at a time");
                assert!(mending.ended(false).is_some());
            } else {
                assert!(mending.next_in(at(minute)).is_some());
            }
        }
        assert_eq!(tries, [0, 10, 30, 70, 150]);
        assert!(mending.asked(&suspect, true, at(2000)));
        mending.ended(true);
        assert!(mending.asked(&suspect, true, at(10_000)));
        mending.ended(false);
        assert!(!mending.asked(&suspect, true, at(10_009)));
        assert!(mending.asked(&suspect, true, at(10_010)));
    }

    #[test]
    fn a_restart_is_asked_for_where_something_will_mend() {
        let (mut mending, suspect) = (Mending::default(), Suspect::default());
        assert!(!mending.ask_for_restart(at(0)), "nobody would mend");
        assert!(!mending.asked(&suspect, false, at(0)));
        assert!(mending.ask_for_restart(at(1)));
        assert!(!mending.ask_for_restart(at(2)));
        assert!(mending.asked(&suspect, true, at(2)));
        mending.ended(false);
        assert!(!mending.ask_for_restart(at(11)));
        assert!(mending.ask_for_restart(at(12)));
    }
}
