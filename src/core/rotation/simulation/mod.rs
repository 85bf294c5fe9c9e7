//! Years of a device's life in a second, and what must hold in every moment of them.
//!
//! The world is a queue of things that will happen. It steps from one to the next, so nothing
//! sleeps; its seed is printed by a failing check, and repeats the run.

use std::{collections::BTreeMap, mem, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{held::*, machine::*, policy::*};
use crate::core::{
    backoff::Random,
    boottime::Boottime,
    class::Class,
    lifetime::{KnownBy, lifetime},
};

mod promises;
mod provider;
mod weather;
mod years;

use self::{
    provider::{Answer, Provider},
    weather::Weather,
};

const LIFETIME: Duration = Duration::from_secs(900);
const POLICY: Policy = Policy {
    lead: Duration::from_secs(300),
    jitter: 0.5,
    boot_spread: Duration::ZERO,
    delivery: HandOverPolicy::EachTime,
};

/// As the daemon has it where programs ask for the credentials themselves.
const ENDPOINT: Policy = Policy {
    lead: Duration::from_secs(480),
    delivery: HandOverPolicy::Once { done: false },
    ..POLICY
};
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The slowest fetch that succeeds, and the deadline after which a hanging one is killed.
const FETCH_SLOWEST: Duration = Duration::from_secs(5);
const FETCH_DEADLINE: Duration = Duration::from_secs(60);

/// Something that will happen. Those of the daemon carry its number: they die with it.
#[derive(Debug)]
enum Happens {
    FetchEnds { daemon: u32, fetch: Fetch, answer: Answer },
    WriteEnds { daemon: u32, write: Write, good: bool },
    RestartEnds { daemon: u32, restart: Restart, good: bool },
    ProviderBecomes(Provider),
    ClockSteps,
    Suspend,
    DaemonDies,
    PinRefusedFromNow,
    PinMended,
}

#[derive(Default, Debug)]
struct Count {
    fetches: u64,
    rotations: u64,
    restarts: u64,
    restart_failures: u64,
    retried: u64,
    gaps: u64,
    pin_tries: u64,
    pins: u64,
}

struct World {
    seed: u64,
    weather: Weather,
    policy: Policy,
    random: Random,
    now: Boottime,
    queue: BTreeMap<(Boottime, u64), Happens>,
    queued: u64,
    count: Count,
    // The provider and the clocks.
    provider: Provider,
    clock_error: TimeDelta,
    sends_date: bool,
    // The device.
    daemon: u32,
    rotation: Rotation,
    saved: Option<Resumed>,
    valid_until: Boottime,
    fetching: bool,
    handing_over: bool,
    written: bool,
    /// The credentials that the environment file holds, and those that Litestream was started with.
    in_file: Option<Held>,
    in_use: Option<Held>,
    being_written: Option<Held>,
    restart_owed: bool,
    pin_good: bool,
    pin_marked: bool,
    // For the checks.
    not_before: Boottime,
    /// Until then the policy lets it wait, for a reason that lies behind it.
    excused_until: Boottime,
    /// A fetch is under way that began while the provider was not willing.
    doomed: bool,
    /// The least that was ever left of the credentials when newer ones had come, or anything else
    /// happened.
    lowest_left: Duration,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        Self::with(POLICY, seed, weather)
    }

    fn with(policy: Policy, seed: u64, weather: Weather) -> Self {
        let now = Boottime::from_millis(5_000);
        let mut world = Self {
            seed,
            weather,
            policy,
            random: Random::new(seed),
            now,
            queue: BTreeMap::new(),
            queued: 0,
            count: Count::default(),
            provider: Provider::Willing,
            clock_error: TimeDelta::zero(),
            sends_date: true,
            daemon: 0,
            rotation: Rotation::new(policy, seed, Left::default(), now),
            saved: None,
            valid_until: now,
            fetching: false,
            handing_over: false,
            written: false,
            in_file: None,
            in_use: None,
            being_written: None,
            restart_owed: false,
            pin_good: true,
            pin_marked: false,
            not_before: now,
            excused_until: now,
            doomed: false,
            lowest_left: LIFETIME,
        };
        for (rate, what) in [
            (weather.outages, Happens::ProviderBecomes(Provider::Down { retry_after: None })),
            (weather.setup_faults, Happens::ProviderBecomes(Provider::SetUpWrong)),
            (weather.token_faults, Happens::ProviderBecomes(Provider::TokenFails)),
            (weather.suspends, Happens::Suspend),
            (weather.clock_steps, Happens::ClockSteps),
            (weather.daemon_restarts, Happens::DaemonDies),
            (weather.pin_refusals, Happens::PinRefusedFromNow),
        ] {
            world.some_time(rate, what);
        }
        world
    }

    fn run(&mut self, span: Duration) -> Count {
        let end = self.now + span;
        self.tell(Event::Woke);
        while self.now < end {
            let wake = self.rotation.next_wake();
            match self.queue.first_entry() {
                Some(next) if wake.is_none_or(|wake| next.key().0 <= wake) => {
                    let ((at, _), what) = next.remove_entry();
                    // A suspend may have moved the time past what was to happen meanwhile.
                    self.now = self.now.max(at);
                    self.happen(what);
                }
                _ => {
                    let Some(wake) = wake else { break };
                    self.now = self.now.max(wake);
                    self.tell(Event::Woke);
                }
            }
            self.check_promises();
        }
        mem::take(&mut self.count)
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::FetchEnds { daemon, fetch, answer } if daemon == self.daemon => {
                (self.fetching, self.doomed) = (false, false);
                self.fetch_ended(fetch, answer);
            }
            Happens::WriteEnds { daemon, write, good } if daemon == self.daemon => {
                self.handing_over = false;
                self.written |= good;
                if good {
                    self.in_file = self.being_written;
                }
                self.tell(if good { Event::Written(write) } else { Event::WriteFailed(write) });
            }
            Happens::RestartEnds { daemon, restart, good } if daemon == self.daemon => {
                self.handing_over = false;
                self.restart_owed = !good;
                if good {
                    self.count.restarts += 1;
                    self.in_use = self.in_file;
                    self.tell(Event::Restarted(restart));
                } else {
                    self.count.restart_failures += 1;
                    self.tell(Event::RestartFailed(restart));
                }
            }
            // What the daemon's predecessor began ended with it.
            Happens::FetchEnds { .. } | Happens::WriteEnds { .. } | Happens::RestartEnds { .. } => {
            }
            Happens::ProviderBecomes(provider) => self.provider_becomes(provider),
            Happens::ClockSteps => {
                let days = self.random.share() * 20_000.0 - 10_000.0;
                self.clock_error = TimeDelta::seconds((days * 86_400.0) as i64);
                self.sends_date = self.random.share() < 0.8;
                self.some_time(self.weather.clock_steps, Happens::ClockSteps);
            }
            Happens::Suspend => {
                self.now = self.now + self.up_to(Duration::from_secs(36_000));
                self.excuse(Duration::ZERO);
                self.tell(Event::Woke);
                self.some_time(self.weather.suspends, Happens::Suspend);
            }
            Happens::DaemonDies => {
                self.daemon += 1;
                (self.fetching, self.handing_over, self.restart_owed) = (false, false, false);
                self.written = false;
                self.doomed = false;
                self.not_before = self.now;
                // It comes back spread out where unexpired credentials leave the time for it.
                self.excuse(self.left() / 2);
                if let HandOverPolicy::Once { done } = &mut self.policy.delivery {
                    *done = self.rotation.is_handed_over();
                }
                let left = Left { resumed: self.saved, pin_refused: self.pin_marked, turn: None };
                self.rotation = Rotation::new(self.policy, self.random.next_u64(), left, self.now);
                self.tell(Event::Woke);
                self.some_time(self.weather.daemon_restarts, Happens::DaemonDies);
            }
            Happens::PinRefusedFromNow => {
                self.pin_good = false;
                self.count.pins += 1;
                let mended = self.up_to(Duration::from_secs(86_400));
                self.at(self.now + mended, Happens::PinMended);
                self.some_time(self.weather.pin_refusals, Happens::PinRefusedFromNow);
            }
            Happens::PinMended => {
                self.pin_good = true;
                self.excuse(PIN_LOOK);
            }
        }
    }

    fn fetch_ended(&mut self, fetch: Fetch, answer: Answer) {
        let begun = fetch.begun();
        match answer {
            Answer::Credentials { expiration, date } => {
                let wall = self.true_time() + self.clock_error;
                let built = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
                let Some(lifetime) = lifetime(expiration, date, wall, built) else {
                    self.failed(fetch, Class::Passing, None);
                    return;
                };
                let truly = begun + LIFETIME;
                self.check(
                    begun + lifetime.duration <= truly || lifetime.known_by != KnownBy::Date,
                    "credentials are believed to live longer than they do",
                );
                self.count.rotations += 1;
                self.valid_until = truly;
                self.written = false;
                self.not_before = self.now + PASSING.floor;
                // The device may have slept through their life; and a clock that is wrong by some
                // hours fools a device whose provider sends no Date. Both end with the next fetch.
                match lifetime.known_by {
                    KnownBy::WallClock => self.excuse((begun + lifetime.duration).since(self.now)),
                    _ => self.excuse(PASSING.floor),
                }
                self.tell(Event::Fetched { fetch, lifetime: lifetime.duration });
            }
            Answer::Failed { class, retry_after } => self.failed(fetch, class, retry_after),
        }
    }

    fn failed(&mut self, fetch: Fetch, class: Class, retry_after: Option<Duration>) {
        let wait = match class {
            Class::Passing => {
                let asked = retry_after.map(|asked| asked.min(RETRY_AFTER_MAX));
                self.obeyed(asked).max(PASSING.floor)
            }
            Class::Device => PASSING.floor,
            Class::Setup => SETUP.floor,
            Class::PinRefused => {
                self.pin_marked = true;
                Duration::ZERO
            }
        };
        self.not_before = self.now + wait;
        self.tell(Event::FetchFailed { fetch, class, retry_after });
        let longest = match class {
            Class::Passing if self.left().is_zero() => PASSING.cap,
            Class::Device if self.left().is_zero() => SETUP.cap,
            Class::Passing | Class::Device => (self.left() / 2).max(PASSING.floor),
            Class::Setup => SETUP.cap,
            Class::PinRefused => Duration::ZERO,
        };
        self.excuse(longest.max(self.obeyed(retry_after.map(|asked| asked.mul_f64(1.1)))));
    }

    /// How far a `Retry-After` is obeyed: not so far that good credentials would expire for it.
    fn obeyed(&self, retry_after: Option<Duration>) -> Duration {
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX.mul_f64(1.1));
        if self.left().is_zero() { asked } else { asked.min(self.left() * 3 / 4) }
    }

    /// Tells the machine, and sets out to do what it wants.
    fn tell(&mut self, event: Event) {
        let actions = self.rotation.handle(event, self.now);
        for action in actions {
            self.act(action);
        }
        self.saved = self.rotation.resumable();
        self.lowest_left = match self.rotation.held() {
            Some(_) => self.lowest_left.min(self.left()),
            None => self.lowest_left,
        };
        let late = self.rotation.next_wake().is_some_and(|at| at <= self.now);
        self.check(!late, "it wants to be woken in the past");
    }

    fn act(&mut self, action: Action) {
        let daemon = self.daemon;
        match action {
            Action::Fetch(fetch) => {
                self.check(!self.fetching, "two fetches at once");
                self.check(self.now >= self.not_before, "a fetch that the policy forbids");
                self.fetching = true;
                self.count.fetches += 1;
                let (took, answer) = self.ask();
                self.doomed = matches!(answer, Answer::Failed { .. });
                self.at(self.now + took, Happens::FetchEnds { daemon, fetch, answer });
            }
            Action::Write(write) => {
                self.check(!self.handing_over, "two hand-overs at once");
                self.handing_over = true;
                self.being_written = self.rotation.held();
                let good = self.weather.restart_fails == 0.0 || self.random.share() < 0.98;
                self.at(
                    self.now + Duration::from_millis(2),
                    Happens::WriteEnds { daemon, write, good },
                );
            }
            Action::Restart(restart) => {
                self.check(!self.handing_over, "two hand-overs at once");
                self.check(self.written || restart.failures() > 0, "a restart without a write");
                self.handing_over = true;
                self.written = false;
                self.count.retried += u64::from(restart.failures() > 0);
                let took = Duration::from_secs(1) + self.up_to(Duration::from_secs(34));
                let good = self.random.share() >= self.weather.restart_fails;
                self.at(self.now + took, Happens::RestartEnds { daemon, restart, good });
            }
            Action::LookAtPin => {
                if self.pin_good {
                    self.pin_marked = false;
                    self.not_before = self.now;
                    self.excuse(Duration::ZERO);
                    self.tell(Event::PinChanged);
                }
            }
            Action::SayExpired => {
                self.check(
                    self.now >= self.rotation.held().unwrap().expires,
                    "expiry said too early",
                );
                self.count.gaps += 1;
            }
        }
    }

    fn excuse(&mut self, wait: Duration) {
        self.excused_until = self.excused_until.max(self.now + wait);
    }

    /// What is left of the credentials, as the machine believes.
    fn left(&self) -> Duration {
        self.rotation.held().map_or(Duration::ZERO, |held| held.expires.since(self.now))
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.random.share())
    }

    fn at(&mut self, at: Boottime, what: Happens) {
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    fn some_time(&mut self, per_hour: f64, what: Happens) {
        self.some_time_after(Duration::ZERO, per_hour, what);
    }

    /// A Poisson process: the next one comes after an exponentially distributed wait.
    fn some_time_after(&mut self, after: Duration, per_hour: f64, what: Happens) {
        if per_hour > 0.0 {
            let hours = -(1.0 - self.random.share()).ln() / per_hour;
            self.at(self.now + after + Duration::from_secs_f64(hours * 3600.0), what);
        }
    }
}
