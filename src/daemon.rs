//! `edgerotate run`: the loop between the state machine and the world.
//!
//! Everything runs on one thread but the heartbeat: the loop waits for the next thing that happens, tells the
//! [`Rotation`] of it, and sets out to do what that answers. What takes long (a fetch, a restart) is a task whose end is
//! one more thing that happens.

use std::{
    collections::VecDeque, env, path::PathBuf, process::ExitCode, sync::Arc, time::Duration,
};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    clock,
    config::{Config, Warning},
    credentials::Credentials,
    failure::{Cause, Class, Failure},
    fetch::refused_pin::{Look, Watch},
    fetch_child::Launcher,
    fetch_reply::FetchReply,
    lifetime::{self, Lifetime},
    litestream::{Litestream, RestartError, Start, Written},
    litestream_version::LitestreamVersion,
    rotation::{Action, Event, Fetch, Policy, Restart, Rotation, Write},
    service_manager::ServiceManager,
    state_file::{State, StateFile},
};

mod guard;
mod hand_over;
mod heartbeat;
pub mod instance;
mod mend;
mod metrics_file;
mod outlets;
mod publisher;
mod repeats;
mod report;
mod setup;
mod uploads;

use guard::{GuardThread, News};
use hand_over::holds;
use heartbeat::{Beat, HeartbeatThread};
use mend::Door;
use outlets::Outlets;
use publisher::{Board, Publisher};
use report::Report;
use setup::{Signals, device, jitter, prepare, seed};
use uploads::UploadsWatch;

/// The longest the loop sleeps. tokio's clock stands still while the device does, so a wait is made of pieces.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A heartbeat that reports neither success nor failure for so long, beyond its interval, is stuck, and the watchdog is
/// no longer fed. Above the five seconds that SQLite waits for a lock.
const HEARTBEAT_STUCK: Duration = Duration::from_secs(60);

/// Seen with 0.5.17 after kills; its log says why, and a restart helps it.
const STUCK: &str = "Litestream runs, and reads nothing of it any more";

/// What is given to the row being written when the daemon is told to stop; two seconds are promised for all.
const TIME_TO_STOP: Duration = Duration::from_millis(1500);

/// Why the daemon could not run. Each has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    Settings,
    OtherInstance,
    Device,
}

impl From<Stopped> for ExitCode {
    fn from(stopped: Stopped) -> Self {
        Self::from(match stopped {
            Stopped::Settings => 78,
            Stopped::OtherInstance => 75,
            Stopped::Device => 69,
        })
    }
}

/// Runs until it is told to stop by SIGTERM, SIGINT or SIGHUP. `program` is edgerotate itself, for its children.
///
/// # Errors
/// What keeps the daemon from running at all; whatever fails later is retried.
pub fn run(config: Config, warnings: &[Warning], program: PathBuf) -> Result<(), Stopped> {
    let _instance = prepare(&config)?;
    report::start(&config, warnings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(device("the event loop can't be started"))?;
    let ended = runtime.block_on(async {
        let mut daemon = Daemon::new(config, program)?;
        daemon.run().await
    });
    // Dropping it kills what was under way; a heartbeat that hangs in the kernel is not waited for.
    runtime.shutdown_background();
    ended
}

/// A task that has ended.
enum Done {
    Fetched(Fetch, FetchReply),
    /// The guard is taken, or was waited for long enough (`false`).
    Guarded(Guarded, bool),
    Restarted(Restart, Result<Option<Start>, RestartError>),
}

/// What waits for the guard.
enum Guarded {
    Write(Write),
    /// Not the first try: the guard of that one may have been let go since.
    Again(Restart),
}

struct Daemon {
    config: Arc<Config>,
    launcher: Arc<Launcher>,
    litestream: Arc<Litestream>,
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
    door: Door,
    litestream_version: Arc<Mutex<LitestreamVersion>>,
    uploads: UploadsWatch,
    report: Report,
    publisher: Publisher,
    board: Board,
    /// On the clock that stands still in suspend, as systemd's watchdog does.
    heartbeat_seen: Instant,
    ready: bool,
}

impl Daemon {
    fn new(config: Config, program: PathBuf) -> Result<Self, Stopped> {
        let manager = ServiceManager::new(|name| env::var_os(name))
            .map_err(device("NOTIFY_SOCKET can't be used"))?;
        let boot_id = clock::boot_id().map_err(device("the boot has no id"))?;
        let outlets = Outlets::open(&config, &boot_id)?;
        let state_file = StateFile::in_directory(&config.runtime_directory);
        let now = clock::boottime();
        let kept = state_file.load(&boot_id).unwrap_or_else(|e| {
            log::warn!("{e}; starting as after a boot");
            None
        });
        let kept = kept.filter(|state| state.resumed().held.expires > now);

        let litestream = Arc::new(Litestream::new(&config.litestream));
        report::how_litestream_restarts(&litestream);
        let mut pin_watch = Watch::default();
        let refused = match pin_watch.look(&config.provider, config.mark_directories()) {
            Look::StillRefused(refused) => Some(refused),
            Look::Changed | Look::Unknown => None,
        };
        // Somebody may have removed the file, or put another image's settings in place; and a Litestream that is
        // seen not to run takes nothing.
        let credentials = kept.as_ref().map(|state| &state.credentials);
        let is_current = holds(&config, &outlets, credentials)
            && (!litestream.can_be_seen() || litestream.current_start().is_some());
        let mut resumed = kept.as_ref().map(State::resumed);
        if let Some(resumed) = &mut resumed {
            resumed.handed_over &= is_current;
        }
        let policy = Policy {
            lead: outlets.lead(config.provider.lead),
            jitter: jitter(&config),
            delivery: outlets.delivery(is_current),
        };
        let rotation = Rotation::new(policy, seed(), resumed, refused.is_some(), now);

        let publisher = Publisher::new(&config, &boot_id, litestream.can_be_seen());
        let board = publisher.board();
        let mut report = Report::new();
        if let Some(refused) = refused {
            board.pin_stays_refused(&refused.failure(), now);
            report.pin_stays_refused(refused.failure(), now);
        }
        if let Some(held) = rotation.held() {
            report.resumed(held.expires.since(now));
        }
        if let Some(Err(e)) = kept.as_ref().map(|state| outlets.offer(state)) {
            report.not_offered(&e, now);
        }
        let heartbeat = HeartbeatThread::start(config.heartbeat.clone(), clock::wall())
            .map_err(device("the heartbeat's thread can't be started"))?;
        let guard = GuardThread::start(
            &config,
            &boot_id,
            Arc::clone(&litestream),
            heartbeat.handle(),
            board.clone(),
        )
        .map_err(device("the guard's thread can't be started"))?;
        let litestream_version =
            LitestreamVersion::new(&config.litestream.program, &config.state_directory);
        let door = Door::open(&config.runtime_directory)
            .map_err(device("EDGEROTATE_RUNTIME_DIRECTORY: no socket can be made there"))?;
        Ok(Self {
            launcher: Arc::new(Launcher::new(program, &config)),
            litestream,
            manager,
            boot_id,
            state_file,
            rotation,
            credentials: kept.as_ref().map(|state| state.credentials.clone()),
            kept,
            written: None,
            tasks: JoinSet::new(),
            pin_watch,
            outlets,
            heartbeat,
            guard,
            door,
            uploads: UploadsWatch::start(&config),
            litestream_version: Arc::new(Mutex::new(litestream_version)),
            report,
            publisher,
            board,
            heartbeat_seen: Instant::now(),
            ready: false,
            config: Arc::new(config),
        })
    }

    async fn run(&mut self) -> Result<(), Stopped> {
        let mut signals = Signals::new().map_err(device("signals can't be caught"))?;
        let (version, asked) = (Arc::clone(&self.litestream_version), self.guard.asked());
        tokio::spawn(async move { mend::look_at_version(&version, &asked).await });
        self.tell(Event::Woke);
        if let Some(endpoint) = self.outlets.start() {
            self.tasks.spawn(endpoint);
        }
        loop {
            self.manager.status(self.report.status(&self.rotation, clock::boottime()));
            self.publisher.publish(&self.rotation);
            let longest_sleep = self.longest_sleep();
            tokio::select! {
                name = signals.next() => {
                    log::info!("stopping on {name}");
                    self.manager.stopping();
                    self.board.stopped(name, clock::boottime());
                    self.publisher.publish(&self.rotation);
                    // What is under way is killed; its result would come too late to be acted on.
                    self.tasks.shutdown().await;
                    let _ = timeout(TIME_TO_STOP, self.heartbeat.stop()).await;
                    return Ok(());
                }
                beat = self.heartbeat.next() => match beat {
                    Some(beat) => self.beat(beat),
                    None => {
                        log::error!("the heartbeat's thread has ended; the service manager starts it all again");
                        return Err(Stopped::Device);
                    }
                },
                news = self.guard.next() => match news {
                    Some(News::Suspect(suspect)) => {
                        self.report.suspect(&suspect);
                        self.board.set(|record| &mut record.suspect, Some(suspect));
                    }
                    Some(News::RestartWanted) => self.tell(Event::RestartWanted),
                    None => {
                        log::error!("the guard's thread has ended; the service manager starts it all again");
                        return Err(Stopped::Device);
                    }
                },
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(e) => {
                        log::error!("a task has ended without a result ({e}); the service manager starts it all again");
                        return Err(Stopped::Device);
                    }
                },
                stream = self.door.next() => {
                    let litestream = Arc::clone(&self.litestream);
                    let version = Arc::clone(&self.litestream_version);
                    tokio::spawn(mend::answer(stream, litestream, version, self.guard.asked()));
                }
                look = self.uploads.next() => {
                    if self.uploads.looked(look, &self.board, clock::boottime()) {
                        self.guard.asked().suspect(Some(&self.config.heartbeat.database), STUCK);
                        self.tell(Event::RestartWanted);
                    }
                }
                () = self.publisher.changed() => {}
                () = sleep(longest_sleep) => self.tell(Event::Woke),
            }
            let now = clock::boottime();
            self.outlets.ran_out(now).iter().for_each(|one| report::ran_out(one, now));
            self.board.set(|record| &mut record.consumers, self.outlets.consumers());
            self.feed_watchdog();
        }
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
                let event = self.fetched(fetch, reply);
                self.tell(event);
            }
            Done::Guarded(guarded, in_time) => {
                if !in_time {
                    report::guard_is_late(guard::TAKEN_WITHIN);
                }
                match guarded {
                    Guarded::Write(write) => {
                        let event = self.write(write);
                        self.tell(event);
                    }
                    Guarded::Again(restart) => self.restart(restart),
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

    fn fetched(&mut self, fetch: Fetch, reply: FetchReply) -> Event {
        let wall = clock::wall();
        let (FetchReply::Credentials { date, .. } | FetchReply::Failed { date, .. }) = &reply;
        let date = date.as_deref().and_then(lifetime::parse_date);
        if let Some(date) = date {
            self.board.clock(wall - date, clock::boottime());
            self.report.clock(wall - date);
        }
        let failure = match reply {
            FetchReply::Credentials { credentials, .. } => {
                match lifetime::lifetime(credentials.expiration, date, wall, clock::EARLIEST) {
                    Some(Lifetime { duration, known_by }) => {
                        self.credentials = Some(credentials);
                        self.board.fetched(clock::boottime());
                        self.report.fetched(
                            duration,
                            known_by,
                            clock::boottime().since(fetch.begun()),
                        );
                        return Event::Fetched { fetch, lifetime: duration };
                    }
                    None => Failure::new(
                        Cause::AlreadyExpired,
                        format!("expiration {}", credentials.expiration.to_rfc3339()),
                    ),
                }
            }
            FetchReply::Failed { failure, .. } => failure,
        };
        let (class, retry_after) = (failure.class(), failure.retry_after);
        if class == Class::PinRefused {
            // Its mark has to have been seen before its absence can mean anything.
            self.pin_watch.look(&self.config.provider, self.config.mark_directories());
        }
        self.board.fetch_failed(&failure, clock::boottime());
        self.report.fetch_failed(failure);
        Event::FetchFailed { fetch, class, retry_after }
    }

    /// Tells the state machine what happened, and does what it answers, until there is nothing to do.
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

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Fetch(fetch) => {
                self.report.fetch_starts(&self.rotation, clock::boottime());
                let (launcher, config) = (Arc::clone(&self.launcher), Arc::clone(&self.config));
                self.tasks.spawn(async move {
                    let reply = launcher.fetch(&config.provider, report::unreapable).await;
                    Done::Fetched(fetch, reply)
                });
                None
            }
            Action::Write(write) => {
                self.after_guard(Guarded::Write(write));
                None
            }
            Action::Restart(restart) => {
                if restart.failures() > 0 {
                    self.after_guard(Guarded::Again(restart));
                } else {
                    self.restart(restart);
                }
                None
            }
            Action::LookAtPin => {
                let marks = self.config.mark_directories();
                match self.pin_watch.look(&self.config.provider, marks) {
                    Look::Changed => {
                        log::info!("the PIN was changed since it was refused; it is tried again");
                        Some(Event::PinChanged)
                    }
                    Look::StillRefused(refused) => {
                        let now = clock::boottime();
                        self.board.pin_stays_refused(&refused.failure(), now);
                        self.report.pin_stays_refused(refused.failure(), now);
                        None
                    }
                    Look::Unknown => None,
                }
            }
            Action::SayExpired => {
                self.report.expired();
                None
            }
        }
    }

    fn keep_state(&mut self) {
        let now = clock::boottime();
        if let Err(e) = self.outlets.keep_handed_over(self.rotation.is_handed_over()) {
            self.report.state_not_kept(&e, now);
        }
        let (Some(resumable), Some(credentials)) = (self.rotation.resumable(), &self.credentials)
        else {
            return;
        };
        let state = State::new(self.boot_id.clone(), credentials.clone(), resumable);
        if self.kept.as_ref() == Some(&state) {
            return;
        }
        if let Err(e) = self.outlets.offer(&state) {
            self.report.not_offered(&e, now);
        }
        match self.state_file.save(&state) {
            Ok(()) => self.kept = Some(state),
            Err(e) => self.report.state_not_kept(&e, now),
        }
    }
}
