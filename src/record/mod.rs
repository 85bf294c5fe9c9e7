//! The record: what the daemon tells about itself, as it leaves it in the runtime directory.
//!
//! It holds no secret. Moments are on CLOCK_BOOTTIME; `clocks` says what the wall clock showed at
//! one of them. So a reader of the same boot can say when by its own clock, whatever was set since,
//! and one of a later boot can still say it by the clock of then.
//!
//! May import: core, problems, settings, system.

pub mod board;
pub mod metrics;
pub(crate) mod metrics_file;

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    core::{
        boottime::Boottime,
        class::Class,
        rotation::{Acquiring, HandingOver},
        suspect::Suspect,
    },
    problems::failure::Cause,
};

/// The form of the record; a reader says so when it finds another one.
pub const VERSION: u32 = 1;

/// A daemon that runs writes it at least so often, whether or not anything has changed.
pub const WRITTEN_EVERY: Duration = Duration::from_secs(30);

/// Everything the daemon tells. A section that is `None` is not known, or not of this device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub clocks: Clocks,
    pub daemon: DaemonSection,
    pub device: Device,
    pub credentials: Option<CredentialsSection>,
    pub fetch: FetchSection,
    pub hand_over: HandOverSection,
    pub litestream: LitestreamSection,
    pub heartbeat: HeartbeatSection,
    /// One for each guarded database.
    pub guard: Option<Vec<Guarded>>,
    /// `None`: the file can't be read.
    pub suspect: Option<Suspect>,
    pub clock: Option<Clock>,
    pub uploads: Option<UploadsSection>,
    pub consumers: Option<Vec<Consumer>>,
}

impl Record {
    /// When the daemon asks first, where it has asked for nothing yet: as long as that lies ahead,
    /// it waits for its turn in the fleet (`EDGEROTATE_BOOT_SPREAD`).
    pub fn first_turn(&self) -> Option<Moment> {
        let has_asked = self.credentials.is_some() || self.fetch.failure.is_some();
        self.fetch.next.filter(|_| !has_asked)
    }
}

/// Both clocks, read together when the record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    pub boottime: Moment,
    pub wall: DateTime<Utc>,
}

/// A point in time. An object of its own in JSON, so that it can be told from a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    #[serde(rename = "boottime_ms")]
    pub at: Boottime,
}

impl From<Boottime> for Moment {
    fn from(at: Boottime) -> Self {
        Self { at }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonSection {
    pub pid: u32,
    pub version: String,
    pub boot_id: String,
    pub started: Moment,
    /// Nothing where it runs, or ended without a word.
    pub stopped: Option<StoppedBy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedBy {
    pub at: Moment,
    /// The signal's name.
    pub by: String,
}

/// Who asks whom, and how the answer is handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub thing_name: Option<String>,
    pub endpoint: String,
    pub role_alias: String,
    pub delivery: String,
}

/// The credentials that are held, expired or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsSection {
    /// When they were asked for; maybe by an earlier daemon.
    pub fetched: Moment,
    pub expires: Moment,
}

/// Getting credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchSection {
    pub state: Acquiring,
    /// When the next one begins.
    pub next: Option<Moment>,
    /// How many succeeded since the daemon's start, and when the last one did.
    pub succeeded: u64,
    pub last_success: Option<Moment>,
    /// How many failed since the daemon's start.
    pub failed: FailedFetches,
    /// The last failure, also when it is over.
    pub failure: Option<FetchFailure>,
}

/// Failed fetches, by how they are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedFetches {
    /// Those of a device that does not answer among them.
    pub passing: u64,
    pub setup: u64,
    pub pin_refused: u64,
}

impl FailedFetches {
    pub fn count(&mut self, class: Class) {
        *match class {
            Class::Passing | Class::Device => &mut self.passing,
            Class::Setup => &mut self.setup,
            Class::PinRefused => &mut self.pin_refused,
        } += 1;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchFailure {
    /// The last one's. Those before it in a row may have had others.
    pub cause: Cause,
    pub detail: String,
    /// How many in a row, and from when to when.
    pub times: u64,
    pub since: Moment,
    pub last: Moment,
    /// When a fetch succeeded after it.
    pub over: Option<Moment>,
}

/// Handing the newest credentials to Litestream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOverSection {
    pub state: HandingOver,
    /// When the next step begins.
    pub next: Option<Moment>,
    /// When the environment file was last written.
    pub written: Option<Moment>,
    /// What a person reads of a step that fails.
    pub failing: Option<Failing>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LitestreamSection {
    /// Whether its start can be seen here at all.
    pub can_be_seen: bool,
    /// What it runs as: `process 4711`, or `invocation …` of its unit. Nothing where it was not
    /// seen to run.
    pub start: Option<String>,
    /// How often it was seen to start after a hand-over, and when last.
    pub confirmed: u64,
    pub last_confirmed: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatSection {
    pub database: PathBuf,
    pub interval_ms: u64,
    pub last: Option<Moment>,
    pub last_id: Option<i64>,
    pub failing: Option<Failing>,
}

/// A fault that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// What is wrong and what to do, in one line; as it was the last time.
    pub what: String,
    /// How many in a row, and from when to when.
    pub times: u64,
    pub since: Moment,
    pub last: Moment,
}

impl Failing {
    /// Counts one more into `failing`.
    pub fn again(failing: &mut Option<Self>, what: String, now: Boottime) {
        let now = Moment::from(now);
        let (times, since) = failing.as_ref().map_or((0, now), |f| (f.times, f.since));
        *failing = Some(Self { what, times: times + 1, since, last: now });
    }
}

/// Who keeps the WAL of a database while Litestream restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    pub database: PathBuf,
    pub state: GuardState,
    /// Why it could not be had, with what to do.
    pub why: Option<String>,
    /// Since when Litestream runs and reads nothing of what is written, if that is for too long.
    #[serde(default)]
    pub unread_since: Option<Moment>,
    /// Its WAL is beyond EDGEROTATE_GUARD_MAX_WAL, and Litestream keeps it.
    #[serde(default)]
    pub is_large: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardState {
    /// Litestream holds its own.
    NotNeeded,
    Held,
    CouldNotBeHad,
    /// It was let go at a limit.
    GivenUp,
}

/// The device's clock against the provider's, at the last answer that had a `Date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Negative: this device's clock is behind.
    pub ahead_s: i64,
    pub seen: Moment,
}

/// Litestream's uploads, where they can be watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadsSection {
    /// When the replica was last seen to move.
    pub last_moved: Option<Moment>,
    /// Since when something has been waiting for the replica.
    pub waiting_since: Option<Moment>,
    /// It has waited longer than EDGEROTATE_VERIFY_MAX_LAG.
    pub behind: bool,
    /// Why they can't be watched.
    pub failing: Option<Failing>,
}

/// A program that takes credentials from the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    pub program: String,
    pub last_request: Moment,
    /// What it got: `credentials`, or why not.
    pub served: String,
    /// When what it got expires.
    pub expires: Option<Moment>,
    /// It asked for newer ones in time before, so it is missed when it does not.
    pub stays: bool,
}
