//! The kernel's table of file locks, /proc/locks (proc_locks(5)): who holds what, for whoever may
//! not open the file or take the lock to find out.

use std::{
    collections::BTreeSet,
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
};

use nix::sys::stat::{major, minor};

const TABLE: &str = "/proc/locks";

/// More than the kernel hands out at once, which is a page.
const PIECE: usize = 64 * 1024;

/// How large the first piece of each further read is, so that pieces end elsewhere each time.
const FIRST: [usize; 3] = [1024, 2048, 3072];

/// A lock, a line of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    pub kind: LockKind,
    pub access: Access,
    pub pid: u32,
    pub file: FileId,
    /// The bytes that are locked: the first, and the last or `u64::MAX` for all to the end.
    pub first: u64,
    pub last: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKind {
    /// flock(2).
    Flock,
    /// fcntl(2), as SQLite locks.
    Posix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
}

/// A file as the table names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// `fe:00`. On btrfs and the like stat(2) names another one than the table.
    pub device: String,
    pub inode: u64,
}

impl FileId {
    pub fn of(metadata: &Metadata) -> Self {
        let device = format!("{:02x}:{:02x}", major(metadata.dev()), minor(metadata.dev()));
        Self { device, inode: metadata.ino() }
    }
}

/// The locks that processes hold; who only waits for one is left out.
///
/// A table that is longer than a page comes in pieces, and a lock that is released in between moves
/// others from the piece that is to come into the one that has been: they are in neither. So a long
/// table is read again, and what was in any reading counts. Each of them was held at some moment of
/// this call, and may have been released since.
///
/// # Errors
/// There is no /proc, or not all of it.
pub fn table() -> io::Result<Vec<Lock>> {
    let (text, pieces) = read(PIECE)?;
    let mut texts = vec![text];
    if pieces > 1 {
        for first in FIRST {
            texts.push(read(first)?.0);
        }
    }
    Ok(parse(&texts))
}

/// What any of the readings has, once. Lines that are not understood are none of ours: a kernel may
/// have further kinds.
pub(crate) fn parse(texts: &[impl AsRef<str>]) -> Vec<Lock> {
    let lines = texts.iter().flat_map(|text| text.as_ref().lines());
    let locks: BTreeSet<Lock> = lines.filter_map(Lock::parse).collect();
    locks.into_iter().collect()
}

impl Lock {
    /// Such as `3: FLOCK  ADVISORY  WRITE 4711 00:19:1234 0 EOF`.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        // "->" stands before one that only waits.
        let kind = match fields.next()? {
            "FLOCK" => LockKind::Flock,
            "POSIX" => LockKind::Posix,
            _ => return None,
        };
        let access = match fields.nth(1)? {
            "READ" => Access::Read,
            "WRITE" => Access::Write,
            _ => return None,
        };
        let pid = fields.next()?.parse().ok()?;
        let (device, inode) = fields.next()?.rsplit_once(':')?;
        let file = FileId { device: device.to_owned(), inode: inode.parse().ok()? };
        let first = fields.next()?.parse().ok()?;
        let last = match fields.next()? {
            "EOF" => u64::MAX,
            last => last.parse().ok()?,
        };
        Some(Self { kind, access, pid, file, first, last })
    }

    /// The kernel joins one process's neighbouring bytes to one lock, so a range is looked into.
    pub fn has(&self, byte: u64) -> bool {
        (self.first..=self.last).contains(&byte)
    }
}

/// The text, and in how many pieces it came.
fn read(first: usize) -> io::Result<(String, usize)> {
    read_pieces(first).map_err(|e| io::Error::new(e.kind(), format!("{TABLE}: {e}")))
}

fn read_pieces(first: usize) -> io::Result<(String, usize)> {
    let mut file = File::open(TABLE)?;
    let (mut text, mut pieces) = (Vec::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let room = if pieces == 0 { first } else { PIECE };
        match file.read(&mut piece[..room])? {
            0 => return Ok((String::from_utf8_lossy(&text).into_owned(), pieces)),
            size => {
                text.extend_from_slice(&piece[..size]);
                pieces += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use nix::fcntl::{Flock, FlockArg};

    use super::*;

    #[test]
    fn what_is_in_any_of_them_counts_once() {
        let texts = [
            "1: FLOCK  ADVISORY  WRITE 7 00:19:1 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 8 00:19:1 0 \
             EOF\n",
            "1: POSIX  ADVISORY  READ 9 00:19:2 124 127\n2: FLOCK  ADVISORY  WRITE 7 00:19:1 0 \
             EOF\n\
             3: OFDLCK ADVISORY  READ -1 00:19:2 124 124\nnonsense\n4: POSIX\n",
        ];
        let lock = |kind, access, pid, inode, first, last| Lock {
            kind,
            access,
            pid,
            file: FileId { device: "00:19".to_owned(), inode },
            first,
            last,
        };
        let flock = lock(LockKind::Flock, Access::Write, 7, 1, 0, u64::MAX);
        assert_eq!(parse(&texts), [flock, lock(LockKind::Posix, Access::Read, 9, 2, 124, 127)]);
    }

    /// On a machine with many locks, of which some come and go all the time.
    #[test]
    fn a_lock_that_is_held_is_found_whatever_others_do() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-locks-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let lock = |name: String| {
            let file = File::create(directory.join(name)).unwrap();
            Flock::lock(file, FlockArg::LockExclusive).unwrap()
        };
        let held: Vec<_> = (0..400).map(|number| lock(format!("held-{number}"))).collect();
        let inodes: Vec<_> = held.iter().map(|lock| lock.metadata().unwrap().ino()).collect();
        let missed = |table: &[Lock]| {
            let found: BTreeSet<u64> = table.iter().map(|lock| lock.file.inode).collect();
            inodes.iter().filter(|inode| !found.contains(inode)).count()
        };
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 0..4 {
                let (lock, is_over) = (&lock, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        drop(lock(format!("comes-and-goes-{number}")));
                    }
                });
            }
            let missed: usize = (0..100).map(|_| missed(&table().unwrap())).sum();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(missed, 0);
        });
        drop(held);
        fs::remove_dir_all(directory).unwrap();
    }
}
