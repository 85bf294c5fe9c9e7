//! File systems in memory, which a reboot empties.

use std::{io, path::Path};

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

/// RAMFS_MAGIC of linux/magic.h, which libc leaves out.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6_u32 as _);

/// Whether a database at `path` would be gone after a reboot: its file system is in memory.
///
/// # Errors
/// As the system gives them, for the directory where there is no file yet.
pub fn is_volatile(path: &Path) -> io::Result<bool> {
    let looked_at = if path.exists() { path } else { path.parent().unwrap_or(Path::new("/")) };
    let kind = statfs(looked_at)?.filesystem_type();
    Ok(kind == TMPFS_MAGIC || kind == RAMFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_file_system_in_memory() {
        assert!(!is_volatile(Path::new("/proc/version")).unwrap());
        assert!(is_volatile(Path::new("/dev/shm/device.db")).unwrap());
    }
}
