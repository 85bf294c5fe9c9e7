//! The file for node_exporter's textfile collector. Its directory may be on flash, so it is not
//! written at each heartbeat, and never by the daemon's own thread: storage that hangs must hold up
//! neither a rotation nor the watchdog.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::oneshot, task::spawn_blocking};

use crate::{
    core::{
        boottime::Boottime,
        repeats::{Repeats, in_a_row},
        span::span,
    },
    record::{Clocks, Record, metrics},
    system::{atomic_file, file_system::is_volatile},
};

/// No secret is in it, and the collector has a user of its own.
const MODE: u32 = 0o644;

/// How often it is written at least, in memory and on storage. Prometheus asks every 15 to 60 s as
/// a rule.
const EVERY: Duration = Duration::from_secs(15);
const EVERY_ON_STORAGE: Duration = Duration::from_secs(60);

/// A write that takes longer is told.
const LONG: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    every: Duration,
    write: fn(&Path, &[u8], u32) -> io::Result<()>,
    /// When it was written last, or tried to, and what it said.
    written: Option<(Boottime, String)>,
    /// The one that is under way.
    writing: Option<Writing>,
    failures: Repeats<String>,
}

#[derive(Debug)]
struct Writing {
    ended: oneshot::Receiver<io::Result<()>>,
    begun: Boottime,
    is_told: bool,
}

impl MetricsFile {
    pub fn new(path: PathBuf) -> Self {
        let every = match is_volatile(&path) {
            Ok(true) => EVERY,
            Ok(false) | Err(_) => EVERY_ON_STORAGE,
        };
        Self {
            path,
            every,
            write: atomic_file::show,
            written: None,
            writing: None,
            failures: Repeats::default(),
        }
    }

    /// Has it written if something changed that an alarm may hang on, or if it is time. One write
    /// is under way at most; `over` is called at its end, when news that came meanwhile can be
    /// shown.
    pub fn show(&mut self, record: &Record, clocks: &Clocks, over: impl FnOnce() + Send + 'static) {
        let now = clocks.boottime.at;
        if !self.take_in_end(now) {
            return;
        }
        let text = metrics::text(record, clocks);
        if let Some((at, last)) = &self.written {
            let is_news = !metrics::steady(&text).eq(metrics::steady(last));
            if !is_news && now.since(*at) < self.every {
                return;
            }
        }
        let (end, ended) = oneshot::channel();
        let (write, path, contents) = (self.write, self.path.clone(), text.clone());
        spawn_blocking(move || {
            // Nobody listens any more where the daemon has ended.
            let _ = end.send(write(&path, contents.as_bytes(), MODE));
            over();
        });
        self.writing = Some(Writing { ended, begun: now, is_told: false });
        self.written = Some((now, text));
    }

    /// Waits for the write that is under way; whether there was one.
    pub async fn settled(&mut self, now: Boottime) -> bool {
        let Some(writing) = self.writing.take() else { return false };
        if let Ok(result) = writing.ended.await {
            self.came_of(result, now);
        }
        true
    }

    /// Takes in what came of the write, if it has ended. Whether there is none under way now.
    fn take_in_end(&mut self, now: Boottime) -> bool {
        let Some(writing) = &mut self.writing else { return true };
        match writing.ended.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => {
                let since = now.since(writing.begun);
                if since >= LONG && !writing.is_told {
                    writing.is_told = true;
                    log::warn!(
                        "EDGEROTATE_METRICS_FILE: {} has been written for {}; look at the storage \
                         that it is on (dmesg)",
                        self.path.display(),
                        span(since)
                    );
                }
                return false;
            }
            Err(oneshot::error::TryRecvError::Closed) => {}
            Ok(result) => self.came_of(result, now),
        }
        self.writing = None;
        true
    }

    fn came_of(&mut self, result: io::Result<()>, now: Boottime) {
        match result {
            Ok(()) => {
                self.failures.over();
            }
            Err(e) => {
                if let Some(times) = self.failures.came(e.to_string(), now) {
                    log::warn!(
                        "EDGEROTATE_METRICS_FILE: {} was not written{}: {e}; let edgerotate's user \
                         write to its directory",
                        self.path.display(),
                        in_a_row(times)
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::commands::status::tests::record;

    /// Somebody opens the pipe for reading and is held there, as by storage that hangs.
    fn hang(path: &Path, _: &[u8], _: u32) -> io::Result<()> {
        fs::read(path).map(drop)
    }

    #[test]
    fn storage_that_hangs_holds_nobody_up() {
        let path = std::env::temp_dir().join(format!("edgerotate-pipe-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut file = MetricsFile { write: hang, ..MetricsFile::new(path.clone()) };
            let mut record = record();
            let clocks = record.clocks;
            file.show(&record, &clocks, || ());
            let shown = file.written.clone();
            // News; it is not lost, and there is no second writer.
            record.litestream.confirmed += 1;
            record.litestream.start = None;
            file.show(&record, &clocks, || ());
            assert_eq!(file.written, shown);
            let later = Boottime::from_millis(100_000_000);
            assert!(!file.take_in_end(later) && file.writing.as_ref().unwrap().is_told);

            fs::write(&path, "").unwrap();
            assert!(file.settled(later).await);
            file.show(&record, &clocks, || ());
            assert!(file.written != shown && file.writing.is_some());
            fs::write(&path, "").unwrap();
            assert!(file.settled(later).await && !file.settled(later).await);
        });
        fs::remove_file(path).unwrap();
    }
}
