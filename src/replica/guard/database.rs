//! One guarded database: who keeps its WAL, how the guard is taken, and whether Litestream holds its own.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::transaction::{Guard, Hold, NotGuarded, candidates};
use crate::{
    core::{backoff::Backoff, boottime::Boottime},
    litestream::restart::{Litestream, Process},
    record::{GuardState, Guarded},
    replica::{
        heartbeat_thread::HeartbeatHandle,
        wal_locks::{self, Slot},
    },
    system::clock,
};

/// Litestream reads a little before it begins the transaction that it keeps; that is not to be taken for it.
const STEADY: Duration = Duration::from_millis(300);

/// The same where nobody can tell Litestream from other readers.
const STEADY_STRANGER: Duration = Duration::from_secs(1);

/// How long a guard is sought for one database. Longer than a heartbeat waits for another program's lock (5 s).
const TAKE: Duration = Duration::from_secs(7);

/// How long a commit is waited for in a database whose WAL is all copied: a busy one has it, a quiet one needs none.
const COMMIT: Duration = Duration::from_secs(1);

/// So often it is tried at least, where a busy device needs longer for it than that.
const TRIES: u32 = 3;

/// How often it is looked for.
const LOOK_FOR_COMMIT: Duration = Duration::from_millis(50);

/// A guard that could not be had is sought again: soon, as somebody may be at work on it, and then rarely.
const SOUGHT: Backoff = Backoff {
    floor: Duration::from_secs(5),
    first: Duration::from_secs(5),
    cap: Duration::from_secs(300),
};

/// Said where a restore, or a person, exchanged the file.
const REPLACED: &str = "another file was put in its place";

/// One database and who keeps its WAL.
pub struct Database {
    pub path: PathBuf,
    pub is_heartbeat: bool,
    pub keeper: Keeper,
    /// Since when the guard has been held, or sought in vain.
    pub since: Boottime,
    /// How often it was sought in vain, and when it is again.
    sought: (u32, Boottime),
    news: bool,
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
    /// The guard was let go at a limit; it rests.
    GivenUp(Option<Guard>),
}

impl Keeper {
    /// The guard that is held, or rests.
    pub fn guard(&self) -> Option<&Guard> {
        match self {
            Self::Guard(guard) => Some(guard),
            Self::Litestream(_, guard) | Self::GivenUp(guard) => guard.as_ref(),
            Self::Nobody(_) => None,
        }
    }

    fn into_guard(self) -> Option<Guard> {
        match self {
            Self::Guard(guard) => Some(guard),
            Self::Litestream(_, guard) | Self::GivenUp(guard) => guard,
            Self::Nobody(_) => None,
        }
    }
}

impl Database {
    pub fn new(path: &Path, is_heartbeat: bool) -> Self {
        Self {
            path: path.to_owned(),
            is_heartbeat,
            keeper: Keeper::GivenUp(None),
            since: clock::boottime(),
            sought: (0, clock::boottime()),
            news: false,
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
            Keeper::GivenUp(_) => (GuardState::GivenUp, None),
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
        let unguarded = match &self.keeper {
            Keeper::Nobody(why) if !why.is_missing() => Some(why.clone()),
            _ => None,
        };
        let litestream_runs =
            matches!(&self.keeper, Keeper::Litestream(process, _) if process.is_running());
        let old = self.replace_keeper(Keeper::GivenUp(None)).into_guard();
        let old = old.filter(Guard::is_of_this_file);
        let litestream_runs = litestream_runs && old.is_some();
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
                self.sought.0 = 0;
                self.since = clock::boottime();
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
                self.news = true;
                self.sought.0 = self.sought.0.saturating_add(1);
                self.sought.1 = clock::boottime() + SOUGHT.delay(self.sought.0, 1.0);
                Keeper::Nobody(why)
            }
        };
    }

    /// Litestream kept the WAL when the last daemon ended. Where it still does, it is left to it: a guard that pins nothing
    /// would make the database suspect for the first row that is written.
    pub fn leave_to(&mut self, litestream: Process) -> bool {
        let Ok(mut guard) = Guard::take(&self.path) else { return false };
        let readers = wal_locks::readers(&self.path).unwrap_or_default();
        let reads = readers.others.iter().any(|(pid, _)| *pid == litestream.pid);
        if guard.rest().is_err() || !reads || !litestream.is_running() {
            return false;
        }
        log::debug!(
            "{}: Litestream (process {}) holds its own read lock, as it did before",
            self.path.display(),
            litestream.pid
        );
        self.keeper = Keeper::Litestream(litestream, Some(guard));
        true
    }

    /// Whether there may be a replica of it, which could lack something.
    pub fn was_replicated(&self) -> bool {
        match &self.keeper {
            Keeper::Nobody(why) => !why.is_missing(),
            keeper => keeper.guard().is_none_or(Guard::was_replicated),
        }
    }

    fn replace_keeper(&mut self, keeper: Keeper) -> Keeper {
        std::mem::replace(&mut self.keeper, keeper)
    }

    /// Whether the guard that can't be had is to be sought again.
    pub fn is_to_be_sought(&self, now: Boottime) -> bool {
        match &self.keeper {
            Keeper::Nobody(why) if why.is_missing() => self.path.exists(),
            Keeper::Nobody(_) => now >= self.sought.1,
            _ => false,
        }
    }

    /// Whether it was sought in vain since the last look: a good moment to look at what else the database needs.
    pub fn was_just_sought(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Whether the file is another one than the guard knows: whoever kept the old one's WAL keeps nothing of this one.
    pub fn was_replaced(&mut self) -> bool {
        let is_another = self.keeper.guard().is_some_and(|guard| !guard.is_of_this_file());
        // Where none is there yet, there is nothing to guard.
        if !is_another || !self.path.exists() {
            return false;
        }
        self.gap.get_or_insert(REPLACED.to_owned());
        self.anybody_may_be_litestream();
        true
    }

    /// The guard is let go at a limit, and rests.
    pub fn give_up(&mut self) {
        let guard = self.replace_keeper(Keeper::GivenUp(None)).into_guard();
        let guard = guard.and_then(|mut guard| guard.rest().is_ok().then_some(guard));
        self.keeper = Keeper::GivenUp(guard);
    }

    /// Why nothing would be gained by a new snapshot: the next start of Litestream is unguarded, too.
    pub fn cannot_be_guarded(&self) -> bool {
        matches!(&self.keeper, Keeper::Nobody(why) if !why.is_missing())
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
        let guard = match self.replace_keeper(Keeper::GivenUp(None)) {
            Keeper::Guard(guard) if guard.is_of_this_file() => Some(guard),
            Keeper::Guard(_) => {
                self.gap.get_or_insert(REPLACED.to_owned());
                None
            }
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
    let mut tries = 0;
    loop {
        tries += 1;
        let left = TAKE.saturating_sub(clock::boottime().since(begun));
        let Some(still) = heartbeat.beat_and_stand_still(left) else {
            return Err(NotGuarded::heartbeat_hangs(path));
        };
        let guard = taken(path, old.take())?;
        // Somebody may have copied the row in the meantime; hardly again and again.
        let is_late = tries >= TRIES && clock::boottime().since(begun) >= COMMIT;
        if guard.pins() || left.is_zero() || is_late {
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
    let mut tries = 0;
    while !guard.pins() && (tries < TRIES || clock::boottime().since(begun) < COMMIT) {
        tries += 1;
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
