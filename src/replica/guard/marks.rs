//! The marks of suspect replicas, as the guard's thread makes them: said once each, and kept, if
//! need be at a later try.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    core::{
        boottime::Boottime,
        repeats::{Repeats, in_a_row},
        suspect::{BEGUN, Suspect, line},
    },
    replica::{guard::orders::News, suspect::SuspectFile},
    system::clock,
};

/// The file, and what could not be written to it yet.
pub struct Marks {
    file: SuspectFile,
    /// All that are guarded.
    databases: Vec<PathBuf>,
    /// The storage may be full or read-only; a mark is not forgotten for it.
    unkept: Vec<(PathBuf, String, DateTime<Utc>)>,
    tell: UnboundedSender<News>,
    /// What was told last, and whether it was that nothing is known.
    told: Option<Suspect>,
    told_unknown: bool,
    fault: Repeats<String>,
    /// Whatever starts Litestream mends what is suspect.
    pub mends_itself: bool,
}

impl Marks {
    pub fn new(file: SuspectFile, databases: Vec<PathBuf>, tell: UnboundedSender<News>) -> Self {
        Self {
            file,
            databases,
            unkept: Vec::new(),
            tell,
            told: None,
            told_unknown: false,
            fault: Repeats::default(),
            mends_itself: false,
        }
    }

    /// What is suspect, as it was told last.
    pub fn told(&self) -> Suspect {
        self.told.clone().unwrap_or_default()
    }

    /// Whether this is among the reasons that were told last.
    pub fn knows(&self, path: &Path, why: &str) -> bool {
        let reasons = self.told.as_ref().and_then(|told| told.databases.get(path));
        reasons.is_some_and(|reasons| reasons.iter().any(|reason| reason.what == why))
    }

    /// Marks a replica, and says so where that is news. Whether the mark is kept.
    pub fn mark(&mut self, path: &Path, why: &str) -> bool {
        let now = clock::wall();
        if let Some((.., at)) =
            self.unkept.iter_mut().find(|(known, what, _)| known == path && what == why)
        {
            *at = now;
            return false;
        }
        let marked = self.file.mark(path, why, now, &self.databases);
        if marked.is_err() {
            self.unkept.push((path.to_owned(), why.to_owned(), now));
        }
        if !matches!(marked, Ok(false)) {
            log::warn!("{}", line(path, why, self.mends_itself));
        }
        self.look(clock::boottime());
        marked.is_ok()
    }

    /// A new snapshot was made of it: takes back what was `seen` when that began.
    pub fn clear(&mut self, path: &Path, seen: &Suspect) {
        self.unkept.retain(|(known, why, at)| known != path || !seen.knows(known, why, *at));
        match self.file.clear(path, seen) {
            Ok(()) => log::info!(
                "{}: a new snapshot was made; its replica is not suspect any more",
                path.display()
            ),
            Err(e) => log::error!(
                "{}: a new snapshot was made, but the mark of its suspect replica stays: {e}",
                path.display()
            ),
        }
        self.look(clock::boottime());
    }

    /// Litestream 0.3 begins anew with it: that is the reason instead of those `seen`, until it is
    /// proven.
    pub fn begun(&mut self, path: &Path, seen: &Suspect) {
        // First: a power cut in between must not take the mark away.
        let marked = self.file.mark(path, BEGUN, clock::wall(), &self.databases);
        let begun = marked.and_then(|_| {
            self.unkept.retain(|(known, why, at)| known != path || !seen.knows(known, why, *at));
            self.file.clear(path, seen)
        });
        match begun {
            Ok(()) => log::info!("{}: {BEGUN}", path.display()),
            Err(e) => log::error!(
                "{}: Litestream 0.3 begins anew, and that could not be kept: {e}",
                path.display()
            ),
        }
        self.look(clock::boottime());
    }

    /// Tries again to keep what could not be kept, and tells what is suspect. Another program may
    /// have cleared it.
    pub fn look(&mut self, now: Boottime) {
        let mut fault = None;
        self.unkept.retain(|(path, why, since)| {
            fault = self.file.mark(path, why, *since, &self.databases).err();
            fault.is_some()
        });
        match fault.map(|e| e.to_string()) {
            None => {
                self.fault.over();
            }
            Some(e) => {
                if let Some(times) = self.fault.came(e.clone(), now) {
                    log::error!(
                        "that a replica may lack rows could not be kept{}: {e}; it is tried again. \
                         Look at \
                         EDGEROTATE_STATE_DIRECTORY: its rights, and its room",
                        in_a_row(times)
                    );
                }
            }
        }
        let loaded = self.file.load();
        let is_unknown = loaded.is_err();
        let mut suspect = loaded.unwrap_or_else(|e| {
            if !self.told_unknown {
                log::error!(
                    "which replicas may lack rows can't be told: {e}; look at `suspect` in \
                     EDGEROTATE_STATE_DIRECTORY: let \
                     edgerotate's user read it; if it is broken, remove it and make new snapshots"
                );
            }
            self.told()
        });
        for (path, why, since) in &self.unkept {
            suspect.add(path, why, *since);
        }
        if self.told.as_ref() != Some(&suspect) || self.told_unknown != is_unknown {
            let _ = self.tell.send(News::Suspect((!is_unknown).then(|| suspect.clone())));
            self.told = Some(suspect);
            self.told_unknown = is_unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    #[test]
    fn a_mark_that_can_t_be_kept_is_told_and_kept_as_soon_as_that_is_possible() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-marks-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let file = SuspectFile::in_directory(&directory);
        let (tell, mut told) = unbounded_channel();
        let mut marks = Marks::new(file.clone(), Vec::new(), tell);
        let database = Path::new("/data/a.db");
        marks.mark(database, "unguarded");
        marks.mark(database, "unguarded");
        assert_eq!(marks.unkept.len(), 1);
        let Ok(News::Suspect(Some(suspect))) = told.try_recv() else { panic!() };
        assert!(suspect.databases.contains_key(database));
        assert!(told.try_recv().is_err(), "nothing is told twice");

        fs::create_dir(&directory).unwrap();
        marks.look(clock::boottime());
        assert!(marks.unkept.is_empty());
        assert!(file.load().unwrap().databases.contains_key(database));
        fs::remove_dir_all(directory).unwrap();
    }

    fn marks(name: &str) -> (PathBuf, SuspectFile, Marks, UnboundedReceiver<News>) {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        let file = SuspectFile::in_directory(&directory);
        let (tell, told) = unbounded_channel();
        let marks = Marks::new(file.clone(), Vec::new(), tell);
        (directory, file, marks, told)
    }

    #[test]
    fn a_file_that_can_t_be_read_is_told_and_no_mark_is_lost_for_it() {
        let (directory, file, mut marks, mut told) = marks("marks-unreadable");
        fs::create_dir(directory.join("suspect")).unwrap();
        marks.look(clock::boottime());
        assert!(matches!(told.try_recv(), Ok(News::Suspect(None))));
        marks.look(clock::boottime());
        assert!(told.try_recv().is_err(), "once");
        let database = Path::new("/data/a.db");
        assert!(!marks.mark(database, "unguarded"));
        assert!(marks.told().databases.contains_key(database));
        fs::remove_dir(directory.join("suspect")).unwrap();
        while told.try_recv().is_ok() {}
        marks.look(clock::boottime());
        assert!(matches!(told.try_recv(), Ok(News::Suspect(Some(_)))));
        assert!(file.load().unwrap().databases.contains_key(database));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_mark_that_is_not_kept_yet_and_newer_than_the_snapshot_stays() {
        let (directory, _, mut marks, _told) = marks("marks-newer");
        let database = Path::new("/data/a.db");
        fs::create_dir(directory.join("suspect")).unwrap();
        marks.mark(database, "unguarded");
        let seen = marks.told();
        marks.mark(database, "too long");
        marks.clear(database, &seen);
        let left: Vec<_> = marks.unkept.iter().map(|(_, why, _)| why.as_str()).collect();
        assert_eq!(left, ["too long"]);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_begins_anew_stays_suspect_until_it_is_proven() {
        let (directory, file, mut marks, _told) = marks("marks-begun");
        let database = Path::new("/data/a.db");
        marks.mark(database, "unguarded");
        for _ in 0..2 {
            marks.begun(database, &marks.told());
            let suspect = file.load().unwrap();
            let whats: Vec<_> = suspect.databases[database].iter().map(|r| &r.what).collect();
            assert_eq!(whats, [BEGUN]);
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
