//! `edgerotate run`: the loop between the state machine and the world.
//!
//! Everything runs on one thread but the heartbeat: the loop waits for the next thing that happens,
//! tells the [`Rotation`] of it, and sets out to do what that answers. What takes long (a fetch, a
//! restart) is a task whose end is one more thing that happens.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    core::{
        credentials::Credentials,
        rotation::{Acquiring, Event, Rotation},
    },
    fetch::{parent::Launcher, pin_mark::Watch},
    litestream::{
        restart::{Service, Written},
        version::LitestreamVersion,
    },
    outlets::state_file::{State, StateFile},
    replica::mend::socket,
    settings::{Config, Warning},
    system::{clock, service_manager::ServiceManager, signals::Signals},
};

mod actions;
mod hand_over;
mod outlets;
pub(crate) mod publisher;
pub(crate) mod report;
mod setup;
mod start;
mod stopped;
mod tasks;
mod turn;

pub use self::stopped::Stopped;
use self::{
    outlets::Outlets,
    publisher::Publisher,
    report::DaemonLog,
    setup::prepare,
    stopped::device,
    tasks::{Done, WaitsForGuard},
};
use crate::{
    record::board::Board,
    replica::{
        guard::{GuardThread, News},
        heartbeat_thread::{Beat, HeartbeatThread},
        mend::socket::MendSocket,
        uploads_watch::UploadsWatch,
    },
};

/// The longest the loop sleeps. tokio's clock stands still while the device does, so a wait is made
/// of pieces.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A heartbeat that reports neither success nor failure for so long, beyond its interval, is stuck,
/// and the watchdog is no longer fed. Above the five seconds that SQLite waits for a lock.
const HEARTBEAT_STUCK: Duration = Duration::from_secs(60);

/// Seen with 0.5.17 after kills; its log says why, and a restart helps it.
const STUCK: &str = "Litestream runs, and reads nothing of it any more";

/// What is given to the row, the metrics and the guard's record being written when the daemon is
/// told to stop; two seconds are promised for all.
const TIME_TO_STOP: Duration = Duration::from_millis(1500);

/// Runs until it is told to stop by SIGTERM, SIGINT or SIGHUP. `program` is edgerotate itself, for
/// its children.
///
/// # Errors
/// What keeps the daemon from running at all; whatever fails later is retried.
pub fn run(config: Config, warnings: &[Warning], program: PathBuf) -> Result<(), Stopped> {
    let _instance = prepare(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(device("the event loop can't be started"))?;
    let ended = runtime.block_on(async {
        // Before the first word: whoever reads it may tell the daemon to stop.
        let signals = Signals::new().map_err(device("signals can't be caught"))?;
        report::start(&config, warnings);
        let mut daemon = Daemon::new(config, program)?;
        daemon.run(signals).await
    });
    // Dropping it kills what was under way; a heartbeat that hangs in the kernel is not waited for.
    runtime.shutdown_background();
    ended
}

struct Daemon {
    config: Arc<Config>,
    launcher: Arc<Launcher>,
    litestream: Arc<Service>,
    manager: ServiceManager,
    boot_id: String,
    state_file: StateFile,
    rotation: Rotation,
    /// The newest credentials; their dates are the state machine's.
    credentials: Option<Credentials>,
    /// The state as it was last kept.
    kept: Option<State>,
    /// The newest write of the environment file.
    written: Option<Written>,
    tasks: JoinSet<Done>,
    pin_watch: Watch,
    outlets: Outlets,
    heartbeat: HeartbeatThread,
    guard: GuardThread,
    mend_socket: MendSocket,
    litestream_version: Arc<Mutex<LitestreamVersion>>,
    uploads: UploadsWatch,
    report: DaemonLog,
    publisher: Publisher,
    board: Board,
    /// On the clock that stands still in suspend, as systemd's watchdog does.
    heartbeat_seen: Instant,
    ready: bool,
}

impl Daemon {
    async fn run(&mut self, mut signals: Signals) -> Result<(), Stopped> {
        self.tell(Event::Woke);
        if self.rotation.acquiring() != Acquiring::Fetching {
            self.look_at_version();
        }
        if let Some(endpoint) = self.outlets.start() {
            self.tasks.spawn(endpoint);
        }
        loop {
            self.manager.status(self.report.status(&self.rotation, clock::boottime()));
            self.publisher.publish(&self.rotation);
            self.outlets.expect(&self.rotation, clock::boottime());
            let longest_sleep = self.longest_sleep();
            tokio::select! {
                name = signals.next() => {
                    log::info!("stopping on {name}");
                    self.manager.stopping();
                    self.board.stopped(name, clock::boottime());
                    self.publisher.publish(&self.rotation);
                    // What is under way is killed; its result would come too late to be acted on.
                    self.tasks.shutdown().await;
                    let end = async {
                        // A guard that is being taken needs the heartbeat.
                        self.guard.end().await;
                        tokio::join!(self.heartbeat.stop(), self.publisher.finish(&self.rotation))
                    };
                    let _ = timeout(TIME_TO_STOP, end).await;
                    return Ok(());
                }
                beat = self.heartbeat.next() => match beat {
                    Some(beat) => self.beat(beat),
                    None => {
                        log::error!("the heartbeat's thread has ended; the service manager starts \
                         it all again");
                        return Err(Stopped::Device);
                    }
                },
                news = self.guard.next() => match news {
                    Some(News::Suspect(suspect)) => {
                        if let Some(suspect) = &suspect {
                            self.report.suspect(suspect);
                        }
                        self.board.set(|record| &mut record.suspect, suspect);
                    }
                    Some(News::RestartWanted) => self.tell(Event::RestartWanted),
                    None => {
                        log::error!("the guard's thread has ended; the service manager starts it \
                         all again");
                        return Err(Stopped::Device);
                    }
                },
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(e) => {
                        log::error!("a task has ended without a result ({e}); the service manager \
                         starts it all again");
                        return Err(Stopped::Device);
                    }
                },
                stream = self.mend_socket.next() => {
                    let litestream = Arc::clone(&self.litestream);
                    let version = Arc::clone(&self.litestream_version);
                    tokio::spawn(socket::answer(stream, litestream, version, self.guard.asked()));
                }
                look = self.uploads.next() => {
                    let runs = self.litestream.current_start().is_some();
                    if self.uploads.looked(look, runs, &self.board, clock::boottime()) {
                        let database = Some(self.config.heartbeat.database.as_path());
                        drop(self.guard.asked().suspect(database, STUCK));
                        self.tell(Event::RestartWanted);
                    }
                }
                () = self.outlets.wanted() => self.tell(Event::CredentialsWanted),
                () = self.publisher.changed() => {}
                () = sleep(longest_sleep) => self.tell(Event::Woke),
            }
            self.write_outlets();
            let now = clock::boottime();
            self.outlets.ran_out(now).iter().for_each(|one| report::ran_out(one, now));
            self.board.set(|record| &mut record.consumers, self.outlets.consumers());
            self.feed_watchdog();
        }
    }

    fn look_at_version(&self) {
        let (version, asked) = (Arc::clone(&self.litestream_version), self.guard.asked());
        tokio::spawn(async move { socket::look_at_version(&version, &asked).await });
    }

    fn longest_sleep(&self) -> Duration {
        let now = clock::boottime();
        let wake = self.rotation.next_wake().map_or(LONGEST_SLEEP, |at| at.since(now));
        let watchdog = self.manager.watchdog_interval().unwrap_or(LONGEST_SLEEP);
        wake.min(watchdog).min(LONGEST_SLEEP)
    }

    /// Feeds it only while both the loop and the heartbeat get on.
    fn feed_watchdog(&self) {
        if self.manager.watchdog_interval().is_none() {
            return;
        }
        let silent = self.heartbeat_seen.elapsed();
        if silent < self.config.heartbeat.interval + HEARTBEAT_STUCK {
            self.manager.watchdog();
        } else {
            log::error!(
                "no heartbeat for {} s, not even a failed one: the watchdog may bite",
                silent.as_secs()
            );
        }
    }

    fn beat(&mut self, beat: Beat) {
        let now = clock::boottime();
        self.heartbeat_seen = Instant::now();
        if beat.is_ok() {
            self.uploads.beat(now);
        }
        self.board.beat(&beat, now);
        self.report.beat(beat, &self.config.heartbeat, now);
        if !self.ready {
            // Settings and database have been seen to; a database that fails is retried and said.
            self.ready = true;
            self.manager.ready();
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Fetched(fetch, reply) => {
                // Not before: two starts of large programs at once delay a device's first
                // credentials.
                self.look_at_version();
                let event = self.fetched(fetch, reply);
                self.tell(event);
            }
            Done::Guarded(guarded, in_time) => {
                if !in_time {
                    report::guard_is_late(self.guard.taken_within);
                }
                match guarded {
                    WaitsForGuard::Write(write) => {
                        let event = self.write(write);
                        self.tell(event);
                    }
                    WaitsForGuard::Again(restart) => self.restart(restart),
                }
            }
            Done::Restarted(restart, Ok(start)) => {
                self.guard.restart_is_over(true);
                self.uploads.litestream_starts(clock::boottime());
                self.board.restarted(clock::boottime());
                self.report.restarted(start.as_ref());
                self.tell(Event::Restarted(restart));
            }
            Done::Restarted(restart, Err(error)) => {
                self.guard.restart_is_over(false);
                let now = clock::boottime();
                self.board.hand_over_failed(&error, now);
                self.report.restart_failed(&error, now);
                self.tell(Event::RestartFailed(restart));
            }
        }
    }

    /// Tells the state machine what happened, and does what it answers, until there is nothing to
    /// do.
    fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let failed = matches!(event, Event::FetchFailed { .. });
            let now = clock::boottime();
            let actions = self.rotation.handle(event, now);
            if failed {
                self.report.next_fetch_is_planned(&self.rotation, now);
            }
            // Kept before it is acted on: what is not finished when the power goes is done again.
            self.keep_state();
            for action in actions {
                events.extend(self.act(action));
            }
        }
    }
}
