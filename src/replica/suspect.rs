//! The mark of a replica that may lack rows: *suspect*.
//!
//! A hole in a replica shows nowhere: Litestream goes on, and a restore passes SQLite's integrity
//! check. So what can't be proven whole is marked, on the data partition, and the mark outlives
//! restarts and boots. It goes only when a forced snapshot has mended the replica, or when a
//! restore was compared and found whole.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use nix::fcntl::{Flock, FlockArg};

use crate::{
    core::{own_files, suspect::Suspect},
    system::atomic_file,
};

const WAS_BROKEN: &str = "the file of what is suspect was broken (see suspect.broken beside it)";

/// Like all that is in this directory.
const MODE: u32 = 0o600;

/// The file in the state directory. The daemon marks, `verify` clears.
#[derive(Clone, Debug)]
pub struct SuspectFile(PathBuf);

impl SuspectFile {
    pub fn in_directory(directory: &Path) -> Self {
        Self(directory.join(own_files::SUSPECT))
    }

    /// What is suspect.
    ///
    /// # Errors
    /// As the system gives them, and for a file that is not as it is written here: then all may be
    /// suspect.
    pub fn load(&self) -> io::Result<Suspect> {
        match self.read() {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", self.0.display()))
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Suspect::default()),
            Err(e) => Err(e),
        }
    }

    /// Marks a database; whether that is news. A file that can't be understood is put aside, and
    /// all `databases` are suspect: any of them may have been in it.
    ///
    /// # Errors
    /// As the system gives them; the mark is not kept then.
    pub fn mark(
        &self,
        database: &Path,
        what: &str,
        now: DateTime<Utc>,
        databases: &[PathBuf],
    ) -> io::Result<bool> {
        let _one_at_a_time = self.lock()?;
        let before = match self.load() {
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                // A copy: there is a file at each moment.
                let broken = self.0.with_file_name(own_files::SUSPECT_BROKEN);
                atomic_file::replace_for_owner(&broken, &self.read()?, MODE)?;
                let mut all = Suspect::default();
                for database in databases {
                    all.add(database, WAS_BROKEN, now);
                }
                all
            }
            loaded => loaded?,
        };
        let mut suspect = before.clone();
        let is_news = suspect.add(database, what, now);
        if suspect != before {
            self.save(&suspect)?;
        }
        Ok(is_news)
    }

    /// Takes the mark from a database whose replica was found whole, or was made anew. `seen` is
    /// what the file said before that was begun: what was marked since stays.
    ///
    /// # Errors
    /// As for [`Self::load`], and as the system gives them for writing.
    pub fn clear(&self, database: &Path, seen: &Suspect) -> io::Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        let _one_at_a_time = self.lock()?;
        let mut suspect = self.load()?;
        let Some(reasons) = suspect.databases.get_mut(database) else { return Ok(()) };
        let known = seen.databases.get(database).cloned().unwrap_or_default();
        reasons.retain(|reason| !known.contains(reason));
        suspect.databases.retain(|_, reasons| !reasons.is_empty());
        if suspect.databases.is_empty() { fs::remove_file(&self.0) } else { self.save(&suspect) }
    }

    /// No link is followed: the directory's owner must not have another's file read, and copied, by
    /// root.
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut file = File::options().read(true).custom_flags(flags).open(&self.0)?;
        file.read_to_end(&mut text)?;
        Ok(text)
    }

    fn save(&self, suspect: &Suspect) -> io::Result<()> {
        let mut text = serde_json::to_vec(suspect)?;
        text.push(b'\n');
        // Who verifies as root must not take the file from the daemon, whose directory it is.
        atomic_file::replace_for_owner(&self.0, &text, MODE)
    }

    /// The daemon and `verify` write the file, and both read it first: one after the other.
    fn lock(&self) -> io::Result<Flock<File>> {
        let directory = File::open(self.directory())?;
        Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, e)| e.into())
    }

    fn directory(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::suspect::Reason;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn file(name: &str) -> (PathBuf, SuspectFile) {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        (directory.clone(), SuspectFile::in_directory(&directory))
    }

    #[test]
    fn a_reason_is_news_once_and_is_kept() {
        let (directory, file) = file("suspect-mark");
        assert_eq!(file.load().unwrap().summary(), None);
        let [a, b] = ["/data/a.db", "/data/b.db"].map(Path::new);
        assert!(file.mark(a, "unguarded", at(1), &[]).unwrap());
        assert!(!file.mark(a, "unguarded", at(2), &[]).unwrap());
        assert!(file.mark(a, "too long", at(3), &[]).unwrap());
        assert!(file.mark(b, "too large", at(4), &[]).unwrap());
        let summary = file.load().unwrap().summary().unwrap();
        assert_eq!(summary, "/data/a.db (unguarded), /data/b.db (too large)");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_was_marked_since_stays_marked() {
        let (directory, file) = file("suspect-clear");
        let [a, b] = ["/data/a.db", "/data/b.db"].map(Path::new);
        file.mark(a, "unguarded", at(1), &[]).unwrap();
        file.mark(b, "unguarded", at(1), &[]).unwrap();
        let seen = file.load().unwrap();
        file.mark(a, "too long", at(2), &[]).unwrap();
        file.clear(a, &seen).unwrap();
        let left = file.load().unwrap();
        assert_eq!(left.databases[a], [Reason::new("too long", at(2))]);
        file.clear(a, &left).unwrap();
        file.clear(b, &left).unwrap();
        assert_eq!(file.load().unwrap(), Suspect::default());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_came_again_since_stays_marked() {
        let (directory, file) = file("suspect-again");
        let a = Path::new("/data/a.db");
        file.mark(a, "unguarded", at(1), &[]).unwrap();
        let seen = file.load().unwrap();
        assert!(!file.mark(a, "unguarded", at(2), &[]).unwrap());
        file.clear(a, &seen).unwrap();
        let left = file.load().unwrap();
        assert!(left.knows(a, "unguarded", at(2)) && !left.knows(a, "unguarded", at(1)));
        file.clear(a, &left).unwrap();
        assert_eq!(file.load().unwrap(), Suspect::default());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_broken_file_is_no_clean_bill() {
        let (directory, file) = file("suspect-broken");
        fs::write(directory.join("suspect"), "{").unwrap();
        assert!(file.load().is_err());
        let [a, b] = ["/data/a.db", "/data/b.db"].map(PathBuf::from);
        assert!(file.mark(&a, "unguarded", at(1), &[a.clone(), b.clone()]).unwrap());
        let suspect = file.load().unwrap();
        assert!(suspect.knows(&a, "unguarded", at(1)));
        assert!(suspect.knows(&a, WAS_BROKEN, at(1)) && suspect.knows(&b, WAS_BROKEN, at(1)));
        assert_eq!(fs::read_to_string(directory.join("suspect.broken")).unwrap(), "{");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_can_t_be_read_is_not_replaced() {
        let (directory, file) = file("suspect-unreadable");
        fs::create_dir(directory.join("suspect")).unwrap();
        assert!(file.mark(Path::new("/data/a.db"), "unguarded", at(1), &[]).is_err());
        assert!(directory.join("suspect").is_dir());
        fs::remove_dir_all(directory).unwrap();
    }
}
