//! The machine: what it knows of one database, and what it makes of what happens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    evidence::Evidence,
    look::{Awake, LitestreamRun, Look, OpenFile, Position, ReaderLock},
    pace,
    rules::{Rule, Rules},
    steps::{Action, Event, Keeper, Limits, MarkReason, RestartCause},
};

/// A restart for one database is asked for so often at most, and ever more rarely.
const ASK_AGAIN: Duration = Duration::from_secs(600);
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// What one daemon leaves to the next of the same boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub keeper: Keeper,
    file: Option<OpenFile>,
    run: LitestreamRun,
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
    pub(super) limits: Limits,
    pub(super) is_heartbeats: bool,
    pub(super) rules: Rules,
    pub keeper: Keeper,
    pub(super) evidence: Evidence,
    pub(super) file: Option<OpenFile>,
    pub(super) run: LitestreamRun,
    /// Since when Litestream has been this one.
    pub(super) run_since: Awake,
    /// What it had read when it was first seen; it proves itself by more.
    pub(super) base: Option<Position>,
    pub(super) lock: Option<(ReaderLock, Awake)>,
    /// When Litestream last gave a sign that it reads this database, and whether this one ever did.
    pub(super) sign: Awake,
    pub(super) has_signed: bool,
    pub(super) is_restarting: bool,
    pub(super) is_mending: bool,
    /// Since when something has waited to be read, and nothing was.
    pub(super) unread: Option<Awake>,
    pub(super) position: Position,
    pub(super) nudged: Option<Awake>,
    /// Bytes of the WAL in use: at the last look, and when the guard was taken.
    pub(super) bytes: u64,
    pub(super) taken_at: u64,
    pub(super) owes_restart: bool,
    pub(super) asked: (u32, Awake),
    pub(super) sought: (u32, Awake),
    /// Since when the WAL has been beyond its limit while Litestream keeps it, and whether that was
    /// said.
    pub(super) large: Option<(Awake, bool)>,
    /// Since when heartbeats have paused for this guard.
    pub(super) paused: Option<Awake>,
    pub(super) pace: pace::Pace,
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
            run: memory.map_or(LitestreamRun::Stopped, |memory| memory.run),
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
            bytes: 0,
            taken_at: 0,
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

    /// Whether heartbeats are to pause, so that the WAL does not grow by them. Decided anew at each
    /// look.
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
                if self.keeper != Keeper::Guard {
                    self.taken_at = self.bytes;
                }
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
                    return vec![Action::Mark(MarkReason::Unguarded)];
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
            self.owes_restart = matches!(look.run, LitestreamRun::Running(_));
            self.lock = None;
            if look.was_replicated {
                actions.push(Action::Mark(MarkReason::Exchanged));
            }
            actions.push(Action::Take);
        }
        self.file = look.file.or(self.file);
        let is_other_run = look.run != self.run && matches!(look.run, LitestreamRun::Running(_));
        let is_blind = self.keeper == Keeper::Nobody && look.wal.is_none();
        if is_other_run && is_blind && look.file.is_some() && self.sought.0 > 0 {
            actions.push(Action::Mark(MarkReason::Unguarded));
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
        let is_first = was.is_none() && self.lock.is_some() && self.run == LitestreamRun::Unseen;
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

    fn ask_for_restart(&mut self, now: Awake) -> Option<Action> {
        let ask = if self.owes_restart {
            RestartCause::Exchanged
        } else {
            self.stands_still(now).map(|_| RestartCause::StandsStill)?
        };
        let wait = doubled(ASK_AGAIN, self.asked.0, ASK_AGAIN_AT_MOST);
        let is_due = self.asked.0 == 0 || now >= self.asked.1 + wait;
        if self.is_away() || !is_due || !self.rules.holds(Rule::RestartWhatStandsStill) {
            return None;
        }
        self.asked = (self.asked.0.saturating_add(1), now);
        Some(Action::AskForRestart(ask))
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_restarting || self.is_mending
    }

    pub(super) fn is_up(&self) -> bool {
        self.run != LitestreamRun::Stopped
    }
}

/// What tells two positions apart.
pub(super) fn place(position: &Position) -> Option<(u64, u32, u64)> {
    position.read().map(|read| (read.serial, read.salts.1, read.end))
}

pub(super) fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(most)
}
