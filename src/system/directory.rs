//! A directory by its descriptor: what is done in it is done there, whoever renames or replaces its
//! path meanwhile.
//!
//! Root's commands work in directories of users who may be hostile. A name there can become a
//! symbolic link between two calls; a descriptor stays what it is, and no call here follows a link
//! in the last part of a name.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// An open directory.
#[derive(Debug)]
pub struct Directory(File);

impl Directory {
    /// Opens it. Links are followed: whoever names the path in the settings may well name one.
    ///
    /// # Errors
    /// As the system gives them; the path may be no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(nix::fcntl::open(path, DIRECTORY, Mode::empty())?.into()))
    }

    /// Opens a directory in this one.
    ///
    /// # Errors
    /// As the system gives them: ENOTDIR or ELOOP for a symbolic link.
    pub fn open_below(&self, name: &OsStr) -> io::Result<Self> {
        let flags = DIRECTORY | OFlag::O_NOFOLLOW;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?.into()))
    }

    /// Makes a directory for this user alone, and opens it.
    ///
    /// # Errors
    /// As the system gives them: EEXIST where the name is taken.
    pub fn make_below(&self, name: &OsStr) -> io::Result<Self> {
        mkdirat(&self.0, name, Mode::S_IRWXU)?;
        self.open_below(name)
    }

    /// Makes a file that is not there yet and opens it for writing.
    ///
    /// # Errors
    /// As the system gives them: EEXIST where the name is taken, also by a symbolic link.
    pub fn make_file(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::from_bits_truncate(mode))?.into())
    }

    /// What is there under a name; none if nothing is.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn look(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Gives a name of this directory to what has another one in it, in one step.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a name that is no directory; one that is not there is no error.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        gone(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir))
    }

    /// Removes an empty directory; one that is not there is no error.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        gone(unlinkat(&self.0, name, UnlinkatFlags::RemoveDir))
    }

    /// Removes all that is in it, but for `kept`. A symbolic link goes itself, and not what it
    /// points to.
    ///
    /// # Errors
    /// As the system gives them; the rest stays.
    pub fn empty(&self, kept: &OsStr) -> io::Result<()> {
        for name in self.names()? {
            if name == kept {
                continue;
            }
            if self.look(&name)?.is_some_and(|found| is_directory(&found)) {
                self.open_below(&name)?.empty(OsStr::new(""))?;
                self.remove_directory(&name)?;
            } else {
                self.remove_file(&name)?;
            }
        }
        Ok(())
    }

    /// All names in it.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        // A descriptor of its own: where it is read to is shared by all copies of one.
        let again = openat(&self.0, ".", DIRECTORY, Mode::empty())?;
        let mut directory = Dir::from_fd(again)?;
        let names = directory.iter().map(|entry| {
            use std::os::unix::ffi::OsStrExt;
            Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned())
        });
        let names: io::Result<Vec<OsString>> = names.collect();
        Ok(names?.into_iter().filter(|name| name != "." && name != "..").collect())
    }

    /// Who owns it, and so on.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Waits until storage has what was renamed in it.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Another handle on the same directory, for a lock.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn handle(&self) -> io::Result<File> {
        Ok(openat(&self.0, ".", DIRECTORY, Mode::empty())?.into())
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether it is a directory itself, and no link to one.
pub fn is_directory(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

fn gone(removed: nix::Result<()>) -> io::Result<()> {
    match removed {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_link_is_never_followed() {
        let scratch = std::env::temp_dir().join(format!("edgerotate-dir-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        let elsewhere = scratch.join("elsewhere");
        fs::create_dir_all(elsewhere.join("deep")).unwrap();
        fs::write(elsewhere.join("deep/file"), "somebody's").unwrap();
        let own = scratch.join("own");
        fs::create_dir_all(own.join("real/deeper")).unwrap();
        fs::write(own.join("real/deeper/file"), "").unwrap();
        symlink(&elsewhere, own.join("link")).unwrap();
        symlink(&elsewhere, own.join("real/link")).unwrap();

        let directory = Directory::open(&own).unwrap();
        assert!(directory.open_below(OsStr::new("link")).is_err());
        assert!(directory.make_file(OsStr::new("link"), 0o600).is_err());
        assert!(directory.make_below(OsStr::new("link")).is_err());
        directory.empty(OsStr::new("")).unwrap();
        assert!(directory.names().unwrap().is_empty());
        assert_eq!(fs::read(elsewhere.join("deep/file")).unwrap(), b"somebody's");
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn it_stays_what_it_is_when_its_name_becomes_another_ones() {
        let scratch = std::env::temp_dir().join(format!("edgerotate-held-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(scratch.join("own")).unwrap();
        fs::create_dir_all(scratch.join("elsewhere")).unwrap();
        fs::write(scratch.join("elsewhere/file"), "somebody's").unwrap();
        let directory = Directory::open(&scratch.join("own")).unwrap();
        fs::rename(scratch.join("own"), scratch.join("moved")).unwrap();
        symlink(scratch.join("elsewhere"), scratch.join("own")).unwrap();
        directory.remove_file(OsStr::new("file")).unwrap();
        drop(directory.make_file(OsStr::new("made"), 0o600).unwrap());
        assert!(scratch.join("elsewhere/file").exists());
        assert!(scratch.join("moved/made").exists());
        fs::remove_dir_all(scratch).unwrap();
    }
}
