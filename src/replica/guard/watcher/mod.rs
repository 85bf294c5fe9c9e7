//! What the guard's thread does: it looks at each database again and again, and does what the
//! machines answer.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender},
    },
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    changes::Changes,
    database::{self, Database},
    marks::Marks,
    mending::Mending,
    orders::{GuardOrder, Inbox, News},
    record::GuardRecord,
};
use crate::{
    core::guard::{
        Action, Event, Keeper, Limits, MarkReason, Memory, RestartCause, look::LitestreamRun,
    },
    litestream::restart::{Service, Start},
    record::board::Board,
    replica::{heartbeat_thread::HeartbeatHandle, suspect::SuspectFile},
    settings::Config,
    system::clock,
};

mod end;
mod snapshots;

/// What comes in one go is looked at once.
const SETTLE: Duration = Duration::from_millis(20);

/// A Litestream that is slow is left alone: with S3 away, 0.5 was seen to read nothing for more
/// than eight seconds.
const STANDS_STILL: Duration = Duration::from_secs(60);

pub struct Watcher {
    databases: Vec<Database>,
    limits: Limits,
    litestream: Arc<Service>,
    heartbeat: HeartbeatHandle,
    changes: Changes,
    inbox: Inbox,
    marks: Marks,
    mending: Mending,
    /// Suspect, and not replicated.
    unlisted: Vec<PathBuf>,
    tell: UnboundedSender<News>,
    record: GuardRecord,
    /// A restart is under way: what Litestream does is no surprise.
    restarting: bool,
    /// Litestream's start as it was last seen.
    start: Option<Start>,
    paused: bool,
    board: Board,
}

impl Watcher {
    pub fn new(
        config: &Config,
        boot_id: &str,
        litestream: Arc<Service>,
        heartbeat: HeartbeatHandle,
        tell: UnboundedSender<News>,
        board: Board,
        (orders, inbox): (Sender<GuardOrder>, Inbox),
    ) -> Self {
        let own = &config.heartbeat.database;
        let others = config.guard.databases.iter().filter(|path| *path != own);
        let record = GuardRecord::load(&config.runtime_directory, boot_id);
        let limits = Limits {
            time: config.guard.max_time,
            wal: config.guard.max_wal,
            still: config.verify.max_lag.max(STANDS_STILL),
        };
        let databases = std::iter::once(own)
            .chain(others)
            .map(|path| Database::new(path, path == own, limits, record.memory(path)));
        let databases: Vec<_> = databases.collect();
        let paths = databases.iter().map(|database| database.path.clone()).collect();
        let file = SuspectFile::in_directory(&config.state_directory);
        Self {
            databases,
            limits,
            start: litestream.current_start(),
            litestream,
            heartbeat,
            changes: Changes::tell(orders),
            inbox,
            marks: Marks::new(file, paths, tell.clone()),
            mending: Mending::default(),
            unlisted: Vec::new(),
            tell,
            record,
            restarting: false,
            paused: false,
            board,
        }
    }

    pub fn run_until_stopped(&mut self) {
        self.marks.look(clock::boottime());
        if let Some(summary) = self.marks.told().summary() {
            log::warn!("replicas that may lack rows since before this start: {summary}");
        }
        for database in &self.databases {
            if database.machine.keeper == Keeper::Litestream {
                log::debug!(
                    "{}: Litestream holds its own read lock, as it did before",
                    database.path.display()
                );
            }
        }
        self.look();
        loop {
            self.keep_record();
            self.publish();
            let wait = self.wait();
            match self.inbox.next(wait) {
                Ok(GuardOrder::Changed) => {
                    // What comes in one go is looked at once.
                    self.inbox.pause(SETTLE);
                    self.look();
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Ok(GuardOrder::Take { again, taken }) => {
                    self.take_all(again);
                    self.keep_record();
                    let _ = taken.send(());
                }
                Ok(GuardOrder::Over { restarted }) => self.restart_is_over(restarted),
                Ok(GuardOrder::Asked { wanted }) => {
                    let answer = self.litestream_asks();
                    self.keep_record();
                    let _ = wanted.send(answer);
                }
                Ok(GuardOrder::Suspect { database, why, kept }) => {
                    let is_meant = |d: &&Database| database.as_ref().is_none_or(|p| *p == d.path);
                    let mut all = true;
                    for database in self.databases.iter().filter(is_meant) {
                        all &= self.marks.mark(&database.path, &why);
                    }
                    let _ = kept.send(all);
                }
                Ok(GuardOrder::Mended(outcome)) => self.mended(&outcome),
                Ok(GuardOrder::End { recorded }) => {
                    self.end();
                    let _ = recorded.send(());
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Until the next look.
    fn wait(&self) -> Duration {
        let now = clock::awake();
        let waits = self.databases.iter().map(|database| database.machine.next_look(now));
        waits.min().unwrap_or(STANDS_STILL)
    }

    /// Before a restart.
    fn take_all(&mut self, again: bool) {
        // It may have ended by itself since the last look.
        self.look();
        self.restarting = true;
        if !again {
            // Of all, before the first is waited for: whoever reads now is not the Litestream that
            // comes.
            self.databases.iter_mut().for_each(Database::restart_begins);
        }
        self.tell_all(Event::RestartBegins);
    }

    fn restart_is_over(&mut self, restarted: bool) {
        self.restarting = false;
        self.start = self.litestream.current_start();
        if !restarted {
            // The old one may go on.
            self.databases.iter_mut().for_each(Database::anybody_may_be_litestream);
        }
        self.tell_all(Event::RestartOver);
        self.look();
    }

    fn look(&mut self) {
        self.changes.begin_look();
        let start = self.litestream.current_start();
        if start != self.start && !self.restarting {
            self.databases.iter_mut().for_each(Database::anybody_may_be_litestream);
        }
        let run = database::run(&self.litestream, start.as_ref());
        self.start = start;
        for number in 0..self.databases.len() {
            self.look_at(number, run);
        }
        let pause = self.databases.iter().any(|d| d.machine.pauses_heartbeats());
        if pause != self.paused {
            self.paused = pause;
            self.heartbeat.pause(pause);
        }
        let now = clock::boottime();
        self.marks.look(now);
        let is_settled = |database: &Database| {
            matches!(database.machine.keeper, Keeper::Litestream | Keeper::GivenUp)
        };
        let all_settled = self.databases.iter().all(is_settled);
        if all_settled && !self.wanted().is_empty() && self.mending.ask_for_restart(now) {
            let _ = self.tell.send(News::RestartWanted);
        }
    }

    fn look_at(&mut self, number: usize, run: LitestreamRun) {
        let database = &mut self.databases[number];
        let was_kept = database.machine.keeper == Keeper::Litestream;
        let holder = database.holder;
        let actions = database.look(&self.litestream, run, clock::awake());
        // A heartbeat each few seconds: the looks that come anyway are near enough to what they
        // look for.
        let notes = Some(database.beside.directory().as_path());
        let notes = notes.filter(|_| !database.is_heartbeat);
        self.changes.watch(&database.path, notes, database.holder);
        if was_kept && database.machine.keeper != Keeper::Litestream && !self.restarting {
            self.say_that_it_ended(number, holder);
        }
        self.act_all(number, actions);
    }

    fn say_that_it_ended(&self, number: usize, holder: Option<u32>) {
        let path = self.databases[number].path.display();
        let process = holder.map_or(String::new(), |pid| format!(" (process {pid})"));
        log::warn!(
            "{path}: Litestream{process} ended outside of a rotation; its database is guarded now"
        );
    }

    fn tell_all(&mut self, event: Event) {
        for number in 0..self.databases.len() {
            let actions = self.databases[number].machine.handle(event, clock::awake());
            self.act_all(number, actions);
        }
    }

    fn act_all(&mut self, number: usize, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            if let Some(event) = self.act(number, action) {
                actions.extend(self.databases[number].machine.handle(event, clock::awake()));
            }
        }
    }

    fn act(&mut self, number: usize, action: Action) -> Option<Event> {
        let database = &mut self.databases[number];
        let path = database.path.display();
        match action {
            Action::Take => {
                let is_lost = database.machine.keeper == Keeper::Litestream && !self.restarting;
                if is_lost {
                    log::warn!("{path}: Litestream let go of its read lock; it is guarded now");
                }
                return Some(self.databases[number].take(&self.heartbeat, &mut self.inbox));
            }
            Action::LetGo(proof) => {
                let process = database.holder.map_or(0, |pid| pid);
                log::debug!(
                    "{path}: Litestream (process {process}) holds its own read lock, the guard is \
                     let go ({proof:?})"
                );
                database.rest();
            }
            Action::GiveUp => database.rest(),
            Action::Mark(reason) => self.mark(number, reason),
            Action::Checkpoint => database.checkpoint(),
            Action::Nudge => database.nudge(),
            Action::AskForRestart(ask) => {
                let why = match ask {
                    RestartCause::Exchanged => "Litestream keeps to the file that was there before",
                    RestartCause::StandsStill => {
                        "Litestream runs, and reads nothing of what is written"
                    }
                };
                log::warn!("{path}: {why}; it is restarted");
                let _ = self.tell.send(News::RestartWanted);
            }
            Action::SayLarge => log::warn!(
                "{path}: its WAL is beyond EDGEROTATE_GUARD_MAX_WAL, and Litestream's read lock \
                 keeps \
                 it; look at Litestream's log"
            ),
        }
        None
    }

    fn mark(&mut self, number: usize, reason: MarkReason) {
        let database = &self.databases[number];
        let why = match reason {
            MarkReason::Unread => {
                "its WAL began anew before Litestream had read all of it".to_owned()
            }
            MarkReason::Unproven => {
                "its WAL began anew, and nothing shows that Litestream had read all of it"
                    .to_owned()
            }
            MarkReason::Exchanged => "another file was put in its place".to_owned(),
            MarkReason::Unguarded => {
                let why = database.why.as_ref().map(ToString::to_string);
                let why = why.unwrap_or_else(|| "it could not be had".to_owned());
                format!("Litestream started without a guard: {why}")
            }
            MarkReason::TooLong => {
                let after = self.limits.time.as_secs();
                format!("the guard was let go: Litestream runs and held no read lock for {after} s")
            }
            MarkReason::TooLarge => {
                "the guard was let go: its WAL reached EDGEROTATE_GUARD_MAX_WAL \
                 without Litestream"
                    .to_owned()
            }
            MarkReason::Copied => {
                "its WAL neared EDGEROTATE_GUARD_MAX_WAL without Litestream, and \
                 was checkpointed so that the disk does not fill"
                    .to_owned()
            }
        };
        // What comes again is news only for a snapshot that is under way.
        if self.mending.is_under_way() || !self.marks.knows(&database.path, &why) {
            self.marks.mark(&database.path, &why);
        }
    }

    fn publish(&self) {
        let now = clock::boottime();
        let guarded = self.databases.iter().map(|database| database.guarded(now)).collect();
        self.board.set(|record| &mut record.guard, Some(guarded));
        let start = self.start.as_ref().map(ToString::to_string);
        self.board.set(|record| &mut record.litestream.start, start);
    }

    fn keep_record(&mut self) {
        self.record.keep(self.memories());
    }

    fn memories(&self) -> BTreeMap<PathBuf, Memory> {
        self.databases.iter().map(|d| (d.path.clone(), d.machine.memory())).collect()
    }
}
