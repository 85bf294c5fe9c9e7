//! The thread that writes the heartbeat. SQLite waits for locks and disks; the daemon must not wait
//! with it.

use std::{
    convert::Infallible,
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    core::heartbeat::Ids,
    replica::heartbeat_store::{HeartbeatError, HeartbeatStore},
    settings,
    system::clock,
};

/// A failed write is tried again after this, or after the interval if that is shorter.
const RETRY: Duration = Duration::from_secs(5);

/// The longest wait in one piece: the channel's clock stands still while the device sleeps.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long the thread stands still at most while somebody looks at the database's locks.
const STAND_STILL: Duration = Duration::from_secs(5);

/// The outcome of one write: the row's id, or why there is none.
pub type Beat = Result<i64, HeartbeatError>;

/// The running thread, from the outside.
#[derive(Debug)]
pub struct HeartbeatThread {
    orders: Sender<HeartbeatOrder>,
    beats: UnboundedReceiver<Beat>,
}

#[derive(Debug)]
enum HeartbeatOrder {
    Stop,
    /// Write a row at once, tell when that is over, and stand still until the other end is dropped.
    BeatAndStandStill {
        over: Sender<()>,
        go_on: Receiver<Infallible>,
    },
    Pause(bool),
}

/// For the guard: who reads the database is known by process only, so the heartbeat must not read
/// just then.
#[derive(Clone, Debug)]
pub struct HeartbeatHandle(Sender<HeartbeatOrder>);

/// Dropped, it lets the heartbeat go on.
#[derive(Debug)]
pub struct StandStill(#[allow(dead_code, reason = "held, not used")] Sender<Infallible>);

impl HeartbeatHandle {
    /// A row now, or at least a try; then no more until the answer is dropped. `None` if the thread
    /// did not come to it within `wait`.
    pub fn beat_and_stand_still(&self, wait: Duration) -> Option<StandStill> {
        let ((over, is_over), (stay, go_on)) = (channel(), channel());
        self.0.send(HeartbeatOrder::BeatAndStandStill { over, go_on }).ok()?;
        is_over.recv_timeout(wait).ok()?;
        Some(StandStill(stay))
    }

    /// No more rows until told otherwise: the WAL must not grow by them.
    pub fn pause(&self, pause: bool) {
        let _ = self.0.send(HeartbeatOrder::Pause(pause));
    }
}

impl HeartbeatThread {
    /// Starts to write at once; the ids begin at `wall`.
    ///
    /// # Errors
    /// As the system gives them when it can't start a thread.
    pub fn start(config: settings::HeartbeatSettings, wall: DateTime<Utc>) -> io::Result<Self> {
        let (orders, ordered) = channel();
        let (tell, beats) = unbounded_channel();
        thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || beat_until_stopped(&ordered, &tell, &config, Ids::starting_at(wall)))?;
        Ok(Self { orders, beats })
    }

    pub fn handle(&self) -> HeartbeatHandle {
        HeartbeatHandle(self.orders.clone())
    }

    /// The next outcome; `None` if the thread has ended, which it does not by itself.
    pub async fn next(&mut self) -> Option<Beat> {
        self.beats.recv().await
    }

    /// Tells the thread to end and waits until it has: the row that is being written gets its end.
    /// To be given up where a disk hangs; a transaction that is cut off is rolled back by whoever
    /// opens next.
    pub async fn stop(&mut self) {
        let _ = self.orders.send(HeartbeatOrder::Stop);
        while self.beats.recv().await.is_some() {}
    }
}

fn beat_until_stopped(
    orders: &Receiver<HeartbeatOrder>,
    tell: &UnboundedSender<Beat>,
    config: &settings::HeartbeatSettings,
    mut ids: Ids,
) {
    let mut store = None;
    let mut paused = false;
    let mut next = clock::boottime();
    loop {
        let left = next.since(clock::boottime());
        let order = match orders.recv_timeout(left.min(LONGEST_WAIT)) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) if left > LONGEST_WAIT => continue,
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let rendezvous = match order {
            Some(HeartbeatOrder::Stop) => return,
            Some(HeartbeatOrder::Pause(pause)) => {
                paused = pause;
                continue;
            }
            Some(HeartbeatOrder::BeatAndStandStill { over, go_on }) => Some((over, go_on)),
            None => None,
        };
        let begun = clock::boottime();
        let beat = if paused && rendezvous.is_none() {
            Err(HeartbeatError::paused(&config.database))
        } else {
            write(&mut store, &mut ids, config)
        };
        let pause = if beat.is_ok() { config.interval } else { config.interval.min(RETRY) };
        // The time that the write took is part of the interval, or the beat would drift.
        next = begun + pause;
        if tell.send(beat).is_err() {
            return;
        }
        if let Some((over, go_on)) = rendezvous {
            if over.send(()).is_ok() {
                // Ends when the other end is dropped.
                let _ = go_on.recv_timeout(STAND_STILL);
            }
        }
    }
}

fn write(
    store: &mut Option<HeartbeatStore>,
    ids: &mut Ids,
    config: &settings::HeartbeatSettings,
) -> Beat {
    let mut open = match store.take() {
        Some(open) => open,
        None => HeartbeatStore::open(&config.database, config.keep_rows)?,
    };
    let id = open.beat(ids, config.keep_rows)?;
    *store = Some(open);
    Ok(id)
}
