//! The file for node_exporter's textfile collector. Its directory may be on flash, so it is not written at each heartbeat.

use std::{path::PathBuf, time::Duration};

use super::repeats::{Repeats, in_a_row};
use crate::{
    atomic_file,
    clock::Boottime,
    heartbeat_store::is_volatile,
    status::{
        metrics,
        record::{Clocks, Record},
    },
};

/// No secret is in it, and the collector has a user of its own.
const MODE: u32 = 0o644;

/// How often it is written at least, in memory and on storage. Prometheus asks every 15 to 60 s as a rule.
const EVERY: Duration = Duration::from_secs(15);
const EVERY_ON_STORAGE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    every: Duration,
    /// When it was written last, or tried to, and what it said.
    written: Option<(Boottime, String)>,
    failures: Repeats<String>,
}

impl MetricsFile {
    pub fn new(path: PathBuf) -> Self {
        let every = match is_volatile(&path) {
            Ok(true) => EVERY,
            Ok(false) | Err(_) => EVERY_ON_STORAGE,
        };
        Self { path, every, written: None, failures: Repeats::default() }
    }

    /// Writes it if something changed that an alarm may hang on, or if it is time.
    pub fn show(&mut self, record: &Record, clocks: &Clocks) {
        let now = clocks.boottime.at;
        let text = metrics::text(record, clocks);
        if let Some((at, last)) = &self.written {
            let is_news = !metrics::steady(&text).eq(metrics::steady(last));
            if !is_news && now.since(*at) < self.every {
                return;
            }
        }
        match atomic_file::show(&self.path, text.as_bytes(), MODE) {
            Ok(()) => {
                self.failures.over();
            }
            Err(e) => {
                if let Some(times) = self.failures.came(e.to_string(), now) {
                    log::warn!(
                        "EDGEROTATE_METRICS_FILE: {} was not written{}: {e}; let edgerotate's user write to its directory",
                        self.path.display(),
                        in_a_row(times)
                    );
                }
            }
        }
        self.written = Some((now, text));
    }
}
