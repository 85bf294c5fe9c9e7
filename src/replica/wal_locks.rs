//! Who reads a database in WAL mode just now, as the kernel's table of locks shows it.
//!
//! A reader of a WAL database holds a shared lock on one byte of the file `-shm` (SQLite's
//! walformat.html, "WAL-Index File Format"; `aReadMark` in wal.c). Bytes 124 to 127 are the slots
//! that *pin*: while one of them is held, no writer and no checkpoint begins the WAL anew. Byte 123
//! is the slot of a reader that found all of the WAL copied into the database. It needs nothing of
//! the WAL, so it pins nothing; but nothing more is copied while it is held.
//!
//! /proc/locks tells all of this to anybody, and reading it opens no file of the database: closing
//! a second descriptor of `-shm` would drop this process's locks.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use crate::{
    core::guard::look::Slot,
    replica::sqlite::beside,
    system::kernel_locks::{self, Access, FileId, Lock, LockKind},
};

/// The slot of readers that need nothing of the WAL.
const SLOT_0: u64 = 123;

/// The slots that pin the WAL.
const PINNING: std::ops::RangeInclusive<u64> = 124..=127;

/// A lock that every connection holds as long as it has the WAL index open (UNIX_SHM_DMS of
/// os_unix.c).
const OPEN: u64 = 128;

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
    let shm = fs::metadata(beside(path, "-shm"))?;
    let mut readers = of(&kernel_locks::table()?, &FileId::of(&shm), std::process::id());
    // Another edgerotate, such as `edgerotate verify`, reads for seconds, and keeps nothing for
    // Litestream.
    readers.others.retain(|(process, _)| !is_edgerotate(*process));
    Ok(readers)
}

/// Whether a process is this very program, or one that has its name.
fn is_edgerotate(process: u32) -> bool {
    let file = |process: &str| {
        let found = fs::metadata(format!("/proc/{process}/exe")).ok()?;
        Some((found.dev(), found.ino()))
    };
    let process = process.to_string();
    match (file(&process), file("self")) {
        (Some(its), Some(ours)) if its == ours => true,
        // Another user's can't be seen; and after an upgrade the file is another.
        _ => fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|words| {
            let first = words.split(|byte| *byte == 0).next().unwrap_or_default();
            first == b"edgerotate" || first.ends_with(b"/edgerotate")
        }),
    }
}

/// Shared POSIX locks only: a checkpoint locks slots exclusively for a moment, and reads nothing.
fn of(locks: &[Lock], shm: &FileId, own: u32) -> Readers {
    let locks: Vec<_> = locks
        .iter()
        .filter(|lock| (lock.kind, lock.access) == (LockKind::Posix, Access::Read))
        .filter(|lock| lock.file.inode == shm.inode)
        .collect();
    // On btrfs and the like stat(2) names another device than the table does. Our own connection
    // shows which.
    let file =
        locks.iter().find(|lock| lock.pid == own && lock.has(OPEN)).map_or(shm, |lock| &lock.file);
    let mut readers = Readers::default();
    for lock in locks.iter().filter(|lock| lock.file == *file) {
        let Some(slot) = slot(lock) else { continue };
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

fn slot(lock: &Lock) -> Option<Slot> {
    if PINNING.into_iter().any(|byte| lock.has(byte)) {
        Some(Slot::Pins)
    } else {
        lock.has(SLOT_0).then_some(Slot::Zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(locks: &str, device: &str, inode: u64, own: u32) -> Readers {
        let shm = FileId { device: device.to_owned(), inode };
        of(&kernel_locks::parse(&[locks]), &shm, own)
    }

    /// Captured while Litestream 0.5.17 (16597), a program with a read transaction (16554) and one
    /// without (17178) had a database open, whose -shm is inode 10108933; shortened.
    const CAPTURED: &str = "\
1: FLOCK  ADVISORY  WRITE 17180 fe:00:10073671 0 EOF
2: POSIX  ADVISORY  READ 16554 fe:00:10108933 125 125
10: POSIX  ADVISORY  READ 16554 fe:00:10108933 128 128
36: POSIX  ADVISORY  READ 16597 fe:00:10108933 124 124
37: POSIX  ADVISORY  READ 16597 fe:00:10108933 128 128
38: POSIX  ADVISORY  READ 17178 fe:00:10108933 128 128
";

    /// What was not caught in the act: checkpoints, waiting, other files of the same number, slot
    /// 0.
    const INVENTED: &str = "\
1: POSIX  ADVISORY  WRITE 300 fe:00:977 124 124
1: -> POSIX  ADVISORY  READ 301 fe:00:977 124 124
2: OFDLCK ADVISORY  READ -1 fe:00:977 124 124
3: POSIX  ADVISORY  READ 302 fe:01:977 124 124
4: POSIX  ADVISORY  READ 303 fe:00:977 123 123
5: POSIX  ADVISORY  READ 303 fe:00:977 128 128
nonsense
6: POSIX
";

    #[test]
    fn tells_who_reads_from_who_has_it_open() {
        let readers = parse(CAPTURED, "fe:00", 10_108_933, 16554);
        assert_eq!(readers.own, Some(Slot::Pins));
        assert_eq!(readers.others, [(16597, Slot::Pins)]);
        assert_eq!(parse(CAPTURED, "fe:00", 10_108_933, 17178).own, None, "open, but not read");
        assert_eq!(parse(CAPTURED, "fe:00", 10_073_671, 1), Readers::default());
    }

    #[test]
    fn counts_shared_locks_of_this_file_alone() {
        let readers = parse(INVENTED, "fe:00", 977, 1);
        assert_eq!(readers, Readers { own: None, others: vec![(303, Slot::Zero)] });
    }

    #[test]
    fn our_own_connection_shows_the_device_where_stat_names_another() {
        let parse = |device, own| parse(CAPTURED, device, 10_108_933, own);
        assert_eq!(parse("00:2d", 16554), parse("fe:00", 16554));
        assert_eq!(parse("00:2d", 1), Readers::default());
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
