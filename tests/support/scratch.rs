//! A directory for one test, gone after success and kept after failure.

use std::{
    env, fs,
    ops::Deref,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

/// A directory of one's own below `$TMPDIR`.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// `name` is for the person who finds it. Short, because socket paths end at 107 bytes.
    pub fn new(name: &str) -> Self {
        Self::below(&env::temp_dir(), name)
    }

    /// The same below another directory.
    pub fn below(directory: &Path, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("edgerotate-{name}-{}-{number}", process::id()));
        // A leftover of a killed run that had the same process id.
        fs::remove_dir_all(&path).ok();
        fs::DirBuilder::new().mode(0o700).create(&path).expect("a scratch directory");
        Self { path: path.canonicalize().expect("a scratch directory") }
    }
}

impl Deref for Scratch {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking() || env::var_os("KEEP_SCRATCH").is_some() {
            eprintln!("kept for you to look at: {}", self.path.display());
        } else {
            fs::remove_dir_all(&self.path).ok();
        }
    }
}
