//! The thread that guards the databases while Litestream restarts, and knows when one was not
//! guarded.
//!
//! For each database it is one of three: Litestream holds its own read transaction, and this thread
//! watches that process; or it does not, and the guard is held; or the guard can't be had. The
//! daemon tells when a restart is about to begin and how it ended; what Litestream does by itself
//! is seen here. SQLite may wait for locks and disks, so it is a thread of its own, and the daemon
//! waits for the guard no longer than [`GuardThread::taken_within`].

pub mod transaction;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, unbounded_channel},
        oneshot,
    },
    time::timeout,
};

use crate::{
    litestream::restart::Service,
    record::board::Board,
    replica::{
        heartbeat_thread::HeartbeatHandle,
        mend::{MendOutcome, Wanted},
    },
    settings::Config,
};

mod changes;
mod database;
mod looking;
mod marks;
mod mending;
mod orders;
mod record;
mod wal_file;
mod watcher;

use self::{
    orders::{GuardOrder, Inbox},
    watcher::Watcher,
};

pub use self::orders::News;

/// How long the daemon waits for the guard of the heartbeat's database; then the rotation goes on
/// without.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);

/// How much longer for each further database: they are guarded one after the other.
const FOR_EACH_FURTHER: Duration = Duration::from_secs(2);

/// The running thread, from the outside.
#[derive(Debug)]
pub struct GuardThread {
    /// How long the daemon waits for all guards.
    pub taken_within: Duration,
    /// Dropped, it tells the thread to end.
    orders: Sender<GuardOrder>,
    news: UnboundedReceiver<News>,
}

/// For those who start Litestream, or know of it.
#[derive(Clone, Debug)]
pub struct GuardHandle(Sender<GuardOrder>);

impl GuardHandle {
    /// The databases whose replicas want a new snapshot.
    pub async fn wanted(&self) -> Wanted {
        let (wanted, is_wanted) = oneshot::channel();
        let _ = self.0.send(GuardOrder::Asked { wanted });
        is_wanted.await.unwrap_or_default()
    }

    /// The replica of this database may lack rows, or all. Whether that is on the storage by now.
    pub fn suspect(
        &self,
        database: Option<&Path>,
        why: &str,
    ) -> impl Future<Output = bool> + use<> {
        let (kept, is_kept) = oneshot::channel();
        let database = database.map(Path::to_owned);
        let _ = self.0.send(GuardOrder::Suspect { database, why: why.to_owned(), kept });
        async { is_kept.await.unwrap_or(false) }
    }

    pub fn ended(&self, outcome: MendOutcome) {
        let _ = self.0.send(GuardOrder::Mended(outcome));
    }
}

impl GuardThread {
    /// Starts to guard at once.
    ///
    /// # Errors
    /// As the system gives them when it can't start a thread.
    pub fn start(
        config: &Config,
        boot_id: &str,
        litestream: Arc<Service>,
        heartbeat: HeartbeatHandle,
        board: Board,
    ) -> io::Result<Self> {
        let (orders, ordered) = channel();
        let (tell, news) = unbounded_channel();
        let own = orders.clone();
        let mut watcher = Watcher::new(
            config,
            boot_id,
            litestream,
            heartbeat,
            tell,
            board,
            (own, Inbox::new(ordered)),
        );
        thread::Builder::new()
            .name("guard".to_owned())
            .spawn(move || watcher.run_until_stopped())?;
        let further = u32::try_from(config.guard.databases.len()).unwrap_or(u32::MAX);
        let taken_within = TAKEN_WITHIN.saturating_add(FOR_EACH_FURTHER.saturating_mul(further));
        Ok(Self { taken_within, orders, news })
    }

    /// Takes the guard on each database; `false` if that did not come to an end in time. `again`:
    /// for a restart that failed before, after which the Litestream that it started may be there
    /// all the same.
    pub fn take(&self, again: bool) -> impl Future<Output = bool> + use<> {
        let (taken, is_taken) = oneshot::channel();
        let _ = self.orders.send(GuardOrder::Take { again, taken });
        let taken_within = self.taken_within;
        async move { matches!(timeout(taken_within, is_taken).await, Ok(Ok(()))) }
    }

    /// The restart that the guard was taken for is over.
    pub fn restart_is_over(&self, restarted: bool) {
        let _ = self.orders.send(GuardOrder::Over { restarted });
    }

    /// Waits until what was seen last is in the record, for the next daemon: else it would take a
    /// database that Litestream has kept for one that nobody did.
    pub fn end(&self) -> impl Future<Output = ()> + use<> {
        let (recorded, is_recorded) = oneshot::channel();
        let _ = self.orders.send(GuardOrder::End { recorded });
        async {
            let _ = is_recorded.await;
        }
    }

    /// For those who start Litestream, or know of it.
    pub fn asked(&self) -> GuardHandle {
        GuardHandle(self.orders.clone())
    }

    /// What is new; `None` if the thread has ended, which it does not by itself.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }
}
