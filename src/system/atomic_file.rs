//! Files that are whole at every moment.

use std::{
    ffi::{OsStr, OsString},
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::Path,
};

use nix::unistd::geteuid;

use crate::system::directory::Directory;

/// Whose a new file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileOwner {
    Writer,
    OfDirectory,
}

/// Replaces the file at `path` by one with these `contents` and this `mode`.
///
/// Whoever opens `path`, at any moment and after any crash, finds the whole old file or the whole
/// new one; and the contents are never in a file with wider rights than `mode`. Once this has
/// returned, the new file survives a power failure (where the file system is not a tmpfs).
///
/// The new file is written beside the old one under a fixed name of its own, so a crash leaves at
/// most one leftover, which the next call removes. One writer at a time: the instance's lock sees
/// to that.
///
/// # Errors
/// As the system gives them; the old file is then untouched.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let directory = put(path, contents, mode, true, FileOwner::Writer)?;
    // The rename is in the directory.
    directory.sync()
}

/// The same, with the directory's owner as the file's: root does not take the file from whose
/// directory it is. The owner is given on the draft's descriptor, before it has its name: no other
/// file can be given away in its place.
///
/// # Errors
/// As for [`replace`]; also where this user may not give files away.
pub fn replace_for_owner(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    put(path, contents, mode, true, FileOwner::OfDirectory)?.sync()
}

/// The same for what is only to be looked at: whole for whoever opens it, but not waited for until
/// storage has it. After a power failure it may be the old one, or empty.
///
/// # Errors
/// As the system gives them; the old file is then untouched.
pub fn show(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    put(path, contents, mode, false, FileOwner::Writer).map(drop)
}

/// Answers with the directory that it is in.
fn put(
    path: &Path,
    contents: &[u8],
    mode: u32,
    sync: bool,
    owner: FileOwner,
) -> io::Result<Directory> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let directory = Directory::open(directory)?;
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(".new");
    directory.remove_file(&draft)?;
    let written = write_new(&directory, &draft, contents, mode, sync, owner)
        .and_then(|()| directory.rename(&draft, name));
    if let Err(e) = written {
        // What is left of it may hold a secret; that it can't be removed would not be news.
        let _ = directory.remove_file(&draft);
        return Err(e);
    }
    Ok(directory)
}

fn write_new(
    directory: &Directory,
    draft: &OsStr,
    contents: &[u8],
    mode: u32,
    sync: bool,
    owner: FileOwner,
) -> io::Result<()> {
    let mut file = directory.make_file(draft, mode)?;
    // Nobody else could give it away, nor has to: what another user makes there is that user's.
    if owner == FileOwner::OfDirectory && geteuid().is_root() {
        let (own, wanted) = (file.metadata()?, directory.metadata()?);
        if own.uid() != wanted.uid() {
            fchown(&file, Some(wanted.uid()), Some(wanted.gid()))?;
        }
    }
    // The umask may have taken bits that are wanted; it can't have added any.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    if sync { file.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::PathBuf};

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
    #[test]
    fn a_link_in_the_drafts_place_or_the_files_goes_itself() {
        let directory = scratch("atomic-link");
        fs::write(directory.join("elsewhere"), "somebody's").unwrap();
        for name in ["file", ".file.new"] {
            symlink(directory.join("elsewhere"), directory.join(name)).unwrap();
        }
        replace_for_owner(&directory.join("file"), b"new", 0o600).unwrap();
        assert_eq!(fs::read(directory.join("elsewhere")).unwrap(), b"somebody's");
        assert!(fs::symlink_metadata(directory.join("file")).unwrap().is_file());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn root_leaves_a_file_to_whose_directory_it_is() {
        if !geteuid().is_root() {
            return;
        }
        let directory = scratch("atomic-owner");
        std::os::unix::fs::chown(&directory, Some(65534), Some(65534)).unwrap();
        replace_for_owner(&directory.join("theirs"), b"", 0o600).unwrap();
        replace(&directory.join("roots"), b"", 0o600).unwrap();
        let owner = |name| fs::metadata(directory.join(name)).unwrap().uid();
        assert_eq!((owner("theirs"), owner("roots")), (65534, 0));
        fs::remove_dir_all(directory).unwrap();
    }
}
