//! What the guard's thread does: it looks at each database again and again, and decides who is to keep its WAL.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    database::{Database, Keeper},
    marks::Marks,
    mending::Mending,
    orders::{News, Order},
    record::Record,
    transaction::{self, Facts, Guard, Limits, Verdict, verdict},
};
use crate::{
    core::boottime::Boottime,
    litestream::restart::{Litestream, Process, Start},
    record::board::Board,
    replica::{heartbeat_thread::HeartbeatHandle, suspect::SuspectFile},
    settings::Config,
    system::clock,
};

mod end;
mod snapshots;

/// How often the databases are looked at around a restart.
const LOOK: Duration = Duration::from_millis(100);

/// How often at all other times; a Litestream that ends by itself is noticed after as much.
const WATCH: Duration = Duration::from_secs(1);

/// After this long without a change, `WATCH` is often enough.
const SOON: Duration = Duration::from_secs(30);

/// The last resort, as it is said.
const COPIED: &str = "its WAL neared EDGEROTATE_GUARD_MAX_WAL without Litestream, and was checkpointed so that the disk does not fill";

pub struct Watcher {
    databases: Vec<Database>,
    limits: Limits,
    litestream: Arc<Litestream>,
    heartbeat: HeartbeatHandle,
    marks: Marks,
    mending: Mending,
    /// Suspect, and not replicated.
    unlisted: Vec<PathBuf>,
    tell: UnboundedSender<News>,
    record: Record,
    /// A restart is under way: nobody is Litestream now.
    restarting: bool,
    /// Litestream's start as it was last seen, and since when it has been that one.
    start: Option<Start>,
    since: Boottime,
    /// Since when heartbeats pause.
    paused: Option<Boottime>,
    board: Board,
}

impl Watcher {
    pub fn new(
        config: &Config,
        boot_id: &str,
        litestream: Arc<Litestream>,
        heartbeat: HeartbeatHandle,
        tell: UnboundedSender<News>,
        board: Board,
    ) -> Self {
        let own = &config.heartbeat.database;
        let others = config.guard.databases.iter().filter(|path| *path != own);
        let databases =
            std::iter::once(own).chain(others).map(|path| Database::new(path, path == own));
        let databases: Vec<_> = databases.collect();
        let paths = databases.iter().map(|database| database.path.clone()).collect();
        let file = SuspectFile::in_directory(&config.state_directory);
        Self {
            databases,
            limits: Limits { time: config.guard.max_time, wal: config.guard.max_wal },
            start: litestream.current_start(),
            litestream,
            heartbeat,
            marks: Marks::new(file, paths, tell.clone()),
            mending: Mending::default(),
            unlisted: Vec::new(),
            tell,
            record: Record::load(&config.runtime_directory, boot_id),
            restarting: false,
            since: clock::boottime(),
            paused: None,
            board,
        }
    }

    pub fn run_until_stopped(&mut self, orders: &Receiver<Order>) {
        self.marks.look(clock::boottime());
        if let Some(summary) = self.marks.told().summary() {
            log::warn!("replicas that may lack rows since before this start: {summary}");
        }
        for database in &mut self.databases {
            let litestream = self.record.litestream(&database.path);
            if !litestream.is_some_and(|litestream| database.leave_to(litestream)) {
                // Litestream may well run, and hold its own: then this guard is let go at the first looks.
                database.take(&self.heartbeat);
                let gap = self.record.gap(&database.path);
                database.gap = gap.filter(|_| database.was_replicated());
            }
        }
        (0..self.databases.len()).for_each(|number| self.mark_gap(number));
        loop {
            self.keep_record();
            self.publish();
            match orders.recv_timeout(self.wait()) {
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
                Ok(Order::Asked { wanted }) => {
                    let answer = self.litestream_asks();
                    self.keep_record();
                    let _ = wanted.send(answer);
                }
                Ok(Order::Suspect { database, why, kept }) => {
                    let is_meant = |d: &&Database| database.as_ref().is_none_or(|p| *p == d.path);
                    let mut all = true;
                    for database in self.databases.iter().filter(is_meant) {
                        all &= self.marks.mark(&database.path, &why);
                    }
                    let _ = kept.send(all);
                }
                Ok(Order::Mended(outcome)) => self.mended(&outcome),
                Ok(Order::End { recorded }) => {
                    self.end();
                    let _ = recorded.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Until the next look.
    fn wait(&self) -> Duration {
        let all_kept = self.databases.iter().all(|d| matches!(d.keeper, Keeper::Litestream(..)));
        let long_since = clock::boottime().since(self.since) >= SOON;
        if all_kept || long_since { WATCH } else { LOOK }
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
        for database in &mut self.databases {
            if !matches!(database.keeper, Keeper::Guard(_)) {
                database.take(&self.heartbeat);
            }
            if let Keeper::Nobody(why) = &database.keeper {
                // Nothing is lost with a database that is not there yet.
                if database.path.exists() {
                    let why = format!("Litestream started without a guard: {why}");
                    self.marks.mark(&database.path, &why);
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
        // Newly decided at each look, so that no turn of events leaves the heartbeat paused.
        let mut pause = false;
        for number in 0..self.databases.len() {
            if let Some(process) = self.databases[number].litestream_that_ended() {
                self.litestream_ended(number, process, now);
            }
            self.see_to(number, now);
            pause |= self.consider(number, now);
        }
        self.pause_heartbeats(pause, now);
        self.marks.look(now);
        let all_kept = self.databases.iter().all(|d| matches!(d.keeper, Keeper::Litestream(..)));
        if all_kept && !self.wanted().is_empty() && self.mending.wants_restart(now) {
            let _ = self.tell.send(News::RestartWanted);
        }
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
                "Litestream was stopped or ended, and rows were written before the guard was taken";
            database.gap = Some(why.to_owned());
        }
        database.anybody_may_be_litestream();
        self.mark_gap(number);
        self.databases[number].take(&self.heartbeat);
        self.since = now;
    }

    /// At once, though nothing is lost before Litestream starts: the power may go till then.
    fn mark_gap(&mut self, number: usize) {
        let database = &mut self.databases[number];
        if let Some(why) = database.gap.take() {
            self.marks.mark(&database.path, &why);
        }
    }

    /// Whatever may have befallen the guard.
    fn see_to(&mut self, number: usize, now: Boottime) {
        let database = &mut self.databases[number];
        let was_replaced = database.was_replaced();
        if was_replaced || database.is_to_be_sought(now) {
            self.mark_gap(number);
            self.databases[number].take(&self.heartbeat);
            self.mark_gap(number);
        }
        let database = &mut self.databases[number];
        match &mut database.keeper {
            Keeper::Guard(guard) if !guard.pins() && guard.was_written() => {
                if let Err(why) = guard.renew() {
                    database.keeper = Keeper::Nobody(why);
                }
                let why = "it was written to while its guard pinned nothing";
                self.marks.mark(&database.path, why);
            }
            _ => {}
        }
    }

    /// Whether the guard is to be held on to; and if so, whether heartbeats are to pause for it.
    fn consider(&mut self, number: usize, now: Boottime) -> bool {
        let is_away = self.restarting || self.mending.is_under_way();
        let database = &mut self.databases[number];
        if matches!(database.keeper, Keeper::Litestream(..)) {
            return false;
        }
        let litestream =
            if is_away { None } else { database.litestream_hold(&self.litestream, now) };
        let guard = match &database.keeper {
            Keeper::Guard(guard) => Some(guard),
            _ => None,
        };
        let is_up = self.start.is_some() || !self.litestream.can_be_seen();
        // A database that came later than Litestream has its time from then on.
        let since = self.since.max(database.since);
        let facts = Facts {
            litestream,
            pins: guard.is_some_and(Guard::pins),
            wal: guard.and_then(Guard::wal),
            runs_for: (is_up && !is_away).then(|| now.since(since)),
            paused_for: self.paused.filter(|_| database.is_heartbeat).map(|since| now.since(since)),
        };
        match verdict(&facts, &self.limits) {
            Verdict::LetGo => {
                database.let_go();
                self.mark_gap(number);
            }
            _ if guard.is_none() => self.last_resort(number),
            Verdict::Hold => {}
            Verdict::HoldWithoutHeartbeats => return database.is_heartbeat,
            Verdict::TooLong => {
                let after = self.limits.time.as_secs();
                let why = format!("Litestream runs and held no read lock for {after} s");
                self.give_up(number, &why);
            }
            Verdict::TooLarge => {
                self.give_up(number, "its WAL reached EDGEROTATE_GUARD_MAX_WAL without Litestream");
            }
        }
        false
    }

    fn give_up(&mut self, number: usize, why: &str) {
        let database = &mut self.databases[number];
        database.give_up();
        self.marks.mark(&database.path, &format!("the guard was let go: {why}"));
        self.last_resort(number);
    }

    /// Where neither Litestream nor the guard keeps the WAL, it must not fill the disk.
    fn last_resort(&mut self, number: usize) {
        let database = &mut self.databases[number];
        let limit = self.limits.large();
        let was_just_sought = database.was_just_sought();
        let copied = match &database.keeper {
            Keeper::GivenUp(Some(guard)) => {
                let large = guard.wal().is_some_and(|wal| wal.bytes >= limit && !wal.copied);
                if !large {
                    return;
                }
                // The mark first: a power cut in between must not lose it.
                self.marks.mark(&database.path, COPIED);
                guard.checkpoint()
            }
            Keeper::Nobody(_) if was_just_sought => {
                transaction::checkpoint_where_larger(&database.path, limit, || {
                    self.marks.mark(&database.path, COPIED);
                })
            }
            _ => return,
        };
        if let Err(why) = copied {
            log::debug!("the WAL could not be checkpointed: {why}");
        }
    }

    fn pause_heartbeats(&mut self, pause: bool, now: Boottime) {
        if pause != self.paused.is_some() {
            self.paused = pause.then_some(now);
            self.heartbeat.pause(pause);
        }
    }

    fn publish(&self) {
        let guarded = self.databases.iter().map(Database::guarded).collect();
        self.board.set(|record| &mut record.guard, Some(guarded));
        let start = self.start.as_ref().map(ToString::to_string);
        self.board.set(|record| &mut record.litestream.start, start);
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
