//! What the daemon tells about itself, in one place: each part hands in its own piece, and the loop
//! writes the whole.
//!
//! The record is on tmpfs and is written at each change, which a heartbeat is as well. What may be
//! on storage, the metrics, is written aside.

use std::path::{Path, PathBuf};

use crate::{
    core::{
        boottime::Boottime,
        own_files,
        repeats::{Repeats, in_a_row},
        rotation::{Acquiring, HandingOver, Rotation},
    },
    problems::failure::Failure,
    record::{self, Record, board::Board, metrics_file::MetricsFile},
    replica::heartbeat_thread::Beat,
    settings::Config,
    system::{atomic_file, clock},
};
use chrono::TimeDelta;

/// There is no secret in it: the group that the image gives the runtime directory may read it.
const MODE: u32 = 0o640;

/// The loop's end of the board.
#[derive(Debug)]
pub struct Publisher {
    board: Board,
    file: PathBuf,
    /// And when that was.
    published: Option<(Record, Boottime)>,
    metrics: Option<MetricsFile>,
    failures: Repeats<String>,
}

impl Publisher {
    pub fn new(config: &Config, boot_id: &str, can_be_seen: bool) -> Self {
        Self {
            board: Board::new(first(config, boot_id, can_be_seen)),
            file: config.runtime_directory.join(own_files::RECORD),
            published: None,
            metrics: config.metrics_file.clone().map(MetricsFile::new),
            failures: Repeats::default(),
        }
    }

    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Waits until somebody has changed something.
    pub async fn changed(&self) {
        self.board.changed().await;
    }

    /// Writes the last word, and waits for it.
    pub async fn finish(&mut self, rotation: &Rotation) {
        loop {
            self.publish(rotation);
            let Some(metrics) = &mut self.metrics else { return };
            if !metrics.settled(clock::boottime()).await {
                return;
            }
        }
    }

    /// Writes the record if it has changed, and has the metrics written when it is time.
    pub fn publish(&mut self, rotation: &Rotation) {
        let mut record = {
            let mut record = self.board.record();
            take(&mut record, rotation);
            record.clone()
        };
        if let Some(metrics) = &mut self.metrics {
            let board = self.board.clone();
            metrics.show(&record, &clocks(), move || board.wake());
        }
        let now = clocks();
        // Written anew now and then: a record that is older is one that can't be written.
        let is_new = |(published, at): &(Record, Boottime)| {
            *published == record && now.boottime.at.since(*at) < record::WRITTEN_EVERY
        };
        if self.published.as_ref().is_some_and(is_new) {
            return;
        }
        let unstamped = record.clone();
        record.clocks = now;
        match write(&self.file, &record) {
            Ok(()) => {
                self.published = Some((unstamped, now.boottime.at));
                self.failures.over();
            }
            Err(e) => {
                if let Some(times) = self.failures.came(e.to_string(), clock::boottime()) {
                    log::warn!(
                        "{} was not written{}: {e}; `edgerotate status` shows an older state",
                        self.file.display(),
                        in_a_row(times)
                    );
                }
            }
        }
    }
}

/// What the parts hand in, where it is more than a value.
impl Board {
    pub fn fetched(&self, now: Boottime) {
        self.update(|record| {
            record.fetch.succeeded += 1;
            record.fetch.last_success = Some(now.into());
            if let Some(failure) = &mut record.fetch.failure {
                failure.over.get_or_insert(now.into());
            }
        });
    }

    pub fn fetch_failed(&self, failure: &Failure, now: Boottime) {
        self.update(|record| {
            record.fetch.failed.count(failure.class());
            failed(record, failure, now);
        });
    }

    /// The PIN was refused before this daemon's time; nothing was tried since.
    pub fn pin_stays_refused(&self, failure: &Failure, now: Boottime) {
        self.update(|record| {
            if record.fetch.failure.as_ref().is_none_or(|failure| failure.over.is_some()) {
                failed(record, failure, now);
            }
        });
    }

    pub fn clock(&self, skew: TimeDelta, now: Boottime) {
        let ahead_s = skew.num_seconds();
        self.set(|record| &mut record.clock, Some(record::Clock { ahead_s, seen: now.into() }));
    }

    pub fn written(&self, now: Boottime) {
        self.update(|record| {
            record.hand_over.written = Some(now.into());
            record.hand_over.failing = None;
        });
    }

    pub fn hand_over_failed(&self, error: &str, now: Boottime) {
        let error = error.to_owned();
        self.update(|r| record::Failing::again(&mut r.hand_over.failing, error, now));
    }

    pub fn restarted(&self, now: Boottime) {
        self.update(|record| {
            record.hand_over.failing = None;
            record.litestream.confirmed += 1;
            record.litestream.last_confirmed = Some(now.into());
        });
    }

    pub fn beat(&self, beat: &Beat, now: Boottime) {
        self.update(|record| match beat {
            Ok(id) => {
                record.heartbeat.last = Some(now.into());
                record.heartbeat.last_id = Some(*id);
                record.heartbeat.failing = None;
            }
            Err(e) => {
                record::Failing::again(&mut record.heartbeat.failing, e.to_string(), now);
            }
        });
    }

    pub fn stopped(&self, by: &str, now: Boottime) {
        let stopped = record::StoppedBy { at: now.into(), by: by.to_owned() };
        self.set(|record| &mut record.daemon.stopped, Some(stopped));
    }
}

fn failed(record: &mut Record, failure: &Failure, now: Boottime) {
    let before = record.fetch.failure.take().filter(|before| before.over.is_none());
    let (times, since) = before.map_or((0, now.into()), |f| (f.times, f.since));
    record.fetch.failure = Some(record::FetchFailure {
        cause: failure.cause,
        detail: failure.detail.clone(),
        times: times + 1,
        since,
        last: now.into(),
        over: None,
    });
}

/// What the state machine has to tell.
fn take(record: &mut Record, rotation: &Rotation) {
    record.credentials = rotation.held().map(|held| record::CredentialsSection {
        fetched: held.expires.before(held.lifetime).into(),
        expires: held.expires.into(),
    });
    record.fetch.state = rotation.acquiring();
    record.fetch.next = rotation.next_fetch().map(Into::into);
    record.hand_over.state = rotation.handing_over();
    record.hand_over.next = rotation.next_hand_over().map(Into::into);
}

fn first(config: &Config, boot_id: &str, can_be_seen: bool) -> Record {
    let clocks = clocks();
    Record {
        version: record::VERSION,
        clocks,
        daemon: record::DaemonSection {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: boot_id.to_owned(),
            started: clocks.boottime,
            stopped: None,
        },
        device: record::Device {
            thing_name: config.provider.thing_name.clone(),
            endpoint: config.provider.host.clone(),
            role_alias: config.provider.role_alias.clone(),
            delivery: config.outlets.delivery.name().to_owned(),
        },
        credentials: None,
        fetch: record::FetchSection {
            state: Acquiring::Waiting,
            next: None,
            succeeded: 0,
            last_success: None,
            failed: record::FailedFetches::default(),
            failure: None,
        },
        hand_over: record::HandOverSection {
            state: HandingOver::Done,
            next: None,
            written: None,
            failing: None,
        },
        litestream: record::LitestreamSection {
            can_be_seen,
            start: None,
            confirmed: 0,
            last_confirmed: None,
        },
        heartbeat: record::HeartbeatSection {
            database: config.heartbeat.database.clone(),
            interval_ms: u64::try_from(config.heartbeat.interval.as_millis()).unwrap_or(u64::MAX),
            last: None,
            last_id: None,
            failing: None,
        },
        guard: None,
        suspect: None,
        clock: None,
        uploads: None,
        consumers: None,
    }
}

fn clocks() -> record::Clocks {
    record::Clocks { boottime: clock::boottime().into(), wall: clock::wall() }
}

fn write(file: &Path, record: &Record) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(record)?;
    text.push(b'\n');
    atomic_file::show(file, &text, MODE)
}
