//! Who keeps the WAL: when the guard is taken, held and let go.

use std::{mem, time::Duration};

use super::{
    look::{Awake, LitestreamRun, Look, Notes, Slot},
    machine::{Machine, doubled, place},
    rules::Rule,
    steps::{Action, Keeper, MarkReason, Proof},
};

/// Litestream 0.5 with S3 out of reach holds its lock for as long as the SDK's ten tries take: 110
/// to 118 s were measured.
pub const OUTLIVES_S3: Duration = Duration::from_secs(150);

/// Litestream 0.3 reads a little before it begins the transaction that it keeps.
const STEADY: Duration = Duration::from_millis(300);

/// Whoever reads for so long may be Litestream, where nobody can tell.
const STEADY_STRANGER: Duration = Duration::from_secs(1);

/// A Litestream that S3 refused tries again after five minutes at the latest. Before that its
/// silence means nothing.
const TRIES_AGAIN: Duration = Duration::from_secs(330);

/// So often a Litestream that may have nothing to read is given something.
const NUDGE: Duration = Duration::from_secs(15);

/// A guard that can't be had is sought again after this, and ever more rarely.
const SEEK_AGAIN: Duration = Duration::from_secs(5);
const SEEK_AGAIN_AT_MOST: Duration = Duration::from_secs(300);

impl Machine {
    /// Who is to keep the WAL from here on.
    pub(super) fn keep(&mut self, look: &Look, now: Awake) -> Vec<Action> {
        let bytes = look.wal.map_or(0, |wal| wal.end);
        self.bytes = bytes;
        if bytes < self.limits.wal || self.keeper != Keeper::Litestream {
            self.large = None;
        }
        let pause = mem::take(&mut self.paused);
        if self.keeper == Keeper::Litestream {
            return self.left_to_litestream(look, bytes, now);
        }
        if let Some(proof) = self.proof(look, now) {
            self.keeper = Keeper::Litestream;
            return vec![Action::LetGo(proof)];
        }
        match self.keeper {
            Keeper::Guard => self.hold(look, bytes, pause, now),
            Keeper::GivenUp if self.run_since == now => vec![Action::Take],
            Keeper::GivenUp => last_resort(look, bytes, self.limits.large()),
            Keeper::Nobody => {
                let wait = doubled(SEEK_AGAIN, self.sought.0, SEEK_AGAIN_AT_MOST);
                if now >= self.sought.1 + wait || self.sought.0 == 0 {
                    vec![Action::Take]
                } else {
                    last_resort(look, bytes, self.limits.large())
                }
            }
            Keeper::Litestream => Vec::new(),
        }
    }

    fn left_to_litestream(&mut self, look: &Look, bytes: u64, now: Awake) -> Vec<Action> {
        if look.lock.is_none() && self.rules.holds(Rule::LookingNeverEnds) {
            // The same Litestream may take it again; it has to prove itself by what it reads then.
            self.base = Some(look.position);
            return vec![Action::Take];
        }
        if bytes < self.limits.wal {
            return Vec::new();
        }
        // Litestream checkpoints by itself, and may have a larger WAL in mind: only what stays is
        // said.
        let (since, is_said) = *self.large.get_or_insert((now, false));
        if is_said || now.saturating_sub(since) < self.limits.still {
            return Vec::new();
        }
        self.large = Some((since, true));
        vec![Action::SayLarge]
    }

    fn hold(&mut self, look: &Look, bytes: u64, paused: Option<Awake>, now: Awake) -> Vec<Action> {
        let limits = &self.limits;
        let is_up = self.is_up();
        let (since, silent_for) = match self.has_signed {
            _ if !self.rules.holds(Rule::OnlySilenceCounts) => (self.run_since, limits.time),
            true => (self.sign.max(self.run_since), limits.time.max(TRIES_AGAIN)),
            false => (self.sign.max(self.run_since), limits.time),
        };
        let silent = now.saturating_sub(since);
        let is_away = self.is_restarting || self.is_mending || !is_up;
        let waited = paused.is_some_and(|since| now.saturating_sub(since) >= limits.time);
        // A WAL that Litestream let grow beyond the limit is held over its restart all the same.
        let limit = limits.wal.max(self.taken_at.saturating_add(limits.wal / 4));
        let reason = if bytes >= limit || waited {
            Some(MarkReason::TooLarge)
        } else if !is_away && silent >= silent_for {
            Some(MarkReason::TooLong)
        } else {
            None
        };
        if let Some(reason) = reason.filter(|_| self.rules.holds(Rule::EndAtTheLimit)) {
            self.keeper = Keeper::GivenUp;
            let mut actions = vec![Action::Mark(reason), Action::GiveUp];
            actions.extend(last_resort(look, bytes, limits.large()));
            return actions;
        }
        if self.is_heartbeats && bytes >= limit - limits.wal / 4 {
            self.paused = paused.or(Some(now));
        }
        let pins_nothing = look.own != Some(Slot::Pins);
        let has_frames = look.wal.is_some_and(|wal| !wal.copied);
        if pins_nothing && has_frames {
            return vec![Action::Take];
        }
        if self.wants_nudge(look, now) {
            self.nudged = Some(now);
            return vec![Action::Nudge];
        }
        Vec::new()
    }

    /// A Litestream that has read all can't show that it reads on, unless it is given something to
    /// read. On a WAL that is all copied, and that nobody pins, this write begins the WAL anew:
    /// only where all of it was read.
    fn wants_nudge(&self, look: &Look, now: Awake) -> bool {
        let waits =
            self.lock.is_some_and(|(_, since)| now.saturating_sub(since) >= STEADY_STRANGER);
        let is_due = self.nudged.is_none_or(|at| now.saturating_sub(at) >= NUDGE);
        let is_away = self.is_restarting || self.is_mending;
        waits
            && is_due
            && !is_away
            && !self.is_heartbeats
            && self.unread.is_none()
            && look.wal.is_some()
    }

    fn proof(&self, look: &Look, now: Awake) -> Option<Proof> {
        if self.is_away() && self.rules.holds(Rule::NobodyDuringRestart) {
            return None;
        }
        let (lock, since) = self.lock?;
        let held_for = now.saturating_sub(since);
        let pins = lock.slot == Slot::Pins;
        let stranger = self.run == LitestreamRun::Unseen;
        let steady = held_for >= if stranger { STEADY_STRANGER } else { STEADY };
        let outlives =
            held_for >= OUTLIVES_S3 || (steady && !self.rules.holds(Rule::OutliveAnyAnswer));
        // What nobody may look at, nobody can guard either.
        let Some(wal) = look.wal else { return outlives.then_some(Proof::Lock) };
        let Some(read) = look.position.read() else {
            return (outlives && (pins || !wal.copied)).then_some(Proof::Lock);
        };
        let is_in_this = wal.salts == Some(read.salts);
        let has_all = is_in_this && read.end >= wal.end;
        if !(has_all || pins && is_in_this) {
            return None;
        }
        if read.notes == Notes::Shadow {
            return steady.then_some(Proof::Lock);
        }
        let has_read_on = self.base.is_some_and(|base| place(&base) != place(&look.position))
            || !self.rules.holds(Rule::ReadOnSinceStart);
        if has_read_on && (steady || !stranger) {
            Some(Proof::Read)
        } else {
            (outlives && has_all).then_some(Proof::Lock)
        }
    }
}

/// Where neither Litestream nor the guard keeps the WAL, it must not fill the disk.
fn last_resort(look: &Look, bytes: u64, large: u64) -> Vec<Action> {
    let is_copied = look.wal.is_none_or(|wal| wal.copied);
    if bytes < large || is_copied {
        return Vec::new();
    }
    // The mark first: a power cut in between must not lose it.
    vec![Action::Mark(MarkReason::Copied), Action::Checkpoint]
}
