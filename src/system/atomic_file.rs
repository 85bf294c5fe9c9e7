//! Files that are whole at every moment.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Replaces the file at `path` by one with these `contents` and this `mode`.
///
/// Whoever opens `path`, at any moment and after any crash, finds the whole old file or the whole new one;
/// and the contents are never in a file with wider rights than `mode`. Once this has returned, the new file
/// survives a power failure (where the file system is not a tmpfs).
///
/// The new file is written beside the old one under a fixed name of its own, so a crash leaves at most one
/// leftover, which the next call removes. One writer at a time: the instance's lock sees to that.
///
/// # Errors
/// As the system gives them; the old file is then untouched.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let directory = put(path, contents, mode, true)?;
    // The rename is in the directory.
    File::open(directory)?.sync_all()
}

/// The same for what is only to be looked at: whole for whoever opens it, but not waited for until storage has it. After a
/// power failure it may be the old one, or empty.
///
/// # Errors
/// As the system gives them; the old file is then untouched.
pub fn show(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    put(path, contents, mode, false).map(drop)
}

/// Answers with the directory that it is in.
fn put(path: &Path, contents: &[u8], mode: u32, sync: bool) -> io::Result<PathBuf> {
    let (directory, draft) = draft_of(path)?;
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let written = write_new(&draft, contents, mode, sync).and_then(|()| fs::rename(&draft, path));
    if let Err(e) = written {
        // What is left of it may hold a secret; that it can't be removed would not be news.
        let _ = fs::remove_file(&draft);
        return Err(e);
    }
    Ok(directory)
}

fn draft_of(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(".new");
    Ok((directory.to_owned(), directory.join(draft)))
}

fn write_new(path: &Path, contents: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits that are wanted; it can't have added any.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    if sync { file.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// A directory of its own for a test; removed when it ends well.
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("edgerotate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn the_mode_is_exact_and_nothing_is_left_beside_it() {
        let directory = scratch("atomic-mode");
        let path = directory.join("file");
        fs::write(&path, "old").unwrap();
        fs::write(directory.join(".file.new"), "left by a crash").unwrap();
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_draft() {
        let directory = scratch("atomic-failure");
        let path = directory.join("file");
        // A directory that is not empty can't be replaced by a file.
        fs::create_dir_all(path.join("inside")).unwrap();
        assert!(replace(&path, b"new", 0o600).is_err());
        assert!(path.join("inside").is_dir());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
