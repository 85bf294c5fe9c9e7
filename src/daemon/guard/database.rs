//! One guarded database: who keeps its WAL, how the guard is taken, and whether Litestream holds its own.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{
    clock::{self, Boottime},
    daemon::heartbeat::HeartbeatHandle,
    litestream::{Litestream, Process},
    restart_guard::{Guard, Hold, NotGuarded, candidates},
    status::record::{GuardState, Guarded},
    wal_locks::{self, Slot},
};

/// Litestream reads a little before it begins the transaction that it keeps; that is not to be taken for it.
const STEADY: Duration = Duration::from_millis(300);

/// The same where nobody can tell Litestream from other readers.
const STEADY_STRANGER: Duration = Duration::from_secs(1);

/// How long a guard is sought for one database. Longer than a heartbeat waits for another program's lock (5 s).
const TAKE: Duration = Duration::from_secs(7);

/// How long a commit is waited for in a database whose WAL is all copied: a busy one has it, a quiet one needs none.
const COMMIT: Duration = Duration::from_secs(1);

/// How often it is looked for.
const LOOK_FOR_COMMIT: Duration = Duration::from_millis(50);

/// One database and who keeps its WAL.
pub struct Database {
    pub path: PathBuf,
    pub is_heartbeat: bool,
    pub keeper: Keeper,
    /// Who read it before the restart: not the new Litestream.
    pub before: Vec<u32>,
    /// Who may be the new Litestream, and since when it has been seen.
    candidate: Option<(Process, Slot, Boottime)>,
    /// Something was written while nobody kept the WAL; told when Litestream starts on top of it.
    pub gap: Option<String>,
    /// Why it was not guarded, as it was said last.
    said: Option<NotGuarded>,
}

/// Who keeps a WAL from being begun anew.
pub enum Keeper {
    /// The guard rests, and knows what is written.
    Litestream(Process, Option<Guard>),
    Guard(Guard),
    Nobody(NotGuarded),
    /// The guard was let go at a limit.
    GivenUp,
}

impl Database {
    pub fn new(path: &Path, is_heartbeat: bool) -> Self {
        Self {
            path: path.to_owned(),
            is_heartbeat,
            keeper: Keeper::GivenUp,
            before: Vec::new(),
            candidate: None,
            gap: None,
            said: None,
        }
    }

    /// Who keeps its WAL, for those who ask.
    pub fn guarded(&self) -> Guarded {
        let (state, why) = match &self.keeper {
            Keeper::Litestream(..) => (GuardState::NotNeeded, None),
            Keeper::Guard(_) => (GuardState::Held, None),
            Keeper::Nobody(why) => (GuardState::CouldNotBeHad, Some(why.to_string())),
            Keeper::GivenUp => (GuardState::GivenUp, None),
        };
        Guarded { database: self.path.clone(), state, why }
    }

    /// A restart is about to begin: whoever reads now is not the Litestream that comes.
    pub fn restart_begins(&mut self) {
        let readers = wal_locks::readers(&self.path).unwrap_or_default();
        self.before = readers.others.iter().map(|(pid, _)| *pid).collect();
        self.candidate = None;
    }

    /// Whoever reads may be Litestream.
    pub fn anybody_may_be_litestream(&mut self) {
        self.before.clear();
        self.candidate = None;
    }

    /// Seeks the guard, for some seconds at most.
    pub fn take(&mut self, heartbeat: &HeartbeatHandle) {
        let begun = clock::boottime();
        let mut unguarded = None;
        let (old, litestream_runs) = match std::mem::replace(&mut self.keeper, Keeper::GivenUp) {
            Keeper::Litestream(process, guard) => {
                (guard.filter(Guard::is_of_this_file), process.is_running())
            }
            Keeper::Nobody(why) => {
                unguarded = Some(why).filter(|why| !why.is_missing());
                (None, false)
            }
            _ => (None, false),
        };
        let taken = if self.is_heartbeat {
            take_heartbeats(&self.path, old, heartbeat, begun)
        } else {
            take_others(&self.path, old, litestream_runs, begun)
        };
        self.keeper = match taken {
            Ok(guard) => {
                let kind = if guard.pins() { "guarded" } else { "guarded, as long as it is quiet" };
                log::debug!("{}: {kind}", self.path.display());
                self.said = None;
                // A guard from now on says nothing of the while before it.
                if let Some(why) = unguarded {
                    self.gap.get_or_insert(format!("nobody kept its WAL for a while: {why}"));
                }
                Keeper::Guard(guard)
            }
            Err(why) => {
                if self.said.as_ref() != Some(&why) {
                    log::warn!("not guarded over Litestream's restarts: {why}");
                    self.said = Some(why.clone());
                }
                Keeper::Nobody(why)
            }
        };
    }

    /// The new Litestream's read transaction, once it is seen to last.
    pub fn litestream_hold(&mut self, litestream: &Litestream, now: Boottime) -> Option<Hold> {
        let readers = wal_locks::readers(&self.path).unwrap_or_default();
        let found = candidates(&readers, &self.before, |pid| litestream.is(pid))
            .into_iter()
            .filter_map(|(pid, slot)| Some((Process::running(pid)?, slot)))
            // One that was seen before goes on being the one.
            .max_by_key(|(process, slot)| {
                (self.candidate.is_some_and(|(seen, ..)| seen == *process), *slot)
            });
        self.candidate = found.map(|(process, slot)| match self.candidate {
            Some((seen, _, since)) if seen == process => (process, slot, since),
            _ => (process, slot, now),
        });
        let (process, slot, since) = self.candidate?;
        let is_known = litestream.is(process.pid).is_some();
        let seen_for = now.since(since);
        let enough = if is_known { STEADY } else { STEADY_STRANGER };
        (seen_for >= enough).then_some(Hold { slot, seen_for })
    }

    /// Litestream holds its own; the guard rests.
    pub fn let_go(&mut self) {
        let Some((process, ..)) = self.candidate.take() else { return };
        let guard = match std::mem::replace(&mut self.keeper, Keeper::GivenUp) {
            Keeper::Guard(guard) => Some(guard),
            Keeper::Nobody(why) if !why.is_missing() => {
                self.gap.get_or_insert(format!("Litestream started without a guard: {why}"));
                None
            }
            _ => None,
        };
        // One that was not to be had may be there by now, for looking.
        let guard = guard.or_else(|| Guard::take(&self.path).ok());
        let guard = guard.and_then(|mut guard| guard.rest().is_ok().then_some(guard));
        self.keeper = Keeper::Litestream(process, guard);
        log::debug!(
            "{}: Litestream (process {}) holds its own read lock, the guard is let go",
            self.path.display(),
            process.pid
        );
    }

    /// The Litestream that kept the WAL, if it has ended since the last look.
    pub fn litestream_that_ended(&mut self) -> Option<Process> {
        let Keeper::Litestream(process, guard) = &mut self.keeper else { return None };
        let process = *process;
        let runs = match guard {
            // What was written while it ran, it can read.
            Some(guard) => guard.writes_are_safe_if(|| process.is_running()),
            None => process.is_running(),
        };
        (!runs).then_some(process)
    }
}

/// A row first, so that something of the WAL is needed; and no other reader of this process while it is proven.
fn take_heartbeats(
    path: &Path,
    mut old: Option<Guard>,
    heartbeat: &HeartbeatHandle,
    begun: Boottime,
) -> Result<Guard, NotGuarded> {
    loop {
        let left = TAKE.saturating_sub(clock::boottime().since(begun));
        let Some(still) = heartbeat.beat_and_stand_still(left) else {
            return Err(NotGuarded::heartbeat_hangs(path));
        };
        let guard = taken(path, old.take())?;
        // Litestream may have copied the row in the meantime; hardly twice.
        if guard.pins() || left.is_zero() || clock::boottime().since(begun) >= COMMIT {
            return Ok(guard);
        }
        old = Some(guard);
        // Not while the heartbeat stands still for it, and not at once where a heartbeat fails at once.
        drop(still);
        thread::park_timeout(LOOK_FOR_COMMIT);
    }
}

fn take_others(
    path: &Path,
    old: Option<Guard>,
    litestream_runs: bool,
    begun: Boottime,
) -> Result<Guard, NotGuarded> {
    let mut guard = taken(path, old)?;
    while !guard.pins() && clock::boottime().since(begun) < COMMIT {
        // What this process writes itself is not seen by was_written.
        if (litestream_runs && guard.count_up()) || guard.was_written() {
            guard.renew()?;
        } else {
            thread::park_timeout(LOOK_FOR_COMMIT);
        }
    }
    Ok(guard)
}

fn taken(path: &Path, old: Option<Guard>) -> Result<Guard, NotGuarded> {
    match old {
        Some(mut guard) => guard.renew().map(|()| guard),
        None => Guard::take(path),
    }
}
