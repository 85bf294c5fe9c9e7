//! One guarded database: what is looked at, and what the machine of its guard answers with, done.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    looking::LookFound,
    orders::Inbox,
    transaction::{Guard, NotGuarded},
    wal_file,
};
use crate::{
    core::{
        boottime::Boottime,
        guard::{
            Action, Event, Keeper, Limits, Machine, Memory,
            look::{Awake, LitestreamRun, Look, ReaderLock, Slot},
        },
    },
    litestream::{
        position::Beside,
        restart::{Service, Start},
    },
    record::{GuardState, Guarded},
    replica::{heartbeat_thread::HeartbeatHandle, sqlite::DatabaseFile, wal_locks},
    system::clock,
};

/// How long a guard is sought for one database. Longer than a heartbeat waits for another program's
/// lock (5 s).
const TAKE: Duration = Duration::from_secs(7);

/// How long a commit is waited for in a database whose WAL is all copied: a busy one has it, a
/// quiet one needs none.
const COMMIT: Duration = Duration::from_secs(1);

/// So often it is tried at least, where a busy device needs longer for it than that.
const TRIES: u32 = 3;

/// How often it is looked for.
const LOOK_FOR_COMMIT: Duration = Duration::from_millis(50);

/// One database, and the machine that decides who keeps its WAL.
pub struct Database {
    pub path: PathBuf,
    pub is_heartbeat: bool,
    pub machine: Machine,
    /// Held, or at rest for the looks alone.
    guard: Option<Guard>,
    is_held: bool,
    pub beside: Beside,
    /// Who read it before the restart: not the new Litestream.
    before: Vec<u32>,
    /// Whose lock was seen last, and whether it still was at the last look.
    pub holder: Option<u32>,
    is_locked: bool,
    /// Why there is no guard, and as it was said last.
    pub why: Option<NotGuarded>,
    said: Option<NotGuarded>,
}

impl Database {
    /// `memory`: what an earlier daemon of this boot left.
    pub fn new(path: &Path, is_heartbeat: bool, limits: Limits, memory: Option<Memory>) -> Self {
        let machine = Machine::new(limits, is_heartbeat, memory, clock::awake());
        let mut guard = None;
        if machine.keeper == Keeper::Litestream {
            // A guard that pins nothing would be of no use; this one is for the looks.
            guard = Guard::take(path).ok();
            guard = guard.and_then(|mut guard| guard.rest().is_ok().then_some(guard));
        }
        Self {
            path: path.to_owned(),
            is_heartbeat,
            machine,
            guard,
            is_held: false,
            beside: Beside::of(path),
            before: Vec::new(),
            holder: None,
            is_locked: false,
            why: None,
            said: None,
        }
    }

    /// Who keeps its WAL, for those who ask.
    pub fn guarded(&self, now: Boottime) -> Guarded {
        let (state, why) = match self.machine.keeper {
            Keeper::Litestream => (GuardState::NotNeeded, None),
            Keeper::Guard => (GuardState::Held, None),
            Keeper::Nobody if self.why.is_none() => (GuardState::Held, None),
            Keeper::Nobody => {
                (GuardState::CouldNotBeHad, self.why.as_ref().map(ToString::to_string))
            }
            Keeper::GivenUp => (GuardState::GivenUp, None),
        };
        let still = self.machine.stands_still(clock::awake());
        Guarded {
            database: self.path.clone(),
            state,
            why,
            unread_since: still.map(|waits| now.before(waits).into()),
            is_large: self.machine.is_large(),
        }
    }

    /// A restart is about to begin: whoever reads now is not the Litestream that comes.
    pub fn restart_begins(&mut self) {
        let readers = wal_locks::readers(&self.path).unwrap_or_default();
        self.before = readers.others.iter().map(|(pid, _)| *pid).collect();
    }

    /// Whoever reads may be Litestream.
    pub fn anybody_may_be_litestream(&mut self) {
        self.before.clear();
    }

    /// Why nothing would be gained by a new snapshot: the next start of Litestream is unguarded,
    /// too.
    pub fn cannot_be_guarded(&self) -> bool {
        self.machine.keeper == Keeper::Nobody
            && self.why.as_ref().is_some_and(|why| !why.is_missing())
    }

    /// Looks at everything once, and asks the machine what is to be done.
    pub fn look(&mut self, litestream: &Service, run: LitestreamRun, now: Awake) -> Vec<Action> {
        let file = DatabaseFile::at(&self.path).ok();
        let guard = self.guard.as_ref().filter(|guard| file.is_some() && guard.file() == file);
        let found = match guard {
            Some(guard) => LookFound::by(guard.looking(), &mut self.beside),
            None => LookFound::without_wal(&mut self.beside),
        };
        let was_replicated = guard.map_or(file.is_some(), Guard::was_replicated);
        let own = guard.filter(|_| self.is_held).map(|guard| match guard.pins() {
            true => Slot::Pins,
            false => Slot::Zero,
        });
        let lock = self.lock(litestream);
        self.holder = lock.map(|lock| lock.pid).or(self.holder);
        self.is_locked = lock.is_some();
        let look = Look {
            file: file.map(DatabaseFile::id),
            wal: found.wal,
            position: found.position,
            tail: found.tail,
            own,
            run,
            lock,
            was_replicated,
        };
        let actions = self.machine.handle(Event::Looked(look), now);
        if !actions.is_empty() {
            log::debug!("{}: {actions:?} for {look:?}", self.path.display());
        }
        actions
    }

    /// The lock of a process that is Litestream, or may be.
    fn lock(&self, litestream: &Service) -> Option<ReaderLock> {
        let readers = wal_locks::readers(&self.path).unwrap_or_default();
        let may_be = |pid: u32| litestream.is(pid).unwrap_or(true) && !self.before.contains(&pid);
        let candidates = readers.others.into_iter().filter(|(pid, _)| may_be(*pid));
        // One that was seen before goes on being the one.
        let best = candidates.max_by_key(|(pid, slot)| (self.holder == Some(*pid), *slot));
        best.map(|(pid, slot)| ReaderLock { pid, slot })
    }

    /// Seeks the guard, for some seconds at most.
    pub fn take(&mut self, heartbeat: &HeartbeatHandle, inbox: &mut Inbox) -> Event {
        let begun = clock::boottime();
        let litestream_keeps = self.machine.keeper == Keeper::Litestream && self.is_locked;
        let old = self.guard.take().filter(Guard::is_of_this_file);
        let litestream_keeps = litestream_keeps && old.is_some();
        let taken = if self.is_heartbeat {
            take_heartbeats(&self.path, old, heartbeat, begun, inbox)
        } else {
            take_others(&self.path, old, litestream_keeps, begun, inbox)
        };
        self.is_held = taken.is_ok();
        match taken {
            Ok(guard) => {
                let kind = if guard.pins() { "guarded" } else { "guarded, as long as it is quiet" };
                log::debug!("{}: {kind}", self.path.display());
                self.guard = Some(guard);
                self.said = None;
                self.why = None;
                Event::Taken
            }
            Err(why) => {
                if self.said.as_ref() != Some(&why) {
                    log::warn!("not guarded over Litestream's restarts: {why}");
                    self.said = Some(why.clone());
                }
                let missing = why.is_missing();
                self.why = Some(why);
                Event::NotTaken { missing }
            }
        }
    }

    /// Ends the transaction; the looks go on.
    pub fn rest(&mut self) {
        self.is_held = false;
        self.guard = self.guard.take().and_then(|mut guard| guard.rest().is_ok().then_some(guard));
    }

    pub fn checkpoint(&self) {
        if let Some(Err(why)) = self.guard.as_ref().map(Guard::checkpoint) {
            log::debug!("the WAL could not be checkpointed: {why}");
        }
    }

    /// Gives Litestream something to read.
    pub fn nudge(&self) {
        if let Some(guard) = &self.guard {
            guard.count_up();
        }
    }
}

/// Tells one start of Litestream from every other.
pub fn run(litestream: &Service, start: Option<&Start>) -> LitestreamRun {
    let Some(start) = start else {
        return if litestream.can_be_seen() {
            LitestreamRun::Stopped
        } else {
            LitestreamRun::Unseen
        };
    };
    let mut hasher = DefaultHasher::new();
    match start {
        Start::Invocation(id) => id.hash(&mut hasher),
        Start::Process { pid, started } => (pid, started).hash(&mut hasher),
    }
    LitestreamRun::Running(hasher.finish())
}

/// A row first, so that something of the WAL is needed; and no other reader of this process while
/// it is proven.
fn take_heartbeats(
    path: &Path,
    mut old: Option<Guard>,
    heartbeat: &HeartbeatHandle,
    begun: Boottime,
    inbox: &mut Inbox,
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
        // Not while the heartbeat stands still for it, and not at once where a heartbeat fails at
        // once.
        drop(still);
        inbox.pause(LOOK_FOR_COMMIT);
    }
}

fn take_others(
    path: &Path,
    old: Option<Guard>,
    litestream_keeps: bool,
    begun: Boottime,
    inbox: &mut Inbox,
) -> Result<Guard, NotGuarded> {
    let mut guard = taken(path, old)?;
    let mut tries = 0;
    let count = |guard: &Guard| wal_file::index(guard.looking()).map(|index| index.changes);
    let before = count(&guard);
    while !guard.pins() && (tries < TRIES || clock::boottime().since(begun) < COMMIT) {
        tries += 1;
        if (litestream_keeps && guard.count_up()) || count(&guard) != before {
            guard.renew()?;
        } else {
            inbox.pause(LOOK_FOR_COMMIT);
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
