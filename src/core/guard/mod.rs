//! The guard of one database, as a state machine without effects.
//!
//! Somebody must keep the WAL from being begun anew before Litestream has read it: Litestream itself by its read
//! transaction, or the guard by one of its own. Looks and other events go in with their time, actions come out. The
//! machine reads no file, lock or clock, so that thousands of hours of bad luck run in a second (`simulation`).
//!
//! What counts as proof, and what each proof proves:
//!
//! - *Litestream has read on since this start, and holds a lock* ([`Proof::Read`]). Litestream 0.5 takes its lock first and
//!   then asks S3. Refused, it drops the lock again; only after an answer does it read. A position that has moved since
//!   the start, in the WAL of now, is therefore that of a Litestream that keeps its lock until it is told to stop.
//! - *It holds a lock for longer than any answer of S3 takes* ([`Proof::Lock`]), where the position can't be read. It
//!   proves less: only that this start was not refused.
//! - *Litestream 0.3 holds a lock* ([`Proof::Lock`]): it asks S3 for nothing before, and never drops it.
//! - *The WAL began anew, and all of the old one had been read*: see [`evidence`]. It is asked at every look, whoever
//!   keeps the WAL, so that what happened between two looks, or while no daemon ran, is found out afterwards.
//!
//! What can't be shown is marked. Looking never ends.

use std::{mem, time::Duration};

use serde::{Deserialize, Serialize};

pub mod evidence;
pub mod look;
mod pace;
mod rules;
#[cfg(test)]
mod simulation;
mod steps;
#[cfg(test)]
mod tests;

use self::{
    evidence::Evidence,
    look::{Awake, FileId, Lock, Look, Notes, Position, Run, Slot},
    rules::{Rule, Rules},
};

pub use self::steps::{Action, Ask, Event, Keeper, Limits, Proof, Reason};

/// Litestream 0.5 with S3 out of reach holds its lock for as long as the SDK's ten tries take: 110 to 118 s were measured.
pub const OUTLIVES_S3: Duration = Duration::from_secs(150);

/// Litestream 0.3 reads a little before it begins the transaction that it keeps.
const STEADY: Duration = Duration::from_millis(300);

/// Whoever reads for so long may be Litestream, where nobody can tell.
const STEADY_STRANGER: Duration = Duration::from_secs(1);

/// A Litestream that S3 refused tries again after five minutes at the latest. Before that its silence means nothing.
const TRIES_AGAIN: Duration = Duration::from_secs(330);

/// So often a Litestream that may have nothing to read is given something.
const NUDGE: Duration = Duration::from_secs(15);

/// A restart for one database is asked for so often at most, and ever more rarely.
const ASK_AGAIN: Duration = Duration::from_secs(600);
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// A guard that can't be had is sought again after this, and ever more rarely.
const SEEK_AGAIN: Duration = Duration::from_secs(5);
const SEEK_AGAIN_AT_MOST: Duration = Duration::from_secs(300);

/// What one daemon leaves to the next of the same boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub keeper: Keeper,
    file: Option<FileId>,
    run: Run,
    evidence: Evidence,
}

impl Memory {
    /// Whether it is not worth to keep the one where the other is kept.
    pub fn is_like(&self, other: &Self) -> bool {
        let names = |memory: &Self| (memory.keeper, memory.file, memory.run);
        names(self) == names(other) && self.evidence.is_like(&other.evidence)
    }
}

/// The machine of one database. See the module's documentation.
#[derive(Debug)]
pub struct Machine {
    limits: Limits,
    is_heartbeats: bool,
    rules: Rules,
    pub keeper: Keeper,
    evidence: Evidence,
    file: Option<FileId>,
    run: Run,
    /// Since when Litestream has been this one.
    run_since: Awake,
    /// What it had read when it was first seen; it proves itself by more.
    base: Option<Position>,
    lock: Option<(Lock, Awake)>,
    /// When Litestream last gave a sign that it reads this database, and whether this one ever did.
    sign: Awake,
    has_signed: bool,
    is_restarting: bool,
    is_mending: bool,
    /// Since when something has waited to be read, and nothing was.
    unread: Option<Awake>,
    position: Position,
    nudged: Option<Awake>,
    owes_restart: bool,
    asked: (u32, Awake),
    sought: (u32, Awake),
    /// Since when the WAL has been beyond its limit while Litestream keeps it, and whether that was said.
    large: Option<(Awake, bool)>,
    /// Since when heartbeats have paused for this guard.
    paused: Option<Awake>,
    pace: pace::Pace,
}

impl Machine {
    /// `memory`: what an earlier daemon of this boot left.
    pub fn new(limits: Limits, is_heartbeats: bool, memory: Option<Memory>, now: Awake) -> Self {
        Self {
            limits,
            is_heartbeats,
            rules: Rules::default(),
            // Whatever else kept it ended with that daemon.
            keeper: match memory {
                Some(Memory { keeper: Keeper::Litestream, .. }) => Keeper::Litestream,
                _ => Keeper::Nobody,
            },
            evidence: memory.map(|memory| memory.evidence).unwrap_or_default(),
            file: memory.and_then(|memory| memory.file),
            run: memory.map_or(Run::Stopped, |memory| memory.run),
            run_since: now,
            base: None,
            lock: None,
            sign: now,
            has_signed: false,
            is_restarting: false,
            is_mending: false,
            unread: None,
            position: Position::Unknown,
            nudged: None,
            owes_restart: false,
            asked: (0, Awake::ZERO),
            sought: (0, Awake::ZERO),
            large: None,
            paused: None,
            pace: pace::Pace::default(),
        }
    }

    /// What the next daemon should know.
    pub fn memory(&self) -> Memory {
        Memory { keeper: self.keeper, file: self.file, run: self.run, evidence: self.evidence }
    }

    /// Whether heartbeats are to pause, so that the WAL does not grow by them. Decided anew at each look.
    pub fn pauses_heartbeats(&self) -> bool {
        self.paused.is_some()
    }

    /// Since when Litestream runs and reads nothing of what is written, if that is for too long.
    pub fn stands_still(&self, now: Awake) -> Option<Duration> {
        let waits = now.saturating_sub(self.unread?);
        (waits >= self.limits.still && self.is_up()).then_some(waits)
    }

    /// Whether the WAL is beyond its limit.
    pub fn is_large(&self) -> bool {
        self.large.is_some_and(|(_, is_said)| is_said)
    }

    /// When it wants to be told of the next look, whatever else happens.
    pub fn next_look(&self, now: Awake) -> Duration {
        let is_new = now.saturating_sub(self.run_since) < pace::SOON;
        let is_awaited = self.is_restarting || self.is_mending || is_new || self.lock.is_some();
        self.pace.next(self.keeper, is_awaited)
    }

    /// Takes an event at the time `now` and says what to do.
    pub fn handle(&mut self, event: Event, now: Awake) -> Vec<Action> {
        match event {
            Event::Looked(look) => return self.looked(&look, now),
            Event::Taken => {
                self.keeper = Keeper::Guard;
                self.sought.0 = 0;
                self.sign = self.sign.max(now);
            }
            Event::NotTaken { missing } => {
                let is_news = self.keeper != Keeper::Nobody;
                self.keeper = Keeper::Nobody;
                let times = if missing { 0 } else { self.sought.0.saturating_add(1) };
                self.sought = (times, now);
                // Nothing is lost with a database that is not there yet.
                if !missing && (self.is_restarting || (is_news && self.is_up())) {
                    return vec![Action::Mark(Reason::Unguarded)];
                }
            }
            Event::RestartBegins => {
                self.is_restarting = true;
                self.lock = None;
                if self.keeper != Keeper::Guard {
                    return vec![Action::Take];
                }
            }
            Event::RestartOver => self.is_restarting = false,
            Event::MendingBegins => self.is_mending = true,
            Event::Mended => {
                self.is_mending = false;
                // What `replicate -once` has read is no proof of the Litestream that comes.
                self.base = None;
                self.run_since = now;
            }
        }
        Vec::new()
    }

    fn looked(&mut self, look: &Look, now: Awake) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.is_exchanged(look) {
            self.evidence = Evidence::default();
            self.owes_restart = matches!(look.run, Run::Running(_));
            self.lock = None;
            if look.was_replicated {
                actions.push(Action::Mark(Reason::Exchanged));
            }
            actions.push(Action::Take);
        }
        self.file = look.file.or(self.file);
        let is_other_run = look.run != self.run && matches!(look.run, Run::Running(_));
        let is_blind = self.keeper == Keeper::Nobody && look.wal.is_none();
        if is_other_run && is_blind && look.file.is_some() && self.sought.0 > 0 {
            actions.push(Action::Mark(Reason::Unguarded));
        }
        self.follow_run(look, now);
        self.follow_position(look, now);
        actions.extend(self.evidence.judge(look, self.rules).map(Action::Mark));
        self.pace.saw(look.wal.as_ref(), now);
        if look.file.is_some() && actions.last() != Some(&Action::Take) {
            actions.extend(self.keep(look, now));
        }
        actions.extend(self.ask_for_restart(now));
        actions
    }

    fn is_exchanged(&self, look: &Look) -> bool {
        matches!((self.file, look.file), (Some(known), Some(found)) if known != found)
    }

    /// Which Litestream runs, and since when it holds a lock.
    fn follow_run(&mut self, look: &Look, now: Awake) {
        if look.run != self.run && self.rules.holds(Rule::NewStartProvesAnew) {
            self.base = None;
            self.lock = None;
        }
        if look.run != self.run {
            self.owes_restart = false;
            self.run_since = now;
            self.sign = now;
            self.has_signed = false;
            self.unread = None;
            if self.keeper == Keeper::Litestream && self.rules.holds(Rule::NewStartProvesAnew) {
                // It has to be seen to read on before it is trusted again.
                self.keeper = Keeper::GivenUp;
            }
        }
        self.run = look.run;
        let was = self.lock;
        self.lock = look.lock.map(|lock| match was {
            Some((known, since)) if known.pid == lock.pid => (lock, since),
            _ => (lock, now),
        });
        let is_first = was.is_none() && self.lock.is_some() && self.run == Run::Unseen;
        if self.base.is_none() || is_first {
            self.base = Some(look.position);
        }
        if self.lock.is_some() {
            self.sign = now;
            self.has_signed = true;
        }
    }

    /// Whether Litestream gets on.
    fn follow_position(&mut self, look: &Look, now: Awake) {
        let has_moved = place(&look.position) != place(&self.position);
        let is_all = match (look.position.read(), look.wal) {
            (Some(read), Some(wal)) => wal.salts == Some(read.salts) && read.end >= wal.end,
            // Where nothing can be known of it, nothing is said.
            _ => {
                look.position == Position::Unknown
                    || !look.was_replicated
                    || !self.evidence.knows_position()
            }
        };
        if has_moved {
            self.sign = now;
            self.asked.0 = 0;
        }
        self.unread = match self.unread {
            _ if is_all => None,
            Some(since) if !has_moved => Some(since),
            _ => Some(now),
        };
        self.position = look.position;
    }

    /// Who is to keep the WAL from here on.
    fn keep(&mut self, look: &Look, now: Awake) -> Vec<Action> {
        let bytes = look.wal.map_or(0, |wal| wal.end);
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
        // Litestream checkpoints by itself, and may have a larger WAL in mind: only what stays is said.
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
        let reason = if bytes >= limits.wal || waited {
            Some(Reason::TooLarge)
        } else if !is_away && silent >= silent_for {
            Some(Reason::TooLong)
        } else {
            None
        };
        if let Some(reason) = reason.filter(|_| self.rules.holds(Rule::EndAtTheLimit)) {
            self.keeper = Keeper::GivenUp;
            let mut actions = vec![Action::Mark(reason), Action::GiveUp];
            actions.extend(last_resort(look, bytes, limits.large()));
            return actions;
        }
        if self.is_heartbeats && bytes >= limits.large() {
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

    /// A Litestream that has read all can't show that it reads on, unless it is given something to read. On a WAL that
    /// is all copied, and that nobody pins, this write begins the WAL anew: only where all of it was read.
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
        let stranger = self.run == Run::Unseen;
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

    fn ask_for_restart(&mut self, now: Awake) -> Option<Action> {
        let ask = if self.owes_restart {
            Ask::Exchanged
        } else {
            self.stands_still(now).map(|_| Ask::StandsStill)?
        };
        let wait = doubled(ASK_AGAIN, self.asked.0, ASK_AGAIN_AT_MOST);
        let is_due = self.asked.0 == 0 || now >= self.asked.1 + wait;
        if self.is_away() || !is_due || !self.rules.holds(Rule::RestartWhatStandsStill) {
            return None;
        }
        self.asked = (self.asked.0.saturating_add(1), now);
        Some(Action::AskForRestart(ask))
    }

    fn is_away(&self) -> bool {
        self.is_restarting || self.is_mending
    }

    fn is_up(&self) -> bool {
        self.run != Run::Stopped
    }
}

/// Where neither Litestream nor the guard keeps the WAL, it must not fill the disk.
fn last_resort(look: &Look, bytes: u64, large: u64) -> Vec<Action> {
    let is_copied = look.wal.is_none_or(|wal| wal.copied);
    if bytes < large || is_copied {
        return Vec::new();
    }
    // The mark first: a power cut in between must not lose it.
    vec![Action::Mark(Reason::Copied), Action::Checkpoint]
}

/// What tells two positions apart.
fn place(position: &Position) -> Option<(u64, u32, u64)> {
    position.read().map(|read| (read.serial, read.salts.1, read.end))
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(most)
}
