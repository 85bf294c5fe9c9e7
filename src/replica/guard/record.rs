//! What one daemon's guard leaves to the next of the same boot: what was seen last of each
//! database.
//!
//! A daemon that ends takes its guards with it. What happened until the next one comes is found out
//! as what happens between two looks is: by what was seen before it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    core::{guard::Memory, own_files},
    system::atomic_file,
};

const MODE: u32 = 0o600;

/// Each database.
type Kept = BTreeMap<PathBuf, Memory>;

#[derive(Serialize, Deserialize)]
struct Text {
    boot_id: String,
    databases: Kept,
}

/// The file in the runtime directory, and what it says.
pub struct GuardRecord {
    path: PathBuf,
    boot_id: String,
    found: Kept,
    kept: Option<Kept>,
}

impl GuardRecord {
    /// What the daemon before this one left. Of another boot nothing counts: Litestream ended as
    /// well.
    pub fn load(directory: &Path, boot_id: &str) -> Self {
        let path = directory.join(own_files::GUARD);
        let text = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Text>(&text).ok());
        let found = text.filter(|text| text.boot_id == boot_id).map(|text| text.databases);
        Self { path, boot_id: boot_id.to_owned(), found: found.unwrap_or_default(), kept: None }
    }

    /// What was seen last of this database.
    pub fn memory(&self, database: &Path) -> Option<Memory> {
        self.found.get(database).copied()
    }

    /// Keeps what is so now, where it differs enough from what was kept last.
    pub fn keep(&mut self, kept: Kept) {
        let is_like = |(one, other): ((&PathBuf, &Memory), (&PathBuf, &Memory))| {
            one.0 == other.0 && one.1.is_like(other.1)
        };
        let last = self.kept.as_ref();
        if last.is_some_and(|last| last.len() == kept.len() && last.iter().zip(&kept).all(is_like))
        {
            return;
        }
        self.keep_all(kept);
    }

    /// The same whatever was kept last.
    pub fn keep_all(&mut self, kept: Kept) {
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
    use std::time::Duration;

    use super::*;
    use crate::core::guard::{Limits, Machine};

    #[test]
    fn what_was_seen_counts_for_its_boot() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-record-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let second = Duration::from_secs(1);
        let limits = Limits { time: second, wal: 1, still: second };
        let memory = Machine::new(limits, false, None, second).memory();
        let database = PathBuf::from("/a.db");
        let mut record = GuardRecord::load(&directory, "this-boot");
        assert_eq!(record.memory(&database), None);
        record.keep([(database.clone(), memory)].into());
        assert_eq!(GuardRecord::load(&directory, "this-boot").memory(&database), Some(memory));
        assert_eq!(GuardRecord::load(&directory, "another-boot").memory(&database), None);
        fs::write(directory.join(own_files::GUARD), "{").unwrap();
        assert_eq!(GuardRecord::load(&directory, "this-boot").memory(&database), None);
        fs::remove_dir_all(directory).unwrap();
    }
}
