//! The daemon is told to stop, perhaps in the middle of a restart of Litestream.

use std::{thread, time::Duration};

use super::{LOOK, Watcher};
use crate::{
    replica::guard::database::{Database, Keeper},
    system::clock,
};

/// What a Litestream that has just started is given to take its own read lock: it needs about a second. The daemon has
/// two to stop, and more to do in them.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(1);

impl Watcher {
    /// Waits for a Litestream that is about to take over, so that the next daemon finds the WALs kept by it; and leaves in
    /// the record who keeps them. A guard that nobody took over by then ends with this daemon: that is a gap.
    pub(super) fn end(&mut self) {
        let begun = clock::boottime();
        if self.restarting {
            // Nobody waits for its end any more. If the old Litestream goes on, it is as good.
            self.restarting = false;
            self.databases.iter_mut().for_each(Database::anybody_may_be_litestream);
        }
        while self.may_be_taken_over() && clock::boottime().since(begun) < TAKES_OVER_WITHIN {
            thread::park_timeout(LOOK);
            let now = clock::boottime();
            self.start = self.litestream.current_start();
            for number in 0..self.databases.len() {
                self.consider(number, now);
            }
        }
        self.keep_record();
    }

    fn may_be_taken_over(&self) -> bool {
        let is_up = self.litestream.current_start().is_some() || !self.litestream.can_be_seen();
        let is_guarded = |database: &Database| matches!(database.keeper, Keeper::Guard(_));
        is_up && !self.mending.is_under_way() && self.databases.iter().any(is_guarded)
    }
}
