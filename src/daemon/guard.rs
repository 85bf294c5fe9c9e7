//! The thread that guards the databases while Litestream restarts, and knows when one was not guarded.
//!
//! For each database it is one of three: Litestream holds its own read transaction, and this thread watches that
//! process; or it does not, and the guard is held; or the guard can't be had. The daemon tells when a restart is about to
//! begin and how it ended; what Litestream does by itself is seen here. SQLite may wait for locks and disks, so it is a
//! thread of its own, and the daemon waits for the guard no longer than [`TAKEN_WITHIN`].

use std::{
    io,
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

use super::{heartbeat::HeartbeatHandle, publisher::Board};
use crate::{
    clock::{self, Boottime},
    config::Config,
    litestream::{Litestream, Process, Start},
    restart_guard::{Facts, Guard, Limits, Verdict, verdict},
    suspect::{self, Suspect, SuspectFile},
};

mod database;
mod record;

use database::{Database, Keeper};
use record::Record;

/// How often the databases are looked at around a restart.
const LOOK: Duration = Duration::from_millis(100);

/// How often at all other times; a Litestream that ends by itself is noticed after as much.
const WATCH: Duration = Duration::from_secs(1);

/// After this long without a change, `WATCH` is often enough.
const SOON: Duration = Duration::from_secs(30);

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
    Take {
        /// Not the first try of this restart.
        again: bool,
        taken: oneshot::Sender<()>,
    },
    /// The restart is over; `restarted`: Litestream was seen to start.
    Over { restarted: bool },
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
        board: Board,
    ) -> io::Result<Self> {
        let (orders, ordered) = channel();
        let (tell, suspects) = unbounded_channel();
        let mut watcher = Watcher::new(config, boot_id, litestream, heartbeat, tell, board);
        thread::Builder::new()
            .name("guard".to_owned())
            .spawn(move || watcher.run_until_stopped(&ordered))?;
        Ok(Self { orders, suspects })
    }

    /// Takes the guard on each database; `false` if that did not come to an end in time. `again`: for a restart that
    /// failed before, after which the Litestream that it started may be there all the same.
    pub fn take(&self, again: bool) -> impl Future<Output = bool> + use<> {
        let (taken, is_taken) = oneshot::channel();
        let _ = self.orders.send(Order::Take { again, taken });
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
    board: Board,
}

impl Watcher {
    fn new(
        config: &Config,
        boot_id: &str,
        litestream: Arc<Litestream>,
        heartbeat: HeartbeatHandle,
        tell: UnboundedSender<Suspect>,
        board: Board,
    ) -> Self {
        let own = &config.heartbeat.database;
        let others = config.guard.databases.iter().filter(|path| *path != own);
        let databases =
            std::iter::once(own).chain(others).map(|path| Database::new(path, path == own));
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
            board,
        }
    }

    fn run_until_stopped(&mut self, orders: &Receiver<Order>) {
        self.tell_suspect();
        if let Some(summary) = self.told.as_ref().and_then(Suspect::summary) {
            log::warn!("replicas that may lack rows since before this start: {summary}");
        }
        for database in &mut self.databases {
            // Litestream may well run, and hold its own: then this guard is let go at the first looks.
            database.take(&self.heartbeat);
            database.gap = self.record.gap(&database.path);
        }
        loop {
            self.keep_record();
            self.publish();
            let all_kept =
                self.databases.iter().all(|d| matches!(d.keeper, Keeper::Litestream(..)));
            let long_since = clock::boottime().since(self.since) >= SOON;
            let wait = if all_kept || long_since { WATCH } else { LOOK };
            match orders.recv_timeout(wait) {
                Ok(Order::Take { again, taken }) => {
                    self.take_all(again);
                    self.keep_record();
                    let _ = taken.send(());
                }
                Ok(Order::Over { restarted }) => {
                    self.restarting = false;
                    self.since = clock::boottime();
                    self.start = self.litestream.current_start();
                    if !restarted {
                        // The old one may go on.
                        self.databases.iter_mut().for_each(Database::anybody_may_be_litestream);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Before a restart.
    fn take_all(&mut self, again: bool) {
        // It may have ended by itself since the last look.
        self.look();
        self.restarting = true;
        if !again {
            // Of all, before the first is waited for: whoever reads now is not the Litestream that comes.
            self.databases.iter_mut().for_each(Database::restart_begins);
        }
        for number in 0..self.databases.len() {
            let database = &mut self.databases[number];
            if !matches!(database.keeper, Keeper::Guard(_)) {
                database.take(&self.heartbeat);
            }
            if let Keeper::Nobody(why) = &database.keeper {
                // Nothing is lost with a database that is not there yet.
                if database.path.exists() {
                    let why = format!("Litestream started without a guard: {why}");
                    self.suspect(number, &why);
                }
            }
        }
    }

    fn look(&mut self) {
        let now = clock::boottime();
        let start = self.litestream.current_start();
        if start != self.start {
            self.start = start;
            self.since = now;
        }
        for number in 0..self.databases.len() {
            if let Some(process) = self.databases[number].litestream_that_ended() {
                self.litestream_ended(number, process, now);
            }
            match &mut self.databases[number].keeper {
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
        database.anybody_may_be_litestream();
        database.take(&self.heartbeat);
        self.since = now;
    }

    /// Whether the guard is to be held on to.
    fn consider(&mut self, number: usize, now: Boottime) {
        let database = &mut self.databases[number];
        let litestream =
            if self.restarting { None } else { database.litestream_hold(&self.litestream, now) };
        let guard = match &database.keeper {
            Keeper::Guard(guard) => Some(guard),
            _ => None,
        };
        let is_up = self.start.is_some() || !self.litestream.can_be_seen();
        let facts = Facts {
            litestream,
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

    fn let_go(&mut self, number: usize) {
        let database = &mut self.databases[number];
        database.let_go();
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
            Ok(true) => log::warn!("{}", suspect::line(path, why)),
            Err(e) => log::error!("{}; and this could not be kept: {e}", suspect::line(path, why)),
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

    fn publish(&self) {
        let guarded = self.databases.iter().map(Database::guarded).collect();
        self.board.set(|record| &mut record.guard, Some(guarded));
        self.board.litestream(self.start.as_ref());
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
