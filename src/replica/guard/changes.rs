//! What makes a look worth while before its time: Litestream ended, somebody closed a database, or
//! Litestream noted that it has read on. The kernel tells, so that nobody has to ask each second.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::orders::GuardOrder;
use crate::system::process_end::ProcessEnd;

/// Tells the guard's thread.
#[derive(Clone, Debug)]
struct Teller {
    orders: Sender<GuardOrder>,
    /// It was told, and has not looked yet.
    is_told: Arc<AtomicBool>,
}

impl Teller {
    /// Whether there is anybody to tell.
    fn tell(&self) -> bool {
        self.is_told.swap(true, Ordering::AcqRel) || self.orders.send(GuardOrder::Changed).is_ok()
    }
}

/// The threads that wait for it.
#[derive(Debug)]
pub struct Changes {
    teller: Teller,
    /// Where the kernel has no inotify to give, the looks come at their time alone.
    files: Option<Arc<Inotify>>,
    /// The processes whose end is waited for.
    processes: Arc<Mutex<BTreeSet<u32>>>,
}

impl Changes {
    pub fn tell(orders: Sender<GuardOrder>) -> Self {
        let teller = Teller { orders, is_told: Arc::default() };
        let files = Inotify::init(InitFlags::IN_CLOEXEC).map(Arc::new).ok();
        if let Some(files) = files.clone() {
            let teller = teller.clone();
            let _ = thread::Builder::new().name("guard-files".to_owned()).spawn(move || {
                // Ends with the guard's thread, or never: it waits in the kernel.
                while files.read_events().is_ok() && teller.tell() {}
            });
        }
        Self { teller, files, processes: Arc::default() }
    }

    /// Before a look: what changes from here on is told.
    pub fn begin_look(&self) {
        self.teller.is_told.store(false, Ordering::Release);
    }

    /// `notes`: the directory in which Litestream notes what it has read, where each note is worth
    /// a look. `holder`: the process that holds Litestream's lock.
    pub fn watch(&self, database: &Path, notes: Option<&Path>, holder: Option<u32>) {
        if let Some(files) = &self.files {
            let mut shm = database.as_os_str().to_owned();
            shm.push("-shm");
            // To watch is not to open: no lock is lost. What is not there is watched from a later
            // look on.
            let _ = files.add_watch(&PathBuf::from(shm), AddWatchFlags::IN_CLOSE_WRITE);
            let gone = AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ATTRIB;
            let _ = files.add_watch(database, gone);
            if let Some(notes) = notes {
                let _ = files.add_watch(notes, AddWatchFlags::IN_MOVED_TO);
            }
        }
        if let Some(pid) = holder {
            self.wait_for_end_of(pid);
        }
    }

    fn wait_for_end_of(&self, pid: u32) {
        if !lock(&self.processes).insert(pid) {
            return;
        }
        let Ok(end) = ProcessEnd::of(pid) else { return };
        let (teller, processes) = (self.teller.clone(), Arc::clone(&self.processes));
        let _ = thread::Builder::new().name("guard-process".to_owned()).spawn(move || {
            let _ = end.wait();
            lock(&processes).remove(&pid);
            teller.tell();
        });
    }
}

fn lock(processes: &Mutex<BTreeSet<u32>>) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
    processes.lock().unwrap_or_else(PoisonError::into_inner)
}
