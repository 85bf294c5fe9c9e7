//! Everything that must not be seen, and the search for it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::Device;

/// The values that only certain files may hold.
#[derive(Default)]
pub struct Secrets {
    values: BTreeSet<String>,
}

impl Secrets {
    /// The PIN, and what the cloud has issued so far.
    pub fn of(device: &Device) -> Self {
        let mut secrets = Self::default();
        secrets.add(device.token.pin());
        secrets.observe(device);
        secrets
    }

    pub fn add(&mut self, value: &str) {
        assert!(value.len() >= 8, "too short to be searched for");
        self.values.insert(value.to_owned());
    }

    /// Takes in what has been issued since.
    pub fn observe(&mut self, device: &Device) {
        for issued in device.cloud.issued() {
            self.add(&issued.secret_access_key);
            self.add(&issued.session_token);
        }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn assert_none_in(&self, place: &str, bytes: &[u8]) {
        for value in &self.values {
            let found = bytes.windows(value.len()).any(|window| window == value.as_bytes());
            // The value itself is not printed: this output may be kept somewhere.
            assert!(!found, "a secret of {} characters is in {place}", value.len());
        }
    }

    /// Searches every file below `directory` but those below `except`.
    pub fn assert_none_below(&self, directory: &Path, except: &[&Path]) {
        for path in files_below(directory) {
            if !except.iter().any(|e| path.starts_with(e)) {
                let bytes = fs::read(&path).unwrap_or_default();
                self.assert_none_in(&path.display().to_string(), &bytes);
            }
        }
    }

    /// Which files below `directory` hold a secret.
    pub fn holders_below(&self, directory: &Path) -> Vec<PathBuf> {
        let holds = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            self.values.iter().any(|v| bytes.windows(v.len()).any(|window| window == v.as_bytes()))
        };
        files_below(directory).into_iter().filter(holds).collect()
    }
}

/// The permission bits of a file.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode()
        & 0o7777
}

/// Regular files only: a pipe or socket would be waited for.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}
