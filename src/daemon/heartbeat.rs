//! The thread that writes the heartbeat. SQLite waits for locks and disks; the daemon must not wait with it.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    clock::{self, Boottime},
    config,
    heartbeat::Ids,
    heartbeat_store::{HeartbeatError, HeartbeatStore},
};

/// A failed write is tried again after this, or after the interval if that is shorter.
const RETRY: Duration = Duration::from_secs(5);

/// The longest wait in one piece.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The outcome of one write: the row's id, or why there is none.
pub type Beat = Result<i64, HeartbeatError>;

/// The running thread, from the outside.
#[derive(Debug)]
pub struct HeartbeatThread {
    /// Dropped, it tells the thread to end.
    _stop: Sender<()>,
    beats: UnboundedReceiver<Beat>,
}

impl HeartbeatThread {
    /// Starts to write at once; the ids begin at `wall`.
    ///
    /// # Errors
    /// As the system gives them when it can't start a thread.
    pub fn start(config: config::Heartbeat, wall: DateTime<Utc>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let (tell, beats) = unbounded_channel();
        thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || beat_until(&stopped, &tell, &config, Ids::starting_at(wall)))?;
        Ok(Self { _stop: stop, beats })
    }

    /// The next outcome; `None` if the thread has ended, which it does not by itself.
    pub async fn next(&mut self) -> Option<Beat> {
        self.beats.recv().await
    }

    /// Tells the thread to end and waits until it has: the row that is being written gets its end. To be
    /// given up where a disk hangs; a transaction that is cut off is rolled back by whoever opens next.
    pub async fn stop(self) {
        let Self { _stop: stop, mut beats } = self;
        drop(stop);
        while beats.recv().await.is_some() {}
    }
}

fn beat_until(
    stopped: &Receiver<()>,
    tell: &UnboundedSender<Beat>,
    config: &config::Heartbeat,
    mut ids: Ids,
) {
    let mut store = None;
    loop {
        let begun = clock::boottime();
        let beat = write(&mut store, &mut ids, config);
        let pause = if beat.is_ok() { config.interval } else { config.interval.min(RETRY) };
        if tell.send(beat).is_err() {
            return;
        }
        // From its begin: the time that the write took is part of the interval, or the beat would drift.
        if told_to_stop(stopped, begun + pause) {
            return;
        }
    }
}

/// Waits until `due`, in pieces: the channel's clock stands still while the device sleeps.
fn told_to_stop(stopped: &Receiver<()>, due: Boottime) -> bool {
    loop {
        let left = due.since(clock::boottime());
        match stopped.recv_timeout(left.min(LONGEST_WAIT)) {
            Err(RecvTimeoutError::Timeout) if left <= LONGEST_WAIT => return false,
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

fn write(store: &mut Option<HeartbeatStore>, ids: &mut Ids, config: &config::Heartbeat) -> Beat {
    let mut open = match store.take() {
        Some(open) => open,
        None => HeartbeatStore::open(&config.database, config.keep_rows)?,
    };
    let id = open.beat(ids, config.keep_rows)?;
    *store = Some(open);
    Ok(id)
}
