//! Who reads a database in WAL mode just now, as the kernel's table of locks shows it.
//!
//! A reader of a WAL database holds a shared lock on one byte of the file `-shm` (SQLite's walformat.html, "WAL-Index File
//! Format"; `aReadMark` in wal.c). Bytes 124 to 127 are the slots that *pin*: while one of them is held, no writer and no
//! checkpoint begins the WAL anew. Byte 123 is the slot of a reader that found all of the WAL copied into the database. It
//! needs nothing of the WAL, so it pins nothing; but nothing more is copied while it is held.
//!
//! /proc/locks tells all of this to anybody, and reading it opens no file of the database: closing a second descriptor
//! of `-shm` would drop this process's locks.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::sys::stat::{major, minor};

/// The slot of readers that need nothing of the WAL.
const SLOT_0: u64 = 123;

/// The slots that pin the WAL.
const PINNING: std::ops::RangeInclusive<u64> = 124..=127;

/// A lock that every connection holds as long as it has the WAL index open (UNIX_SHM_DMS of os_unix.c).
const OPEN: u64 = 128;

/// How a process reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// From the database alone.
    Zero,
    /// It needs the WAL, and keeps it from being begun anew.
    Pins,
}

/// The readers of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    pub own: Option<Slot>,
    /// Process ids, and how each of them reads.
    pub others: Vec<(u32, Slot)>,
}

/// Who reads the database at `path`.
///
/// # Errors
/// No `-shm`: nobody has it open in WAL mode; or no /proc.
pub fn readers(path: &Path) -> io::Result<Readers> {
    let mut shm = path.as_os_str().to_owned();
    shm.push("-shm");
    let shm = fs::metadata(PathBuf::from(shm))?;
    let device = format!("{:02x}:{:02x}", major(shm.dev()), minor(shm.dev()));
    Ok(parse(&fs::read_to_string("/proc/locks")?, &device, shm.ino(), std::process::id()))
}

/// One line of /proc/locks (proc_locks(5)).
struct Lock<'a> {
    pid: u32,
    device: &'a str,
    inode: u64,
    first: u64,
    last: u64,
}

impl<'a> Lock<'a> {
    /// Shared POSIX locks only: a checkpoint locks slots exclusively for a moment, and reads nothing.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        // "->" stands before one that only waits.
        if fields.next()? != "POSIX" || fields.nth(1)? != "READ" {
            return None;
        }
        let pid = fields.next()?.parse().ok()?;
        let (device, inode) = fields.next()?.rsplit_once(':')?;
        let inode = inode.parse().ok()?;
        let first = fields.next()?.parse().ok()?;
        let last = match fields.next()? {
            "EOF" => u64::MAX,
            last => last.parse().ok()?,
        };
        Some(Self { pid, device, inode, first, last })
    }

    /// The kernel joins one process's neighbouring bytes to one lock, so a range is looked into.
    fn has(&self, byte: u64) -> bool {
        (self.first..=self.last).contains(&byte)
    }

    fn slot(&self) -> Option<Slot> {
        if PINNING.into_iter().any(|byte| self.has(byte)) {
            Some(Slot::Pins)
        } else {
            self.has(SLOT_0).then_some(Slot::Zero)
        }
    }
}

fn parse(locks: &str, device: &str, inode: u64, own: u32) -> Readers {
    let locks: Vec<_> =
        locks.lines().filter_map(Lock::parse).filter(|lock| lock.inode == inode).collect();
    // On btrfs and the like stat(2) names another device than the table does. Our own connection shows which.
    let device = locks
        .iter()
        .find(|lock| lock.pid == own && lock.has(OPEN))
        .map_or(device, |lock| lock.device);
    let mut readers = Readers::default();
    for lock in locks.iter().filter(|lock| lock.device == device) {
        let Some(slot) = lock.slot() else { continue };
        if lock.pid == own {
            readers.own = readers.own.max(Some(slot));
        } else if let Some((_, known)) = readers.others.iter_mut().find(|(pid, _)| *pid == lock.pid)
        {
            *known = slot.max(*known);
        } else {
            readers.others.push((lock.pid, slot));
        }
    }
    readers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured while Litestream 0.5.17 (17263) and this project's guard (25192) held one database, and shortened.
    const LOCKS: &str = "\
1: FLOCK  ADVISORY  WRITE 25192 fe:00:5712145 0 EOF
2: POSIX  ADVISORY  READ  25192 fe:00:977 124 124
3: POSIX  ADVISORY  READ  25192 fe:00:977 128 128
4: POSIX  ADVISORY  READ  17263 fe:00:977 127 128
5: POSIX  ADVISORY  READ  17263 fe:00:976 1073741826 1073742335
6: POSIX  ADVISORY  WRITE 300 fe:00:977 124 124
6: -> POSIX  ADVISORY  READ 301 fe:00:977 124 124
7: OFDLCK ADVISORY  READ -1 fe:00:977 124 124
8: POSIX  ADVISORY  READ  302 fe:01:977 124 124
9: POSIX  ADVISORY  READ  303 fe:00:977 123 123
10: POSIX  ADVISORY  READ  304 fe:00:977 128 128
";

    #[test]
    fn tells_readers_that_pin_from_those_that_do_not() {
        let readers = parse(LOCKS, "fe:00", 977, 25192);
        assert_eq!(readers.own, Some(Slot::Pins));
        assert_eq!(readers.others, [(17263, Slot::Pins), (303, Slot::Zero)]);
        assert_eq!(parse(LOCKS, "fe:00", 977, 304).own, None, "open, but not read");
        assert_eq!(parse(LOCKS, "fe:00", 978, 25192), Readers::default());
        assert_eq!(parse("nonsense\n1: POSIX\n", "fe:00", 977, 1), Readers::default());
    }

    #[test]
    fn our_own_connection_shows_the_device_where_stat_names_another() {
        assert_eq!(parse(LOCKS, "00:2d", 977, 25192), parse(LOCKS, "fe:00", 977, 25192));
        assert_eq!(parse(LOCKS, "00:2d", 977, 1), Readers::default());
    }

    #[test]
    fn neighbouring_bytes_are_one_lock() {
        let line = |range| format!("1: POSIX  ADVISORY  READ 7 fe:00:9 {range}\n");
        let slot = |range| parse(&line(range), "fe:00", 9, 7).own;
        assert_eq!(slot("123 124"), Some(Slot::Pins));
        assert_eq!(slot("127 128"), Some(Slot::Pins));
        assert_eq!(slot("120 123"), Some(Slot::Zero));
        assert_eq!(slot("128 128"), None);
        assert_eq!(slot("0 EOF"), Some(Slot::Pins));
    }
}
