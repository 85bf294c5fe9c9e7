//! What becomes of a file at the next boot, by the file system that it is on: one list for the
//! database and the PIN's marks.

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::sys::{
    statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, JFFS2_SUPER_MAGIC,
        OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, fstatfs, statfs,
    },
    statvfs::statvfs,
};

/// How long a file lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// It is in memory: until the next boot, at the most.
    UntilReboot,
    /// It outlives the power, and its inode and times stay the same.
    Always,
    /// Not known: a network's file system, FAT, an overlay whose upper directory can't be seen.
    Unknown,
}

/// ext2 and ext3 have the number of ext4.
const ALWAYS: &[FsType] = &[
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    UBIFS,
    JFFS2_SUPER_MAGIC,
];

/// RAMFS_MAGIC and UBIFS_SUPER_MAGIC of linux/magic.h, which libc leaves out.
const RAMFS: FsType = FsType(0x8584_58f6_u32 as _);
const UBIFS: FsType = FsType(0x2405_1905);

/// How long a file at `path` lasts, or one that is made there.
///
/// # Errors
/// As the system gives them, for the directory where there is no file yet.
pub fn lasts(path: &Path) -> io::Result<Lasts> {
    let there = if path.exists() { path } else { path.parent().unwrap_or(Path::new("/")) };
    let kind = statfs(there)?.filesystem_type();
    if kind != OVERLAYFS_SUPER_MAGIC {
        return Ok(of(kind));
    }
    // What is written goes to the upper directory; of the lower ones nothing is asked.
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let upper = upper_directory(&mounts, &fs::canonicalize(there)?);
    Ok(match upper.map(|upper| statfs(&upper)) {
        Some(Ok(found)) => of(found.filesystem_type()),
        _ => Lasts::Unknown,
    })
}

/// With less room than this, in bytes, none of edgerotate's files can be replaced: each is written
/// beside the old one.
pub const LEAST_ROOM: u64 = 16 * 1024;

/// How many bytes this user can still write on the file system of `path`.
///
/// # Errors
/// As the system gives them.
pub fn room(path: &Path) -> io::Result<u64> {
    let space = statvfs(path)?;
    // The types differ between platforms.
    #[allow(clippy::useless_conversion, reason = "32 bits on some platforms")]
    Ok(u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size())))
}

/// How long an open file lasts. An overlay's is not known: what its inode says changes at a boot.
///
/// # Errors
/// As the system gives them.
pub fn lasts_as_it_is(file: impl AsFd) -> io::Result<Lasts> {
    Ok(of(fstatfs(file)?.filesystem_type()))
}

/// Whether a file at `path` is in memory alone.
///
/// # Errors
/// As for [`lasts`].
pub fn is_volatile(path: &Path) -> io::Result<bool> {
    Ok(lasts(path)? == Lasts::UntilReboot)
}

fn of(kind: FsType) -> Lasts {
    if kind == TMPFS_MAGIC || kind == RAMFS {
        Lasts::UntilReboot
    } else if ALWAYS.contains(&kind) {
        Lasts::Always
    } else {
        Lasts::Unknown
    }
}

/// Where the overlay that `path` is on keeps what is written (proc(5), mountinfo).
fn upper_directory(mounts: &str, path: &Path) -> Option<PathBuf> {
    let mounts = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let point = unescaped(place.split(' ').nth(4)?);
        path.starts_with(&point).then(|| (PathBuf::from(point), kind))
    });
    // The innermost; of several in one place the last, which is on top.
    let (_, kind) = mounts.max_by_key(|(point, _)| point.components().count())?;
    let options = kind.strip_prefix("overlay ")?.split(' ').nth(1)?;
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    Some(PathBuf::from(unescaped(upper)))
}

/// Blanks, tabs, newlines and backslashes are written in octal.
fn unescaped(text: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_file_system_in_memory() {
        assert!(!is_volatile(Path::new("/proc/version")).unwrap());
        assert!(is_volatile(Path::new("/dev/shm/device.db")).unwrap());
    }

    /// As overlayroot and OpenEmbedded's read-only root have them.
    const MOUNTS: &str = "\
22 1 0:20 / / rw,relatime - overlay overlayroot \
rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay,workdir=/media/root-rw/work
30 22 0:25 / /var/lib rw - tmpfs tmpfs rw
31 22 0:26 / /var/lib rw - overlay overlay rw,lowerdir=/var/lib,upperdir=/var/volatile/my\\040lib/upper,workdir=/w
40 22 8:2 / /data rw,relatime shared:1 - ext4 /dev/mmcblk0p4 rw,data=ordered
41 22 0:27 / /ro ro - overlay none ro,lowerdir=/a:/b
";

    #[test]
    fn finds_where_an_overlay_writes() {
        for (path, upper) in [
            ("/home/device.db", Some("/media/root-rw/overlay")),
            ("/var/lib/edgerotate", Some("/var/volatile/my lib/upper")),
            ("/var/library", Some("/media/root-rw/overlay")),
            ("/data/edgerotate", None),
            ("/ro/x", None),
        ] {
            let found = upper_directory(MOUNTS, Path::new(path));
            assert_eq!(found.as_deref(), upper.map(Path::new), "{path}");
        }
    }
}
