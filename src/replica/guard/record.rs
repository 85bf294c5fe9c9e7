//! What one daemon's guard leaves to the next of the same boot: who kept the WAL of each database.
//!
//! A daemon that ends takes its guard with it. If Litestream held its own then, and still does, nothing happened; else
//! nobody kept the WAL for a while, and the next daemon knows only from here that there was such a while.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{litestream::restart::Process, system::atomic_file};

const FILE_NAME: &str = "guard.json";

const MODE: u32 = 0o600;

/// Each database, and the Litestream that kept its WAL.
type Kept = BTreeMap<PathBuf, Option<Process>>;

#[derive(Serialize, Deserialize)]
struct Text {
    boot_id: String,
    databases: Kept,
}

/// The file in the runtime directory, and what it says.
pub struct Record {
    path: PathBuf,
    boot_id: String,
    found: Kept,
    kept: Option<Kept>,
}

impl Record {
    /// What the daemon before this one left. Of another boot nothing counts: Litestream ended as well.
    pub fn load(directory: &Path, boot_id: &str) -> Self {
        let path = directory.join(FILE_NAME);
        let text = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Text>(&text).ok());
        let found = text.filter(|text| text.boot_id == boot_id).map(|text| text.databases);
        Self { path, boot_id: boot_id.to_owned(), found: found.unwrap_or_default(), kept: None }
    }

    /// The Litestream that kept the WAL of this database, and may do so still.
    pub fn litestream(&self, database: &Path) -> Option<Process> {
        self.found.get(database).copied().flatten().filter(|process| process.is_running())
    }

    /// Why nobody may have kept the WAL of this database before this daemon came.
    pub fn gap(&self, database: &Path) -> Option<String> {
        match self.found.get(database)? {
            Some(_) if self.litestream(database).is_some() => None,
            Some(_) => {
                Some("Litestream was stopped or ended while edgerotate did not run".to_owned())
            }
            None => Some("edgerotate ended while it guarded".to_owned()),
        }
    }

    /// Keeps what is so now.
    pub fn keep(&mut self, kept: Kept) {
        if self.kept.as_ref() == Some(&kept) {
            return;
        }
        let text = Text { boot_id: self.boot_id.clone(), databases: kept };
        let written = serde_json::to_vec(&text)
            .map_err(Into::into)
            .and_then(|bytes| atomic_file::replace(&self.path, &bytes, MODE));
        match written {
            Ok(()) => self.kept = Some(text.databases),
            // Tried again at the next look.
            Err(e) => log::debug!("{}: {e}", self.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_of_a_while_in_which_nobody_kept_the_wal() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-record-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let this = Process::running(std::process::id()).unwrap();
        let gone = Process { started: this.started + std::time::Duration::from_secs(1), ..this };
        let [a, b, c, d] = ["/a.db", "/b.db", "/c.db", "/d.db"].map(PathBuf::from);
        let mut record = Record::load(&directory, "this-boot");
        assert_eq!(record.gap(&a), None);
        let kept = [(a.clone(), Some(this)), (b.clone(), Some(gone)), (c.clone(), None)];
        record.keep(kept.into_iter().collect());

        let next = Record::load(&directory, "this-boot");
        assert_eq!(next.gap(&a), None);
        assert_eq!(next.litestream(&a), Some(this));
        assert_eq!([&b, &c, &d].map(|path| next.litestream(path)), [None; 3]);
        assert_eq!(
            next.gap(&b).unwrap(),
            "Litestream was stopped or ended while edgerotate did not run"
        );
        assert_eq!(next.gap(&c).unwrap(), "edgerotate ended while it guarded");
        assert_eq!(next.gap(&d), None, "a database that was not guarded then");
        assert_eq!(Record::load(&directory, "another-boot").gap(&c), None);
        fs::remove_dir_all(directory).unwrap();
    }
}
