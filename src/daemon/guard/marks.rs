//! The marks of suspect replicas, as the guard's thread makes them: said once each, and kept, if need be at a later try.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    clock::{self, Boottime},
    daemon::guard::News,
    daemon::repeats::{Repeats, in_a_row},
    suspect::{self, Suspect, SuspectFile},
};

/// The file, and what could not be written to it yet.
pub struct Marks {
    file: SuspectFile,
    /// The storage may be full or read-only; a mark is not forgotten for it.
    unkept: Vec<(PathBuf, String, DateTime<Utc>)>,
    tell: UnboundedSender<News>,
    told: Option<Suspect>,
    fault: Repeats<String>,
    /// Whatever starts Litestream mends what is suspect.
    pub mends_itself: bool,
}

impl Marks {
    pub fn new(file: SuspectFile, tell: UnboundedSender<News>) -> Self {
        Self {
            file,
            unkept: Vec::new(),
            tell,
            told: None,
            fault: Repeats::default(),
            mends_itself: false,
        }
    }

    /// What is suspect, as it was told last.
    pub fn told(&self) -> Suspect {
        self.told.clone().unwrap_or_default()
    }

    /// Marks a replica, and says so where that is news.
    pub fn mark(&mut self, path: &Path, why: &str) {
        if self.unkept.iter().any(|(known, what, _)| known == path && what == why) {
            return;
        }
        let now = clock::wall();
        match self.file.mark(path, why, now) {
            Ok(false) => return,
            Ok(true) => {}
            Err(_) => self.unkept.push((path.to_owned(), why.to_owned(), now)),
        }
        log::warn!("{}", suspect::line(path, why, self.mends_itself));
        self.look(clock::boottime());
    }

    /// A new snapshot was made of it: takes back what was `seen` when that began.
    pub fn clear(&mut self, path: &Path, seen: &Suspect) {
        self.unkept.retain(|(known, ..)| known != path);
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

    /// Tries again to keep what could not be kept, and tells what is suspect. Another program may have cleared it.
    pub fn look(&mut self, now: Boottime) {
        let mut fault = None;
        self.unkept.retain(|(path, why, since)| {
            fault = self.file.mark(path, why, *since).err();
            fault.is_some()
        });
        match fault.map(|e| e.to_string()) {
            None => {
                self.fault.over();
            }
            Some(e) => {
                if let Some(times) = self.fault.came(e.clone(), now) {
                    log::error!(
                        "that a replica may lack rows could not be kept{}: {e}; it is tried again. Look at \
                         EDGEROTATE_STATE_DIRECTORY: its rights, and its room",
                        in_a_row(times)
                    );
                }
            }
        }
        let mut suspect = self.file.load().unwrap_or_else(|e| {
            log::debug!("{e}");
            self.told()
        });
        for (path, why, since) in &self.unkept {
            suspect.add(path, why, *since);
        }
        if self.told.as_ref() != Some(&suspect) {
            let _ = self.tell.send(News::Suspect(suspect.clone()));
            self.told = Some(suspect);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn a_mark_that_can_t_be_kept_is_told_and_kept_as_soon_as_that_is_possible() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-marks-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let file = SuspectFile::in_directory(&directory);
        let (tell, mut told) = unbounded_channel();
        let mut marks = Marks::new(file.clone(), tell);
        let database = Path::new("/data/a.db");
        marks.mark(database, "unguarded");
        marks.mark(database, "unguarded");
        assert_eq!(marks.unkept.len(), 1);
        let Ok(News::Suspect(suspect)) = told.try_recv() else { panic!() };
        assert!(suspect.databases.contains_key(database));
        assert!(told.try_recv().is_err(), "nothing is told twice");

        fs::create_dir(&directory).unwrap();
        marks.look(clock::boottime());
        assert!(marks.unkept.is_empty());
        assert!(file.load().unwrap().databases.contains_key(database));
        assert!(told.try_recv().is_err());
        fs::remove_dir_all(directory).unwrap();
    }
}
