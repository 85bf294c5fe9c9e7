//! Whether anything was overwritten before Litestream had read it: found out afterwards, whatever
//! happened in between.
//!
//! A row can be lost in one way only: the WAL begins anew while it holds frames that Litestream has
//! not read. That leaves traces. The header of the new WAL has other salts; what Litestream left
//! beside the database tells how far it had read the old one; and the frames of the old one stay in
//! the file until they are overwritten. Frames behind what was read are rows that are missing. No
//! such frames: all was read. Where neither can be shown, the replica is marked.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{
    look::{Before, Look, Notes, Position, Read, Salts, Tail, Wal},
    rules::{Rule, Rules},
    steps::MarkReason,
};

/// What is remembered from one look to the next, and left to the next daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The newest WAL that was not empty, and whether Litestream's process with this id held a lock
    /// then.
    wal: Option<Wal>,
    holder: Option<u32>,
    /// The newest position that was seen.
    read: Option<Read>,
    /// This WAL is over, and was seen to have been read to its end.
    closed: Option<Salts>,
    /// That rows of this WAL were not read was told. What mends the replica since, mends that.
    told: Option<Salts>,
}

impl Evidence {
    /// Whether the two differ in no more than how far the same WAL has grown and was read. A little
    /// less of that can make a judgement less certain, and none wrong.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let names = |evidence: &Self| {
            let read = evidence.read.map(|read| (read.notes, read.salts, read.whole));
            let wal = evidence.wal.map(|wal| wal.salts);
            (wal, evidence.holder, read, evidence.closed, evidence.told)
        };
        names(self) == names(other)
    }

    /// Judges what happened since the look before.
    pub(super) fn judge(&mut self, look: &Look, rules: Rules) -> Option<MarkReason> {
        let wal = look.wal?;
        let before = *self;
        self.wal = wal.salts.map(|_| wal).or(self.wal);
        self.holder = look.lock.map(|lock| lock.pid);
        if !look.was_replicated {
            return None;
        }
        match &look.position {
            Position::Read(read) => {
                self.read = Some(*read);
                if wal.salts.is_some_and(|salts| salts.follow(read.salts))
                    && look.tail == Tail::Read
                {
                    self.closed = Some(read.salts);
                }
                let lost = before.lost(read, &wal, look.tail, rules);
                if lost == Some(MarkReason::Unread) && wal.salts != Some(read.salts) {
                    self.told = Some(read.salts);
                }
                lost
            }
            // A new one will begin with a copy of all, or show that it did not.
            Position::Nothing if before.read.is_some() => None,
            Position::Nothing | Position::Unknown => before.unproven(look, &wal, rules),
        }
    }

    /// Whether a position was ever seen.
    pub(super) fn knows_position(&self) -> bool {
        self.read.is_some()
    }

    fn lost(&self, read: &Read, wal: &Wal, tail: Tail, rules: Rules) -> Option<MarkReason> {
        // The WAL began anew, and Litestream has not read on yet. 0.5 never looks back; 0.3 does,
        // and where nothing can be told, both begin with a copy of all: what follows will show.
        let is_behind = wal.salts.is_some_and(|salts| salts != read.salts);
        if is_behind && tail == Tail::Unread && read.notes == Notes::Ltx {
            return (self.told != Some(read.salts)).then_some(MarkReason::Unread);
        }
        let Some(last) = &self.read else {
            // The first look.
            let unread = read.before.is_some_and(|before| before.tail == Tail::Unread);
            return (unread && !read.whole).then_some(MarkReason::Unread);
        };
        if last.salts == read.salts || read.whole {
            return None;
        }
        if !rules.holds(Rule::JudgeEachBeginning) {
            return None;
        }
        if read.notes == Notes::Shadow {
            // 0.3 copies the end of the old WAL before it turns to the new one, or begins with a
            // copy of all. So it is enough that no WAL was left out.
            let wals = u64::from(read.salts.0.wrapping_sub(last.salts.0));
            let was_each_read = read.serial.checked_sub(last.serial) == Some(wals);
            return (!was_each_read).then_some(MarkReason::Unproven);
        }
        let Some(before) = read.before.filter(|before| before.salts == last.salts) else {
            return Some(MarkReason::Unproven);
        };
        if !read.salts.follow(before.salts) {
            return Some(MarkReason::Unproven);
        }
        match before.tail {
            _ if self.told == Some(before.salts) => None,
            Tail::Read => None,
            Tail::Unread => Some(MarkReason::Unread),
            Tail::Gone if self.closed == Some(before.salts) => None,
            Tail::Gone if self.counts_show_all_was_read(&before, wal) => None,
            Tail::Gone if !rules.holds(Rule::MarkWhatIsGone) => None,
            Tail::Gone => Some(MarkReason::Unproven),
        }
    }

    /// The traces of the old WAL are overwritten; but SQLite counts transactions. Those since the
    /// last look which are not in the new WAL were in the old one. None, or one where something was
    /// read since: then all was read.
    fn counts_show_all_was_read(&self, before: &Before, wal: &Wal) -> bool {
        let (Some(last), Some(commits)) = (&self.wal, wal.commits) else { return false };
        if last.salts != Some(before.salts) {
            return false;
        }
        let Some(since) = wal.changes.checked_sub(last.changes) else { return false };
        let Some(in_old) = since.checked_sub(commits) else { return false };
        match last.end.cmp(&before.end) {
            Ordering::Less => in_old <= 1,
            Ordering::Equal => in_old == 0,
            Ordering::Greater => false,
        }
    }

    /// Without a position only the lock tells: one that the same process holds at both looks.
    fn unproven(&self, look: &Look, wal: &Wal, rules: Rules) -> Option<MarkReason> {
        let old = self.wal.and_then(|wal| wal.salts);
        let began_anew = matches!((old, wal.salts), (Some(old), Some(new)) if old != new);
        let was_kept = self.holder.is_some() && self.holder == look.lock.map(|lock| lock.pid);
        (began_anew && !was_kept && rules.holds(Rule::MarkUnprovenBeginning))
            .then_some(MarkReason::Unproven)
    }
}
