//! The record while the daemon runs: each of its parts, on whatever thread, puts its own piece
//! there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Record;

/// Where any part of the daemon, on any thread, puts what it has to tell.
#[derive(Clone, Debug)]
pub struct Board(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    record: Mutex<Record>,
    changed: Notify,
}

impl Board {
    pub fn new(record: Record) -> Self {
        Self(Arc::new(Shared { record: Mutex::new(record), changed: Notify::new() }))
    }

    /// Sets one piece; the loop is woken if it is another than before.
    pub fn set<T: PartialEq>(&self, piece: impl FnOnce(&mut Record) -> &mut T, value: T) {
        let mut record = self.record();
        let piece = piece(&mut record);
        if *piece != value {
            *piece = value;
            self.wake();
        }
    }

    /// Changes whatever it likes.
    pub fn update(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record());
        self.wake();
    }

    /// Wakes the loop, though nothing was changed.
    pub fn wake(&self) {
        self.0.changed.notify_one();
    }

    /// Waits until somebody has changed something.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        // Each change leaves a whole record behind, whatever came after it.
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
