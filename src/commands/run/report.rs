//! What the daemon says: log lines, and the sentence in `systemctl status`. No decision is made
//! here.
//!
//! The lines that begin like those of the program before edgerotate ("start update credential",
//! "restart success litestream", …) are milestones: people and scripts look for them.

use std::{fmt, io, path::Path, time::Duration};

use chrono::{DateTime, Local, SecondsFormat, TimeDelta};

use crate::{
    core::{
        boottime::Boottime,
        lifetime::{KnownBy, SKEW, SKEW_OF_S3},
        repeats::{Repeats, in_a_row},
        rotation::Rotation,
        span::span,
        suspect::Suspect,
    },
    litestream::restart::{Service, Start},
    outlets::endpoint::consumers::Consumer,
    problems::failure::{Cause, Failure},
    replica::heartbeat_thread::Beat,
    settings::{self, Config, Warning},
    system::clock,
};

/// What has been said, so that it is not said every five seconds.
#[derive(Debug, Default)]
pub struct DaemonLog {
    fetch: Repeats<Cause>,
    pin: Repeats<Cause>,
    /// A failed fetch whose line waits for the time of the next one.
    fetch_failure: Option<Failure>,
    last_failure: Option<Failure>,
    restart: Repeats<String>,
    write: Repeats<String>,
    state: Repeats<String>,
    offer: Repeats<String>,
    heartbeat: Repeats<String>,
    heartbeat_failed: bool,
    last_beat: Option<i64>,
    skew_said: Option<TimeDelta>,
    suspect: Option<String>,
}

/// The first line, with what the daemon is about to do; then what is odd in the settings.
pub fn start(config: &Config, warnings: &[Warning]) {
    let provider = &config.provider;
    log::info!(
        "start app: edgerotate {} for {} at {}, role alias {}",
        env!("CARGO_PKG_VERSION"),
        provider.thing_name.as_deref().unwrap_or("a device without thing name"),
        provider.host,
        provider.role_alias,
    );
    for warning in warnings {
        log::warn!("{warning}");
    }
}

/// Said once at start: how a restart comes about and is confirmed on this device.
pub fn how_litestream_restarts(litestream: &Service) {
    match (litestream.is_restarted_here(), litestream.can_be_seen()) {
        (_, true) => {}
        (true, false) => log::warn!(
            "Litestream's start can't be seen here (no systemd, no \
             EDGEROTATE_LITESTREAM_PID_FILE): the restart \
             command's success is taken for it"
        ),
        (false, false) => log::warn!(
            "nothing is known to restart Litestream, and its start can't be seen: set \
             EDGEROTATE_RESTART_COMMAND"
        ),
    }
}

/// A fetch that was killed and does not die.
pub fn unreapable(pid: u32) {
    log::error!(
        "the fetch (process {pid}) was killed and does not end: its PKCS#11 module hangs in the \
         kernel; no other fetch \
         is started until it ends. Look at the HSM's bus (dmesg); a reboot ends it"
    );
}

/// Something keeps the guard's thread, probably the storage.
pub fn guard_is_late(waited: Duration) {
    log::error!(
        "the guard over Service's restart was not taken within {} s; the rotation goes on without \
         it. Look at the \
         storage (dmesg)",
        waited.as_secs()
    );
}

/// A program that used to ask the endpoint in time.
pub fn ran_out(consumer: &Consumer, now: Boottime) {
    log::warn!(
        "{} no longer asks for credentials since {}, and the last that it got have run out: see \
         whether it still runs",
        consumer.name,
        span(now.since(consumer.asked)),
    );
}

impl DaemonLog {
    pub fn new() -> Self {
        Self::default()
    }

    /// The PIN that was refused is still the configured one.
    pub fn pin_stays_refused(&mut self, failure: Failure, now: Boottime) {
        if self.pin.came(failure.cause, now).is_some() {
            log::error!("{failure} [{}]", failure.cause);
        }
        self.last_failure = Some(failure);
    }

    pub fn resumed(&self, left: Duration) {
        log::info!(
            "credentials of before the daemon's restart are good until {}",
            in_a_while(left)
        );
    }

    pub fn waits_after_boot(&self, wait: Duration) {
        log::info!(
            "asks for the first credentials {}, as a fleet that boots at once is spread over \
             EDGEROTATE_BOOT_SPREAD",
            in_a_while(wait)
        );
    }

    pub fn fetch_starts(&self, rotation: &Rotation, now: Boottime) {
        log::info!("start update credential");
        match rotation.held() {
            None => log::info!("init credential"),
            Some(held) if held.expires <= now => {
                log::info!("init credential: the last ones have expired")
            }
            Some(held) => log::info!(
                "now {} / UpdateAt {} / ExpiredAt {}",
                shown(clock::local()),
                in_a_while(Duration::ZERO),
                in_a_while(held.expires.since(now)),
            ),
        }
    }

    pub fn fetched(&mut self, lifetime: Duration, known_by: KnownBy, took: Duration) {
        self.last_failure = None;
        let after =
            self.fetch.over().map_or(String::new(), |times| format!(" after {times} failed"));
        let expired_at = in_a_while(lifetime.saturating_sub(took));
        log::info!("updated credential success{after}. expired at {expired_at}");
        match known_by {
            KnownBy::Date => {}
            KnownBy::WallClock => log::warn!(
                "the provider's answer has no usable Date: the expiry is reckoned with this \
                 device's clock"
            ),
            KnownBy::Assumption => log::warn!(
                "the provider's answer has no usable Date and this device's clock is not \
                 plausible: a lifetime of \
                 15 minutes is assumed"
            ),
        }
    }

    pub fn fetch_failed(&mut self, failure: Failure) {
        self.fetch_failure = Some(failure);
    }

    /// Says the failed fetch, now that it is known when the next one begins.
    pub fn next_fetch_is_planned(&mut self, rotation: &Rotation, now: Boottime) {
        let Some(failure) = self.fetch_failure.take() else { return };
        if let Some(times) = self.fetch.came(failure.cause, now) {
            let left = rotation.held().map(|held| held.expires.since(now)).unwrap_or_default();
            let serious = left.is_zero() || !failure.class().may_pass();
            let level = if serious { log::Level::Error } else { log::Level::Warn };
            let next = match rotation.next_fetch() {
                Some(at) => format!("next try in {}", span(at.since(now))),
                None => "not tried again until the PIN is changed".to_owned(),
            };
            let held = if left.is_zero() {
                "no valid credentials".to_owned()
            } else {
                format!("the credentials at hand are good for {}", span(left))
            };
            let times = in_a_row(times);
            log::log!(
                level,
                "update credential failed{times}: {failure} [{}; {next}; {held}]",
                failure.cause
            );
        }
        self.last_failure = Some(failure);
    }

    pub fn expired(&self) {
        log::error!(
            "the credentials have expired and there are no newer ones: Litestream can't upload \
             until there are"
        );
    }

    pub fn written(&mut self, path: &Path, left: Duration) {
        self.write.over();
        log::info!(
            "get credential main expired at {}, now in {}",
            in_a_while(left),
            path.display()
        );
    }

    pub fn endpoint_written(&mut self, path: &Path) {
        self.write.over();
        log::info!("where Litestream asks for credentials is in {}", path.display());
    }

    pub fn write_failed(&mut self, error: &str, now: Boottime) {
        if let Some(times) = self.write.came(error.to_owned(), now) {
            log::error!(
                "the environment file was not written{}: {error}; it is tried again",
                in_a_row(times)
            );
        }
    }

    /// Only the first attempt is a milestone; the others are told by their failure.
    pub fn restart_starts(&self, again: bool) {
        let level = if again { log::Level::Debug } else { log::Level::Info };
        log::log!(level, "start restart litestream");
    }

    pub fn restarted(&mut self, start: Option<&Start>) {
        let after =
            self.restart.over().map_or(String::new(), |times| format!(" after {times} failed"));
        let seen = match start {
            Some(Start::Process { pid, .. }) => format!(" (process {pid})"),
            Some(Start::Invocation(id)) => format!(" (invocation {id})"),
            None => " (by the command's word)".to_owned(),
        };
        log::info!("restart success litestream{after}{seen}");
    }

    pub fn restart_failed(&mut self, error: &str, now: Boottime) {
        if let Some(times) = self.restart.came(error.to_owned(), now) {
            log::error!(
                "restart of litestream failed{}: {error}; it is tried again",
                in_a_row(times)
            );
        }
    }

    pub fn state_not_kept(&mut self, error: &io::Error, now: Boottime) {
        if let Some(times) = self.state.came(error.to_string(), now) {
            log::warn!(
                "the state could not be kept{}: {error}; a restarted daemon would fetch again",
                in_a_row(times)
            );
        }
    }

    pub fn not_offered(&mut self, error: String, now: Boottime) {
        if let Some(times) = self.offer.came(error.clone(), now) {
            log::error!(
                "what other programs read could not be written{}: {error}; where \
                 EDGEROTATE_CLIENT_DIRECTORY is set, make \
                 the directory, for edgerotate's user and the group of the programs, with mode \
                 2750. It is tried again",
                in_a_row(times)
            );
        }
    }

    pub fn offered(&mut self) {
        if let Some(times) = self.offer.over() {
            log::info!("what other programs read is written, after {times} failed");
        }
    }

    pub fn beat(&mut self, beat: Beat, config: &settings::HeartbeatSettings, now: Boottime) {
        match beat {
            Ok(id) => {
                if let Some(times) = self.heartbeat.over() {
                    log::info!("sqlite3 write success: id {id}, after {times} failed");
                } else if self.last_beat.is_none() {
                    let every = config.interval.as_secs_f32();
                    log::info!(
                        "sqlite3 write success: id {id} in {}; one more every {every} s",
                        config.database.display()
                    );
                } else {
                    log::debug!("sqlite3 write success: id {id}");
                }
                self.heartbeat_failed = false;
                self.last_beat = Some(id);
            }
            Err(error) => {
                self.heartbeat_failed = true;
                let error = error.to_string();
                if let Some(times) = self.heartbeat.came(error.clone(), now) {
                    log::warn!(
                        "sqlite3 write failed{}: {error}; it is tried again",
                        in_a_row(times)
                    );
                }
            }
        }
    }

    /// Which replicas may lack rows; the guard has said it, here it is kept for the status.
    pub fn suspect(&mut self, suspect: &Suspect) {
        let summary = suspect.summary();
        if self.suspect.is_some() && summary.is_none() {
            log::info!("no replica is suspect any more");
        }
        self.suspect = summary;
    }

    /// The device's clock was compared with the provider's.
    pub fn clock(&mut self, skew: TimeDelta) {
        let off = skew.abs();
        let said = self.skew_said.map_or(TimeDelta::zero(), |said| said.abs());
        if off > SKEW && (off - said).abs() > SKEW {
            let direction = if skew > TimeDelta::zero() { "ahead of" } else { "behind" };
            let consequence =
                if off > SKEW_OF_S3 { "; S3 refuses uploads that are signed with it" } else { "" };
            log::warn!(
                "this device's clock is {} {direction} the provider's{consequence}; look at its \
                 time synchronisation",
                span(off.to_std().unwrap_or_default())
            );
            self.skew_said = Some(skew);
        } else if off <= SKEW && self.skew_said.take().is_some() {
            log::info!("this device's clock agrees with the provider's again");
        }
    }

    /// The sentence for `systemctl status`.
    pub fn status(&self, rotation: &Rotation, now: Boottime) -> Status {
        let left =
            rotation.held().map(|held| held.expires.since(now)).filter(|left| !left.is_zero());
        let credentials = match left {
            Some(left) => format!("Credentials good until {}", in_a_while(left)),
            None => "No valid credentials".to_owned(),
        };
        let next = match (rotation.next_fetch(), &self.last_failure) {
            (_, Some(failure)) => format!("last fetch failed: {failure}"),
            (Some(at), None) => {
                let next = rotation.held().map_or("first fetch", |_| "next rotation");
                format!("{next} {}", in_a_while(at.since(now)))
            }
            (None, None) => "fetching".to_owned(),
        };
        let heartbeat = match self.last_beat {
            _ if self.heartbeat_failed => "heartbeats fail".to_owned(),
            Some(_) => "heartbeats are written".to_owned(),
            None => "no heartbeat yet".to_owned(),
        };
        let suspect = self.suspect.as_ref().map_or(String::new(), |summary| {
            format!("; SUSPECT, the replica may lack rows: {summary}")
        });
        format!("{credentials}; {next}; {heartbeat}{suspect}")
    }
}

/// A sentence.
pub type Status = String;

fn shown(time: DateTime<Local>) -> impl fmt::Display {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// A moment that lies so far ahead, by this device's clock and in its time zone.
fn in_a_while(wait: Duration) -> impl fmt::Display {
    let now = clock::local();
    let then = TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait));
    shown(then.unwrap_or(now))
}
