//! What a start of Litestream is asked to mend by a new snapshot, and what comes of it.

use std::path::PathBuf;

use super::Watcher;
use crate::{
    core::{guard::Event, suspect::BEGUN},
    replica::mend::{Later, MendOutcome, Wanted},
    system::clock,
};

impl Watcher {
    /// Litestream is about to start: what is to be mended first.
    pub(super) fn litestream_asks(&mut self) -> Wanted {
        // What it replicates may have been corrected since.
        self.unlisted.clear();
        // If it ended by itself, this may be the first to hear of it.
        self.look();
        let databases = self.wanted();
        let suspect = self.marks.told();
        let now = clock::boottime();
        let is_tried = self.mending.asked(&suspect, !databases.is_empty(), now);
        self.marks.mends_itself = true;
        if is_tried {
            self.tell_all(Event::MendingBegins);
            return Wanted { databases, ..Wanted::default() };
        }
        let next = self.mending.next_in(now).filter(|_| !databases.is_empty());
        let later = next.map(|wait| Later { suspect: databases.len(), seconds: wait.as_secs() });
        if let Some(later) = later {
            log::warn!("Litestream starts without a new snapshot: {later}");
        }
        Wanted { later, ..Wanted::default() }
    }

    /// Suspect replicas, but for those that would be suspect again at once, and those that there
    /// are none of.
    pub(super) fn wanted(&self) -> Vec<PathBuf> {
        let is_hopeless = |path: &PathBuf| {
            self.unlisted.contains(path)
                || self.databases.iter().any(|d| d.path == *path && d.cannot_be_guarded())
        };
        let suspect = self.marks.told().databases.into_iter();
        let unmended = suspect.filter(|(_, reasons)| reasons.iter().any(|r| r.what != BEGUN));
        unmended.map(|(path, _)| path).filter(|path| !is_hopeless(path)).collect()
    }

    /// It was mended, or not; now Litestream starts.
    pub(super) fn mended(&mut self, outcome: &MendOutcome) {
        self.tell_all(Event::Mended);
        if let Some(why) = &outcome.failed {
            log::warn!("no new snapshot was made of what is suspect: {why}; it is tried again");
        }
        for path in &outcome.unlisted {
            log::warn!(
                "{}: its replica stays suspect: EDGEROTATE_LITESTREAM_CONFIG does not name the \
                 database",
                path.display()
            );
            self.unlisted.push(path.clone());
        }
        let Some(seen) = self.mending.ended(outcome.failed.is_none()) else { return };
        for path in &outcome.mended {
            self.marks.clear(path, &seen);
        }
        for path in &outcome.begun {
            self.marks.begun(path, &seen);
        }
    }
}
