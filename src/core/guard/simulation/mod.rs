//! Thousands of hours of a database, of Litestream and of the daemon, and what must hold at their
//! end: each row is in the replica, or the replica is marked.
//!
//! The world is a queue of things that will happen. It steps from one to the next, so nothing
//! sleeps; its seed is printed by a failing check, and repeats the run.

#![allow(clippy::print_stderr, reason = "figures, for whoever asks for them with GUARD_FIGURES=1")]

use std::{collections::BTreeMap, time::Duration};

use super::{
    look::{Awake, LitestreamRun, Look, Position, ReaderLock},
    rules::{Rule, Rules},
    *,
};
use crate::core::backoff::Random;

mod daemon;
mod litestream;
mod promises;
mod sabotage;
mod wal;
mod weather;

use litestream::{Database, Litestream, S3};
use wal::{Log, Reader};
use weather::{Weather, Writes};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happens {
    /// The daemon looks; the number tells that of a look that was planned anew, or of a daemon that
    /// died.
    Look {
        plan: u64,
    },
    /// Litestream's monitor, each second where there is something to do.
    Sync,
    S3Answers,
    S3Becomes(S3),
    Write,
    Truncate,
    Rotation,
    /// The restart's second half: the old Litestream has ended, and the new one starts.
    Stopped,
    Start,
    RestartOver,
    Kill,
    DaemonDies,
    DaemonStarts,
    Suspend,
    SocketStops,
    SocketStarts,
    NotesDeleted,
    ReaderBegins,
    ReaderEnds,
}

/// What was counted in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    rows: usize,
    restarts: u64,
    looks: u64,
    hand_overs: u64,
    /// How often a replica that was not marked became so.
    marks: u64,
    asked: u64,
    missing: usize,
    /// Rows that were overwritten before Litestream had read them, whatever became of it.
    overwritten: usize,
    /// For how long rows were lost and not marked at most, in milliseconds.
    silent: u64,
    /// The most frames that the WAL ever had.
    largest: usize,
    /// For how long something waited to be read at most, in milliseconds.
    longest: u64,
}

struct World {
    weather: Weather,
    rules: Rules,
    random: Random,
    now: u64,
    /// How long the device slept.
    slept: u64,
    queue: BTreeMap<(u64, u64), Happens>,
    queued: u64,
    s3: S3,
    log: Log,
    litestream: Litestream,
    runs: u64,
    stopping: bool,
    sync_planned: bool,
    machine: Option<Machine>,
    memory: Option<Memory>,
    plan: u64,
    /// When Litestream was last seen to read on, and how far it was.
    moved: (u64, Option<(u64, usize)>),
    /// Rows that were overwritten unread, and since when that is not marked.
    lost: Vec<usize>,
    silent: Option<u64>,
    marked: Option<MarkReason>,
    count: Count,
}

/// A device that lives through `hours` of `weather`, and then for as long as it takes with nothing
/// wrong any more.
fn live(
    seed: u64,
    weather: Weather,
    hours: u64,
    without: Option<Rule>,
) -> (Count, Option<MarkReason>) {
    let mut world = World::new(seed, weather, without);
    world.run_until(hours * HOUR);
    world.calm_down();
    world.count.rows = world.count.rows.max(1);
    world.count.missing = world.litestream.missing(world.count.rows - 1);
    (world.count, world.marked)
}

impl World {
    fn new(seed: u64, weather: Weather, without: Option<Rule>) -> Self {
        let mut world = Self {
            weather,
            rules: Rules { without },
            random: Random::new(seed),
            now: SECOND,
            slept: 0,
            queue: BTreeMap::new(),
            queued: 0,
            s3: S3::Fine,
            log: Log::new(),
            litestream: Litestream::new(weather.notes, weather.has_barrier),
            runs: 0,
            stopping: false,
            sync_planned: false,
            machine: None,
            memory: None,
            plan: 0,
            moved: (SECOND, None),
            lost: Vec::new(),
            silent: None,
            marked: None,
            count: Count { rows: 1, ..Count::default() },
        };
        world.log.write(None);
        world.daemon_starts();
        world.start_litestream();
        for (every, what) in weather.happens() {
            world.plan_about(every, what);
        }
        world.plan(SECOND, Happens::Write);
        world
    }

    fn awake(&self) -> Awake {
        Duration::from_millis(self.now - self.slept)
    }

    fn plan(&mut self, after: u64, what: Happens) {
        self.queued += 1;
        self.queue.insert((self.now + after, self.queued), what);
    }

    /// Between half and one and a half of `every` from now.
    fn plan_about(&mut self, every: u64, what: Happens) {
        let after = every / 2 + self.random.next_u64() % every.max(1);
        self.plan(after.max(1), what);
    }

    fn run_until(&mut self, end: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), what) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(what);
            self.take_stock();
        }
        self.now = self.now.max(end);
    }

    fn take_stock(&mut self) {
        if !self.log.overwritten.is_empty() {
            let overwritten = std::mem::take(&mut self.log.overwritten);
            self.count.overwritten += self.litestream.lacks(&overwritten);
            self.lost.extend(overwritten);
        }
        if !self.lost.is_empty() {
            self.look_for_silence();
        }
        self.count.largest = self.count.largest.max(self.log.frames);
        let newest = self.litestream.newest();
        if newest != self.moved.1 || self.machine.is_none() {
            self.moved = (self.now - self.slept, newest);
        }
        self.count.longest = self.count.longest.max(self.now - self.slept - self.moved.0);
    }

    /// Rows that are lost for good, as Litestream has gone on behind them, and not marked: for how
    /// long is that so?
    fn look_for_silence(&mut self) {
        let litestream = &self.litestream;
        self.lost.retain(|row| litestream.lacks(&[*row]) > 0);
        let is_silent = !self.lost.is_empty()
            && litestream.is_in(&self.log)
            && self.marked.is_none()
            && self.machine.is_some();
        let now = self.now - self.slept;
        self.silent = if is_silent { self.silent.or(Some(now)) } else { None };
        let silent = self.silent.map_or(0, |since| now - since);
        self.count.silent = self.count.silent.max(silent);
    }

    /// Nothing bad happens any more, and there are rows now and then.
    fn calm_down(&mut self) {
        self.weather = Weather { writes: Writes::Calm, ..self.weather.calm() };
        self.queue.retain(|_, what| matches!(what, Happens::Look { .. } | Happens::Sync));
        self.s3 = S3::Fine;
        self.stopping = false;
        self.log.end(Reader::Application);
        if self.machine.is_none() {
            self.daemon_starts();
        }
        self.tell(Event::RestartOver);
        self.restart_litestream_by_hand();
        self.plan(SECOND, Happens::Write);
        self.run_until(self.now + 20 * MINUTE);
        self.queue.retain(|_, what| *what != Happens::Write);
        self.run_until(self.now + 2 * MINUTE);
    }

    fn restart_litestream_by_hand(&mut self) {
        self.litestream.stop(&mut self.log, self.count.rows);
        self.litestream.kill(&mut self.log);
        self.start_litestream();
    }

    fn happen(&mut self, what: Happens) {
        let again = self.weather.happens().into_iter().find(|(_, known)| *known == what);
        if let Some((every, what)) = again {
            self.plan_about(every, what);
        }
        match what {
            Happens::Look { plan } if plan == self.plan => self.look(),
            Happens::Look { .. } => {}
            Happens::Sync => self.sync(),
            Happens::S3Answers => self.s3_answers(),
            Happens::S3Becomes(s3) => self.s3_becomes(s3),
            Happens::Write => self.write(),
            Happens::Truncate => self.log.truncate(),
            Happens::Rotation => self.restart_begins(),
            Happens::Stopped => {
                self.litestream.stop(&mut self.log, self.count.rows);
                self.litestream.kill(&mut self.log);
                self.plan_about(SECOND, Happens::Start);
            }
            Happens::Start => {
                self.start_litestream();
                self.plan(1500, Happens::RestartOver);
            }
            Happens::RestartOver => {
                self.stopping = false;
                self.tell(Event::RestartOver);
            }
            Happens::Kill if self.litestream.process.is_some() && !self.stopping => {
                self.litestream.kill(&mut self.log);
                self.stopping = true;
                self.plan(5 * SECOND, Happens::Start);
                self.wake_daemon();
            }
            Happens::DaemonDies if self.machine.is_some() => {
                self.machine = None;
                self.log.end(Reader::Guard);
                self.plan_about(3 * SECOND, Happens::DaemonStarts);
            }
            Happens::DaemonStarts => self.daemon_starts(),
            Happens::Suspend => self.suspend(),
            Happens::SocketStops if self.litestream.is_open() => {
                self.litestream.stop(&mut self.log, self.count.rows);
                if let Some((_, database)) = &mut self.litestream.process {
                    *database = Database::Stopped;
                }
                self.wake_daemon();
                self.plan_about(4 * SECOND, Happens::SocketStarts);
            }
            Happens::SocketStarts => {
                if matches!(self.litestream.process, Some((_, Database::Stopped))) {
                    self.open();
                }
            }
            Happens::NotesDeleted => self.litestream.delete_notes(),
            Happens::ReaderBegins => {
                self.log.begin(Reader::Application);
                self.plan_about(2 * SECOND, Happens::ReaderEnds);
            }
            Happens::ReaderEnds => self.log.end(Reader::Application),
            Happens::Kill | Happens::DaemonDies | Happens::SocketStops => {}
        }
    }

    // Litestream.

    fn start_litestream(&mut self) {
        self.count.restarts += 1;
        self.runs += 1;
        self.mend();
        let (run, s3, now) = (self.runs, self.s3, self.now);
        self.litestream.start(run, s3, now, &mut self.log, &mut self.random);
        self.plan_answer();
        self.wake_daemon();
    }

    fn open(&mut self) {
        let (s3, now) = (self.s3, self.now);
        let backoff = match self.litestream.process {
            Some((_, Database::Closed { backoff, .. })) => backoff,
            _ => 1000,
        };
        self.litestream.open(s3, now, backoff, &mut self.log, &mut self.random);
        self.plan_answer();
    }

    fn plan_answer(&mut self) {
        if let Some((_, Database::Asking { until, .. })) = self.litestream.process {
            self.plan(until - self.now, Happens::S3Answers);
        }
    }

    fn s3_answers(&mut self) {
        self.litestream.answered(self.now, &mut self.log, self.count.rows);
        match self.litestream.process {
            Some((_, Database::Closed { .. })) => self.wake_daemon(),
            Some((_, Database::Open)) => self.litestream.checkpointed = self.now,
            _ => {}
        }
        self.has_read();
    }

    fn sync(&mut self) {
        self.sync_planned = false;
        match self.litestream.process {
            Some((_, Database::Closed { next, .. })) if self.now >= next => self.open(),
            Some((_, Database::Closed { .. } | Database::Asking { .. })) => self.plan_sync(),
            Some((_, Database::Open)) => {
                self.litestream.read(&self.log, self.count.rows);
                if self.litestream.wants_checkpoint(&self.log, self.now) {
                    let between = usize::from(self.random.share() < self.weather.interferes);
                    let now = self.now;
                    self.litestream.checkpoint(&mut self.log, &mut self.count.rows, between, now);
                }
                self.has_read();
            }
            Some((_, Database::Stopped)) | None => {}
        }
    }

    fn has_read(&mut self) {
        self.wake_daemon();
        self.plan_sync();
    }

    fn plan_sync(&mut self) {
        if !self.sync_planned {
            self.sync_planned = true;
            let wait = match self.litestream.process {
                Some((_, Database::Closed { next, .. })) => next.saturating_sub(self.now).max(1),
                _ if self.weather.writes == Writes::Rare => 20 * SECOND,
                _ => SECOND,
            };
            self.plan(wait, Happens::Sync);
        }
    }

    fn restart_begins(&mut self) {
        if self.stopping || self.machine.is_none() {
            return;
        }
        self.stopping = true;
        self.tell(Event::RestartBegins);
        self.plan_about(2 * SECOND, Happens::Stopped);
    }

    /// What `edgerotate mend` does at each start.
    fn mend(&mut self) {
        if self.machine.is_none() || self.marked.is_none() {
            return;
        }
        self.tell(Event::MendingBegins);
        if matches!(self.s3, S3::Fine | S3::Slow(_)) {
            self.litestream.snapshot(&self.log, self.count.rows);
            self.marked = None;
        }
        self.tell(Event::Mended);
    }

    // The application.

    fn write(&mut self) {
        let (count, wait) = self.weather.writes.next(&mut self.random);
        for _ in 0..count {
            self.log.write(Some(self.count.rows));
            self.count.rows += 1;
        }
        if self.random.share() < self.weather.checkpoints {
            self.log.checkpoint();
            for _ in 0..self.random.next_u64() % 4 {
                self.log.write(Some(self.count.rows));
                self.count.rows += 1;
            }
        }
        self.plan(wait, Happens::Write);
        self.plan_sync();
    }

    fn s3_becomes(&mut self, s3: S3) {
        self.s3 = s3;
        let lasts = 5 * SECOND + self.random.next_u64() % self.weather.trouble_lasts.max(1);
        if s3 != S3::Fine {
            self.plan(lasts, Happens::S3Becomes(S3::Fine));
        }
    }
}
