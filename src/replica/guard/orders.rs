//! What the guard's thread is told, and what it tells.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    core::suspect::Suspect,
    replica::mend::{MendOutcome, Wanted},
};

/// What the thread is told.
#[derive(Debug)]
pub(super) enum GuardOrder {
    Take {
        /// Not the first try of this restart.
        again: bool,
        taken: oneshot::Sender<()>,
    },
    /// The restart is over; `restarted`: Litestream was seen to start.
    Over { restarted: bool },
    /// Litestream is about to start: which replicas want a new snapshot first?
    Asked { wanted: oneshot::Sender<Wanted> },
    /// What came of it.
    Mended(MendOutcome),
    /// The replica of this database may lack rows, or all.
    Suspect { database: Option<PathBuf>, why: String, kept: oneshot::Sender<bool> },
    /// Something changed: it is worth a look.
    Changed,
    /// The daemon ends: is what was seen last in the record?
    End { recorded: oneshot::Sender<()> },
}

/// What the thread tells.
#[derive(Debug)]
pub enum News {
    /// What is suspect, each time that changes; `None`: that can't be told.
    Suspect(Option<Suspect>),
    /// Litestream is to be restarted, as something is to be mended and its start will mend it.
    RestartWanted,
}

/// The orders, as the guard's thread takes them. Whatever it waits for, it waits here, so that it
/// hears of the daemon's end.
#[derive(Debug)]
pub(super) struct Inbox {
    orders: Receiver<GuardOrder>,
    /// What came while it waited for something else.
    kept: VecDeque<GuardOrder>,
}

impl Inbox {
    pub fn new(orders: Receiver<GuardOrder>) -> Self {
        Self { orders, kept: VecDeque::new() }
    }

    /// The next order, if one comes within `wait`.
    ///
    /// # Errors
    /// None came, or the daemon has gone.
    pub fn next(&mut self, wait: Duration) -> Result<GuardOrder, RecvTimeoutError> {
        match self.kept.pop_front() {
            Some(order) => Ok(order),
            None => self.orders.recv_timeout(wait),
        }
    }

    /// Waits for `wait`, or until an order comes, which is kept for later. Whether the daemon is
    /// still there.
    pub fn pause(&mut self, wait: Duration) -> bool {
        match self.orders.recv_timeout(wait) {
            Ok(order) => {
                self.kept.push_back(order);
                true
            }
            Err(e) => e == RecvTimeoutError::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_comes_during_a_pause_is_kept_and_comes_first() {
        let (order, orders) = channel();
        let mut inbox = Inbox::new(orders);
        assert!(inbox.pause(Duration::ZERO));
        order.send(GuardOrder::Over { restarted: true }).unwrap();
        order.send(GuardOrder::Changed).unwrap();
        assert!(inbox.pause(Duration::from_secs(60)), "an order ends it");
        let next = inbox.next(Duration::ZERO);
        assert!(matches!(next, Ok(GuardOrder::Over { restarted: true })));
        assert!(matches!(inbox.next(Duration::ZERO), Ok(GuardOrder::Changed)));
        drop(order);
        assert!(!inbox.pause(Duration::from_secs(60)), "the daemon has gone");
    }
}
