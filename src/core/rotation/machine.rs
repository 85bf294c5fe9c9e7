//! The state machine: see the folder's documentation.

use std::{mem, time::Duration};

use super::{
    held::{Held, Left, Resumed},
    policy::{HAND_OVER, HandOverPolicy, JITTER, PASSING, Policy, SETUP, SOON_TRIES, WANTED_PAUSE},
};
use crate::core::{backoff::Random, boottime::Boottime, class::Class};

/// The longest `Retry-After` that is obeyed: beyond it a wrong header would cost more than it
/// saves.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// How often a refused PIN is looked at for a change. It costs one stat.
pub(super) const PIN_LOOK: Duration = Duration::from_secs(30);

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Time has passed.
    Woke,
    /// Credentials came; they live for `lifetime` from the moment the fetch began.
    Fetched {
        fetch: Fetch,
        lifetime: Duration,
    },
    FetchFailed {
        fetch: Fetch,
        class: Class,
        retry_after: Option<Duration>,
    },
    /// The PIN that was refused is no longer the one that is configured.
    PinChanged,
    Written(Write),
    WriteFailed(Write),
    /// Litestream was seen to start after the write.
    Restarted(Restart),
    RestartFailed(Restart),
    /// Litestream is to be restarted with the credentials that it has, for the sake of what its
    /// start does.
    RestartWanted,
    /// A program asked for credentials and there are none: a try that waits out an outage may come
    /// sooner.
    CredentialsWanted,
}

/// What is to be done. Fetch, write and restart end in an event that hands the ticket back.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the provider, once.
    Fetch(Fetch),
    /// Put in the environment file what Litestream needs: the newest credentials, or where it asks
    /// for them.
    Write(Write),
    /// Restart Litestream and see it start.
    Restart(Restart),
    /// See whether the refused PIN was changed; if so, [`Event::PinChanged`].
    LookAtPin,
    /// Say that the credentials have expired and no newer ones are at hand.
    SayExpired,
}

/// A fetch that is under way.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetch {
    begun: Boottime,
    failed: Failed,
}

impl Fetch {
    /// When it was begun; the credentials' life is reckoned from here.
    pub fn begun(&self) -> Boottime {
        self.begun
    }
}

/// A write that is under way.
#[derive(Debug, PartialEq, Eq)]
pub struct Write {
    failures: u32,
}

/// A restart that is under way.
#[derive(Debug, PartialEq, Eq)]
pub struct Restart {
    failures: u32,
}

impl Restart {
    /// How often this restart has failed before, without a newer write in between.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// How often in a row fetches failed for the same class of reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    class: Option<Class>,
    pub(super) times: u32,
}

impl Failed {
    const NEVER: Self = Self { class: None, times: 0 };

    fn again(self, class: Class) -> Self {
        let times = if self.class == Some(class) { self.times.saturating_add(1) } else { 1 };
        Self { class: Some(class), times }
    }
}

#[derive(Debug)]
pub(super) enum Acquire {
    Due {
        at: Boottime,
        /// However much somebody wants credentials, it does not begin before.
        not_before: Boottime,
        failed: Failed,
    },
    UnderWay,
    /// The PIN was refused; another try could lock the token.
    PinRefused {
        look: Boottime,
    },
}

#[derive(Debug)]
pub(super) enum HandOver {
    /// Litestream runs with the newest credentials (or there are none), or knows where to ask for
    /// them.
    Done,
    WriteDue {
        at: Boottime,
        write: Write,
    },
    RestartDue {
        at: Boottime,
        restart: Restart,
    },
    /// A write or restart is under way; `newer`: the credentials changed since it began.
    UnderWay {
        newer: bool,
    },
}

impl Acquire {
    /// A fetch that nobody can bring nearer.
    fn due(at: Boottime, failed: Failed) -> Self {
        Self::Due { at, not_before: at, failed }
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Rotation {
    policy: Policy,
    random: Random,
    held: Option<Held>,
    expiry_said: bool,
    pub(super) acquire: Acquire,
    pub(super) hand_over: HandOver,
    turn: Option<Boottime>,
}

impl Rotation {
    /// Starts the machine; the first actions come from a [`Event::Woke`] at `now`. `seed`: for all
    /// that is random.
    pub fn new(policy: Policy, seed: u64, left: Left, now: Boottime) -> Self {
        let mut random = Random::new(seed);
        let resumed = left.resumed.filter(|r| r.held.expires > now);
        let held = resumed.map(|r| r.held);
        let turn = match held {
            Some(_) => left.turn,
            None => policy.turn(left.turn, random.share(), now),
        };
        let acquire = match held {
            _ if left.pin_refused => Acquire::PinRefused { look: now + PIN_LOOK },
            None => Acquire::due(turn.unwrap_or(now).max(now), Failed::NEVER),
            Some(held) => {
                // Unexpired credentials are at hand, so there is time to come back spread out: a
                // new image restarts the daemon on the whole fleet at once.
                let spread = held.lifetime.mul_f64(JITTER).min(held.expires.since(now) / 2);
                let at = policy.rotation_due(held).max(now + spread.mul_f64(random.share()));
                Acquire::due(at, Failed::NEVER)
            }
        };
        let owed = match policy.delivery {
            HandOverPolicy::EachTime => resumed.is_some_and(|resumed| !resumed.handed_over),
            HandOverPolicy::Once { done } => !done,
        };
        let hand_over = if owed { write_at(now) } else { HandOver::Done };
        Self { policy, random, held, expiry_said: false, acquire, hand_over, turn }
    }

    /// Takes an event at the time `now` and says what to do.
    pub fn handle(&mut self, event: Event, now: Boottime) -> Vec<Action> {
        match event {
            Event::Woke => {}
            Event::Fetched { fetch, lifetime } => self.fetched(fetch, lifetime, now),
            Event::FetchFailed { fetch, class, retry_after } => {
                self.fetch_failed(fetch, class, retry_after, now);
            }
            Event::PinChanged => {
                if matches!(self.acquire, Acquire::PinRefused { .. }) {
                    self.acquire = Acquire::due(now, Failed::NEVER);
                }
            }
            Event::Written(_) => {
                self.under_way_ended(
                    now,
                    HandOver::RestartDue { at: now, restart: Restart { failures: 0 } },
                );
            }
            Event::WriteFailed(Write { failures }) => {
                let failures = failures.saturating_add(1);
                let at = now + HAND_OVER.delay(failures, 1.0);
                self.under_way_ended(now, HandOver::WriteDue { at, write: Write { failures } });
            }
            Event::Restarted(_) => self.under_way_ended(now, HandOver::Done),
            Event::RestartFailed(Restart { failures }) => {
                let failures = failures.saturating_add(1);
                let at = now + HAND_OVER.delay(failures, 1.0);
                self.under_way_ended(
                    now,
                    HandOver::RestartDue { at, restart: Restart { failures } },
                );
            }
            Event::RestartWanted => {
                // With credentials that have expired its start would do nothing; and one that is
                // due does as well.
                let is_good = self.held.is_some_and(|held| held.expires > now);
                if is_good && matches!(self.hand_over, HandOver::Done) {
                    self.hand_over = write_at(now);
                }
            }
            Event::CredentialsWanted => {
                if let Acquire::Due { at, not_before, .. } = &mut self.acquire {
                    *at = *not_before;
                }
            }
        }
        self.due(now)
    }

    /// When this machine wants an [`Event::Woke`], whatever else happens.
    pub fn next_wake(&self) -> Option<Boottime> {
        let acquire = match self.acquire {
            Acquire::Due { at, .. } => Some(at),
            Acquire::UnderWay => None,
            Acquire::PinRefused { look } => Some(look),
        };
        let hand_over = match self.hand_over {
            HandOver::WriteDue { at, .. } | HandOver::RestartDue { at, .. } => Some(at),
            HandOver::Done | HandOver::UnderWay { .. } => None,
        };
        let expiry = self.held.filter(|_| !self.expiry_said).map(|held| held.expires);
        [acquire, hand_over, expiry].into_iter().flatten().min()
    }

    /// What a daemon that comes after this one should be told, so that it need not fetch.
    pub fn resumable(&self) -> Option<Resumed> {
        let handed_over = self.is_handed_over();
        self.held.map(|held| Resumed { held, handed_over })
    }

    /// Whether Litestream was seen to start with the newest that was written for it.
    pub fn is_handed_over(&self) -> bool {
        matches!(self.hand_over, HandOver::Done)
    }

    /// The credentials that are held, expired or not.
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// When the next fetch begins, unless one is under way or none may be made.
    pub fn next_fetch(&self) -> Option<Boottime> {
        match self.acquire {
            Acquire::Due { at, .. } => Some(at),
            _ => None,
        }
    }

    /// The moment before which this boot's first credentials are not asked for, to be kept for the
    /// daemons that follow: one that starts again must not wait anew.
    pub fn turn(&self) -> Option<Boottime> {
        self.turn
    }

    fn fetched(&mut self, fetch: Fetch, lifetime: Duration, now: Boottime) {
        let held = Held { expires: fetch.begun + lifetime, lifetime };
        self.held = Some(held);
        self.expiry_said = false;
        // The floor is for credentials that came at the end of their life: the device slept
        // meanwhile.
        let at = self.policy.rotation_due(held).max(now + PASSING.floor);
        self.acquire = Acquire::due(at, Failed::NEVER);
        match (self.policy.delivery, &mut self.hand_over) {
            (HandOverPolicy::Once { .. }, _) => {}
            (HandOverPolicy::EachTime, HandOver::UnderWay { newer }) => *newer = true,
            (HandOverPolicy::EachTime, idle) => *idle = write_at(now),
        }
    }

    fn fetch_failed(
        &mut self,
        fetch: Fetch,
        class: Class,
        retry_after: Option<Duration>,
        now: Boottime,
    ) {
        let failed = fetch.failed.again(class);
        let left = self.held.map_or(Duration::ZERO, |held| held.expires.since(now));
        let share = self.random.share();
        let wait = match class {
            Class::PinRefused => {
                self.acquire = Acquire::PinRefused { look: now + PIN_LOOK };
                return;
            }
            Class::Setup => SETUP.delay(failed.times, share),
            Class::Passing | Class::Device => {
                let wait = match failed.times.checked_sub(SOON_TRIES) {
                    Some(slow @ 1..) if class == Class::Device => SETUP.delay(slow, share),
                    _ => PASSING.delay(failed.times, share),
                };
                // Halving what remains gives one more try, and another, up to the last second.
                if left.is_zero() { wait } else { wait.min(left / 2).max(PASSING.floor) }
            }
        };
        // A tenth more at most, so that those who were sent away together don't return together.
        let asked =
            retry_after.unwrap_or_default().min(RETRY_AFTER_MAX).mul_f64(1.0 + share / 10.0);
        // While good credentials are left they are not let expire for it: there is a try before.
        let asked = if left.is_zero() { asked } else { asked.min(left * 3 / 4) };
        let at = now + wait.max(asked);
        // What a person must mend does not come right because it is wanted.
        let not_before = match class {
            Class::Passing => at.min(now + asked.max(WANTED_PAUSE)),
            Class::Device | Class::Setup | Class::PinRefused => at,
        };
        self.acquire = Acquire::Due { at, not_before, failed };
    }

    /// A write or restart ended: `next` follows, unless newer credentials have come meanwhile.
    fn under_way_ended(&mut self, now: Boottime, next: HandOver) {
        self.hand_over = match self.hand_over {
            HandOver::UnderWay { newer: true } => write_at(now),
            _ => next,
        };
    }

    fn due(&mut self, now: Boottime) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.expiry_said && self.held.is_some_and(|held| held.expires <= now) {
            self.expiry_said = true;
            actions.push(Action::SayExpired);
        }
        match self.acquire {
            Acquire::Due { at, failed, .. } if at <= now => {
                self.acquire = Acquire::UnderWay;
                actions.push(Action::Fetch(Fetch { begun: now, failed }));
            }
            Acquire::PinRefused { look } if look <= now => {
                self.acquire = Acquire::PinRefused { look: now + PIN_LOOK };
                actions.push(Action::LookAtPin);
            }
            _ => {}
        }
        match mem::replace(&mut self.hand_over, HandOver::UnderWay { newer: false }) {
            HandOver::WriteDue { at, write } if at <= now => actions.push(Action::Write(write)),
            HandOver::RestartDue { at, restart } if at <= now => {
                actions.push(Action::Restart(restart))
            }
            not_due => self.hand_over = not_due,
        }
        actions
    }
}

fn write_at(at: Boottime) -> HandOver {
    HandOver::WriteDue { at, write: Write { failures: 0 } }
}
