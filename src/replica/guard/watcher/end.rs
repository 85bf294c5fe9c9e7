//! The daemon is told to stop, perhaps in the middle of a restart of Litestream.

use std::time::Duration;

use super::Watcher;
use crate::{
    core::guard::{Event, Keeper},
    replica::guard::database::Database,
    system::clock,
};

/// What a Litestream that has just started is given to take its own read lock: it needs about a
/// second. The daemon has two to stop, and more to do in them.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(1);

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);

impl Watcher {
    /// Waits for a Litestream that is about to take over, and leaves in the record what was seen
    /// last. A guard that nobody took over by then ends with this daemon; the next one finds out
    /// what happened.
    pub(super) fn end(&mut self) {
        let begun = clock::boottime();
        if self.restarting {
            // Nobody waits for its end any more. If the old Litestream goes on, it is as good.
            self.restarting = false;
            self.databases.iter_mut().for_each(Database::anybody_may_be_litestream);
            self.tell_all(Event::RestartOver);
        }
        while self.may_be_taken_over() && clock::boottime().since(begun) < TAKES_OVER_WITHIN {
            // Whoever asks anything now is told nothing: the daemon ends.
            self.inbox.pause(LOOK);
            self.look();
        }
        self.record.keep_all(self.memories());
    }

    fn may_be_taken_over(&self) -> bool {
        let is_up = self.litestream.current_start().is_some() || !self.litestream.can_be_seen();
        let is_guarded = |database: &Database| database.machine.keeper == Keeper::Guard;
        is_up && !self.mending.is_under_way() && self.databases.iter().any(is_guarded)
    }
}
