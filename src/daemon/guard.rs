//! The thread that guards the databases while Litestream restarts, and knows when one was not guarded.
//!
//! For each database it is one of three: Litestream holds its own read transaction, and this thread watches that
//! process; or it does not, and the guard is held; or the guard can't be had. The daemon tells when a restart is about to
//! begin and how it ended; what Litestream does by itself is seen here. SQLite may wait for locks and disks, so it is a
//! thread of its own, and the daemon waits for the guard no longer than [`TAKEN_WITHIN`].

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::timeout,
};

use super::{guard_record::Record, heartbeat::HeartbeatHandle};
use crate::{
    clock::{self, Boottime},
    config::Config,
    litestream::{Litestream, Process, Start},
    restart_guard::{Facts, Guard, Hold, Limits, NotGuarded, Verdict, candidates, verdict},
    suspect::{Suspect, SuspectFile},
    wal_locks::{self, Slot},
};

/// How often the databases are looked at around a restart.
const LOOK: Duration = Duration::from_millis(100);

/// How often at all other times; a Litestream that ends by itself is noticed after as much.
const WATCH: Duration = Duration::from_secs(1);

/// After this long without a change, `WATCH` is often enough.
const SOON: Duration = Duration::from_secs(30);

/// Litestream reads a little before it begins the transaction that it keeps; that is not to be taken for it.
const STEADY: Duration = Duration::from_millis(300);

/// The same where nobody can tell Litestream from other readers.
const STEADY_STRANGER: Duration = Duration::from_secs(1);

/// How long a guard is sought for one database. Longer than a heartbeat waits for another program's lock (5 s).
const TAKE: Duration = Duration::from_secs(7);

/// How long a commit is waited for in a database whose WAL is all copied: a busy one has it, a quiet one needs none.
const COMMIT: Duration = Duration::from_secs(1);

/// How long the daemon waits for all guards; then the rotation goes on without.
pub const TAKEN_WITHIN: Duration = Duration::from_secs(15);

/// The running thread, from the outside.
#[derive(Debug)]
pub struct GuardThread {
    /// Dropped, it tells the thread to end.
    orders: Sender<Order>,
    suspects: UnboundedReceiver<Suspect>,
}

#[derive(Debug)]
enum Order {
    Take(oneshot::Sender<()>),
    /// The restart is over; `restarted`: Litestream was seen to start.
    Over {
        restarted: bool,
    },
}

impl GuardThread {
    /// Starts to guard at once.
    ///
    /// # Errors
    /// As the system gives them when it can't start a thread.
    pub fn start(
        config: &Config,
        boot_id: &str,
        litestream: Arc<Litestream>,
        heartbeat: HeartbeatHandle,
    ) -> io::Result<Self> {
        let (orders, ordered) = channel();
        let (tell, suspects) = unbounded_channel();
        let mut watcher = Watcher::new(config, boot_id, litestream, heartbeat, tell);
        thread::Builder::new()
            .name("guard".to_owned())
            .spawn(move || watcher.run_until_stopped(&ordered))?;
        Ok(Self { orders, suspects })
    }

    /// Takes the guard on each database; `false` if that did not come to an end in time.
    pub fn take(&self) -> impl Future<Output = bool> + use<> {
        let (taken, is_taken) = oneshot::channel();
        let _ = self.orders.send(Order::Take(taken));
        async { matches!(timeout(TAKEN_WITHIN, is_taken).await, Ok(Ok(()))) }
    }

    /// The restart that the guard was taken for is over.
    pub fn restart_is_over(&self, restarted: bool) {
        let _ = self.orders.send(Order::Over { restarted });
    }

    /// What is suspect, each time that changes; `None` if the thread has ended, which it does not by itself.
    pub async fn next(&mut self) -> Option<Suspect> {
        self.suspects.recv().await
    }
}

/// One database and who keeps its WAL.
struct Database {
    path: PathBuf,
    is_heartbeat: bool,
    keeper: Keeper,
    /// Who read it before the restart: not the new Litestream.
    before: Vec<u32>,
    /// Who may be the new Litestream, and since when it has been seen.
    candidate: Option<(Process, Slot, Boottime)>,
    /// Something was written while nobody kept the WAL; told when Litestream starts on top of it.
    gap: Option<String>,
}

enum Keeper {
    /// The guard rests, and knows what is written.
    Litestream(Process, Option<Guard>),
    Guard(Guard),
    Nobody(NotGuarded),
    /// The guard was let go at a limit.
    GivenUp,
}

struct Watcher {
    databases: Vec<Database>,
    limits: Limits,
    litestream: Arc<Litestream>,
    heartbeat: HeartbeatHandle,
    suspect_file: SuspectFile,
    tell: UnboundedSender<Suspect>,
    told: Option<Suspect>,
    record: Record,
    /// A restart is under way: nobody is Litestream now.
    restarting: bool,
    /// Litestream's start as it was last seen, and since when it has been that one.
    start: Option<Start>,
    since: Boottime,
    heartbeats_pause: bool,
}

impl Watcher {
    fn new(
        config: &Config,
        boot_id: &str,
        litestream: Arc<Litestream>,
        heartbeat: HeartbeatHandle,
        tell: UnboundedSender<Suspect>,
    ) -> Self {
        let own = &config.heartbeat.database;
        let others = config.guard.databases.iter().filter(|path| *path != own);
        let databases = std::iter::once(own).chain(others).map(|path| Database {
            path: path.clone(),
            is_heartbeat: path == own,
            keeper: Keeper::GivenUp,
            before: Vec::new(),
            candidate: None,
            gap: None,
        });
        Self {
            databases: databases.collect(),
            limits: Limits { time: config.guard.max_time, wal: config.guard.max_wal },
            start: litestream.current_start(),
            litestream,
            heartbeat,
            suspect_file: SuspectFile::in_directory(&config.state_directory),
            tell,
            told: None,
            record: Record::load(&config.runtime_directory, boot_id),
            restarting: false,
            since: clock::boottime(),
            heartbeats_pause: false,
        }
    }

    fn run_until_stopped(&mut self, orders: &Receiver<Order>) {
        self.tell_suspect();
        if let Some(summary) = self.told.as_ref().and_then(Suspect::summary) {
            log::warn!("replicas that may lack rows since before this start: {summary}");
        }
        for number in 0..self.databases.len() {
            // Litestream may well run, and hold its own: then this guard is let go at the first look.
            self.take(number);
            let database = &mut self.databases[number];
            if let Some(why) = self.record.gap(&database.path) {
                database.gap = Some(why);
            }
        }
        loop {
            self.keep_record();
            let all_kept =
                self.databases.iter().all(|d| matches!(d.keeper, Keeper::Litestream(..)));
            let long_since = clock::boottime().since(self.since) >= SOON;
            let wait = if all_kept || long_since { WATCH } else { LOOK };
            match orders.recv_timeout(wait) {
                Ok(Order::Take(taken)) => {
                    self.take_all();
                    self.keep_record();
                    let _ = taken.send(());
                }
                Ok(Order::Over { restarted }) => {
                    self.restarting = false;
                    self.since = clock::boottime();
                    self.start = self.litestream.current_start();
                    if !restarted {
                        // The old one may go on.
                        self.databases.iter_mut().for_each(|database| database.before.clear());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Before a restart.
    fn take_all(&mut self) {
        // It may have ended by itself since the last look.
        self.look();
        self.restarting = true;
        for number in 0..self.databases.len() {
            let database = &mut self.databases[number];
            let readers = wal_locks::readers(&database.path).unwrap_or_default();
            database.before = readers.others.iter().map(|(pid, _)| *pid).collect();
            database.candidate = None;
            if !matches!(database.keeper, Keeper::Guard(_)) {
                self.take(number);
            }
            if let Keeper::Nobody(why) = &self.databases[number].keeper {
                // Nothing is lost with a database that is not there yet.
                if self.databases[number].path.exists() {
                    let why = format!("Litestream is restarted without a guard: {why}");
                    self.suspect(number, &why);
                }
            }
        }
    }

    /// Seeks the guard on one database, for some seconds at most.
    fn take(&mut self, number: usize) {
        let database = &mut self.databases[number];
        let begun = clock::boottime();
        let old = match std::mem::replace(&mut database.keeper, Keeper::GivenUp) {
            Keeper::Litestream(_, guard) => guard.filter(Guard::is_of_this_file),
            _ => None,
        };
        let taken = if database.is_heartbeat {
            take_heartbeats(&database.path, old, &self.heartbeat, begun)
        } else {
            take_others(&database.path, old, begun)
        };
        database.keeper = match taken {
            Ok(guard) => {
                let kind = if guard.pins() { "guarded" } else { "guarded, as long as it is quiet" };
                log::debug!("{}: {kind}", database.path.display());
                Keeper::Guard(guard)
            }
            Err(why) => {
                log::warn!("not guarded over Litestream's restarts: {why}");
                Keeper::Nobody(why)
            }
        };
    }

    fn look(&mut self) {
        let now = clock::boottime();
        let start = self.litestream.current_start();
        if start != self.start {
            self.start = start;
            self.since = now;
        }
        for number in 0..self.databases.len() {
            match &mut self.databases[number].keeper {
                Keeper::Litestream(process, guard) => {
                    let process = *process;
                    let runs = match guard {
                        // What was written while it ran, it can read.
                        Some(guard) => guard.writes_are_safe_if(|| process.is_running()),
                        None => process.is_running(),
                    };
                    if !runs {
                        self.litestream_ended(number, process, now);
                    }
                }
                Keeper::Guard(guard) if !guard.pins() && guard.was_written() => {
                    if let Err(why) = guard.renew() {
                        self.databases[number].keeper = Keeper::Nobody(why);
                    }
                    self.suspect(number, "it was written to while its guard pinned nothing");
                }
                _ => {}
            }
            if !matches!(self.databases[number].keeper, Keeper::Litestream(..)) {
                self.consider(number, now);
            }
        }
        self.tell_suspect();
    }

    /// Litestream ended, and not for a rotation.
    fn litestream_ended(&mut self, number: usize, process: Process, now: Boottime) {
        let database = &mut self.databases[number];
        let was_quiet = match &database.keeper {
            Keeper::Litestream(_, Some(guard)) => !guard.was_written(),
            _ => false,
        };
        log::warn!(
            "{}: Litestream (process {}) ended outside of a rotation; its database is guarded now",
            database.path.display(),
            process.pid
        );
        // The heartbeat that is written for the guard comes after what is asked here.
        if !was_quiet {
            let why =
                "Litestream ended by itself, and rows were written before the guard was taken";
            database.gap = Some(why.to_owned());
        }
        database.before.clear();
        database.candidate = None;
        self.since = now;
        self.take(number);
    }

    /// Whether the guard is to be held on to.
    fn consider(&mut self, number: usize, now: Boottime) {
        let hold = self.litestream_hold(number, now);
        let database = &mut self.databases[number];
        let guard = match &database.keeper {
            Keeper::Guard(guard) => Some(guard),
            _ => None,
        };
        let is_up = self.start.is_some() || !self.litestream.can_be_seen();
        let facts = Facts {
            litestream: hold,
            pins: guard.is_some_and(Guard::pins),
            wal: guard.and_then(Guard::wal),
            runs_for: (is_up && !self.restarting).then(|| now.since(self.since)),
        };
        let verdict = verdict(&facts, &self.limits);
        match verdict {
            Verdict::LetGo => self.let_go(number),
            _ if guard.is_none() => {}
            Verdict::Hold | Verdict::HoldWithoutHeartbeats => {
                let pause = verdict == Verdict::HoldWithoutHeartbeats;
                if database.is_heartbeat && pause != self.heartbeats_pause {
                    self.pause_heartbeats(pause);
                }
            }
            Verdict::TooLong => {
                let after = self.limits.time.as_secs();
                self.give_up(
                    number,
                    &format!("Litestream runs and held no read lock for {after} s"),
                );
            }
            Verdict::TooLarge => {
                self.give_up(number, "its WAL reached EDGEROTATE_GUARD_MAX_WAL without Litestream");
            }
        }
    }

    /// The new Litestream's read transaction, once it is seen to last.
    fn litestream_hold(&mut self, number: usize, now: Boottime) -> Option<Hold> {
        let database = &mut self.databases[number];
        if self.restarting {
            return None;
        }
        let readers = wal_locks::readers(&database.path).unwrap_or_default();
        let is_litestream = |pid| self.litestream.is(pid);
        let found = candidates(&readers, &database.before, is_litestream)
            .into_iter()
            .filter_map(|(pid, slot)| Some((Process::running(pid)?, slot)))
            // One that was seen before goes on being the one.
            .max_by_key(|(process, slot)| {
                (database.candidate.is_some_and(|(seen, ..)| seen == *process), *slot)
            });
        database.candidate = found.map(|(process, slot)| match database.candidate {
            Some((seen, _, since)) if seen == process => (process, slot, since),
            _ => (process, slot, now),
        });
        let (process, slot, since) = database.candidate?;
        let known = is_litestream(process.pid).is_some();
        let seen_for = now.since(since);
        let enough = if known { STEADY } else { STEADY_STRANGER };
        (seen_for >= enough).then_some(Hold { slot, seen_for })
    }

    fn let_go(&mut self, number: usize) {
        let database = &mut self.databases[number];
        let Some((process, ..)) = database.candidate.take() else { return };
        let was = std::mem::replace(&mut database.keeper, Keeper::GivenUp);
        let guard = match was {
            Keeper::Guard(guard) => Some(guard),
            Keeper::Nobody(why) if database.path.exists() => {
                database.gap.get_or_insert(format!("Litestream started without a guard: {why}"));
                None
            }
            _ => None,
        };
        // Rests, or is opened for looking.
        let guard = guard.or_else(|| Guard::take(&database.path).ok());
        let guard = guard.and_then(|mut guard| guard.rest().is_ok().then_some(guard));
        database.keeper = Keeper::Litestream(process, guard);
        log::debug!(
            "{}: Litestream (process {}) holds its own read lock, the guard is let go",
            database.path.display(),
            process.pid
        );
        if let Some(why) = database.gap.take() {
            self.suspect(number, &why);
        }
        if self.databases[number].is_heartbeat && self.heartbeats_pause {
            self.pause_heartbeats(false);
        }
    }

    fn give_up(&mut self, number: usize, why: &str) {
        self.databases[number].keeper = Keeper::GivenUp;
        self.suspect(number, &format!("the guard was let go: {why}"));
        if self.databases[number].is_heartbeat && self.heartbeats_pause {
            self.pause_heartbeats(false);
        }
    }

    fn pause_heartbeats(&mut self, pause: bool) {
        self.heartbeats_pause = pause;
        self.heartbeat.pause(pause);
    }

    /// Marks a replica, and says so where that is news.
    fn suspect(&mut self, number: usize, why: &str) {
        let path = &self.databases[number].path;
        match self.suspect_file.mark(path, why, clock::wall()) {
            Ok(false) => {}
            Ok(true) => log::warn!("{}", SuspectLine { path, why }),
            Err(e) => log::error!("{}; and this could not be kept: {e}", SuspectLine { path, why }),
        }
        self.tell_suspect();
    }

    /// Another program may have cleared it.
    fn tell_suspect(&mut self) {
        let suspect = self.suspect_file.load().unwrap_or_else(|e| {
            log::debug!("{e}");
            self.told.clone().unwrap_or_default()
        });
        if self.told.as_ref() != Some(&suspect) {
            let _ = self.tell.send(suspect.clone());
            self.told = Some(suspect);
        }
    }

    fn keep_record(&mut self) {
        let kept = self.databases.iter().map(|database| match &database.keeper {
            Keeper::Litestream(process, _) => (database.path.clone(), Some(*process)),
            _ => (database.path.clone(), None),
        });
        let kept = kept.collect();
        self.record.keep(kept);
    }
}

struct SuspectLine<'a> {
    path: &'a PathBuf,
    why: &'a str,
}

impl fmt::Display for SuspectLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: its replica may lack rows: {}; a forced snapshot mends it: stop Litestream, and with its environment run \
             `litestream replicate -once -force-snapshot` (0.5)",
            self.path.display(),
            self.why
        )
    }
}

/// A row first, so that something of the WAL is needed; and no other reader of this process while it is proven.
fn take_heartbeats(
    path: &std::path::Path,
    mut old: Option<Guard>,
    heartbeat: &HeartbeatHandle,
    begun: Boottime,
) -> Result<Guard, NotGuarded> {
    loop {
        let left = TAKE.saturating_sub(clock::boottime().since(begun));
        let Some(_still) = heartbeat.beat_and_stand_still(left) else {
            return Err(NotGuarded::heartbeat_hangs(path));
        };
        let guard = taken(path, old.take())?;
        // Litestream may have copied the row in the meantime; hardly twice.
        if guard.pins() || left.is_zero() || clock::boottime().since(begun) >= COMMIT {
            return Ok(guard);
        }
        old = Some(guard);
    }
}

fn take_others(
    path: &std::path::Path,
    old: Option<Guard>,
    begun: Boottime,
) -> Result<Guard, NotGuarded> {
    let mut guard = taken(path, old)?;
    while !guard.pins() && clock::boottime().since(begun) < COMMIT {
        thread::park_timeout(LOOK / 2);
        if guard.was_written() {
            guard.renew()?;
        }
    }
    Ok(guard)
}

fn taken(path: &std::path::Path, old: Option<Guard>) -> Result<Guard, NotGuarded> {
    match old {
        Some(mut guard) => guard.renew().map(|()| guard),
        None => Guard::take(path),
    }
}
