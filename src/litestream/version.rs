//! Which Litestream replicates, and whether it was another generation before.
//!
//! Each generation keeps notes of its own beside the database. One that comes back, after an update
//! and a rollback, finds the notes of long ago and may go on from there. So a change of generation
//! makes the replicas suspect. The version is asked of the program, and kept on the data partition,
//! where it outlives the image.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{core::own_files, litestream::run::Program, system::atomic_file};

const MODE: u32 = 0o600;

/// The program, and what is known of it.
#[derive(Debug)]
pub struct LitestreamVersion {
    program: PathBuf,
    kept: PathBuf,
    /// The program file when it was asked last: device, inode, time of change.
    asked: Option<Stamp>,
    /// What was found and is not kept yet.
    found: Option<(Stamp, String)>,
}

type Stamp = (u64, u64, i64);

impl LitestreamVersion {
    pub fn new(program: &Path, state_directory: &Path) -> Self {
        Self {
            program: program.to_owned(),
            kept: state_directory.join(own_files::LITESTREAM_VERSION),
            asked: None,
            found: None,
        }
    }

    /// Why the replicas are suspect, if the program is of another generation than the one before.
    /// It is asked only where its file has changed. To be followed by [`Self::keep`] once the
    /// replicas are marked: till then it is said again.
    pub async fn change(&mut self) -> Option<String> {
        let metadata = fs::metadata(&self.program).ok()?;
        let stamp = (metadata.dev(), metadata.ino(), metadata.ctime());
        if self.asked == Some(stamp) {
            return None;
        }
        let version = match Program::alone(&self.program).version(&[]).await {
            Ok(version) => version,
            Err(e) => {
                log::debug!("{} version: {e}", self.program.display());
                return None;
            }
        };
        let before = self.before();
        let why = of_another_generation(&before, &version);
        self.found = Some((stamp, version));
        why
    }

    /// Keeps what was found.
    pub fn keep(&mut self) {
        let Some((stamp, version)) = self.found.take() else { return };
        self.asked = Some(stamp);
        if self.before() == version {
            return;
        }
        if let Err(e) = atomic_file::replace(&self.kept, format!("{version}\n").as_bytes(), MODE) {
            log::warn!("{}: {e}; a change of Litestream may go unnoticed", self.kept.display());
        }
    }

    fn before(&self) -> String {
        fs::read_to_string(&self.kept).unwrap_or_default().trim().to_owned()
    }
}

/// "0.5" of "0.5.17": what is kept beside the database differs between these.
fn generation(version: &str) -> Option<&str> {
    let (second_dot, _) = version.match_indices('.').nth(1)?;
    let generation = &version[..second_dot];
    generation.chars().all(|c| c.is_ascii_digit() || c == '.').then_some(generation)
}

fn of_another_generation(before: &str, now: &str) -> Option<String> {
    let (old, new) = (generation(before)?, generation(now)?);
    (old != new).then(|| format!("Litestream {now} replicates, and before it was {before}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_said_until_it_is_kept() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-version-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let program = directory.join("litestream");
        fs::write(&program, "#!/bin/sh\necho v0.5.17\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(directory.join(own_files::LITESTREAM_VERSION), "0.3.13\n").unwrap();
        for _ in 0..2 {
            // Killed before it was marked.
            let mut version = LitestreamVersion::new(&program, &directory);
            assert!(version.change().await.is_some());
        }
        let mut version = LitestreamVersion::new(&program, &directory);
        assert!(version.change().await.is_some());
        version.keep();
        assert_eq!(version.change().await, None);
        let mut version = LitestreamVersion::new(&program, &directory);
        assert_eq!(version.change().await, None);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn tells_generations() {
        assert_eq!(generation("0.5.17"), Some("0.5"));
        assert_eq!(generation("0.3.13"), Some("0.3"));
        assert_eq!(generation("(development build)"), None);
        assert_eq!(of_another_generation("0.5.1", "0.5.17"), None);
        assert_eq!(of_another_generation("", "0.5.17"), None, "the first that is seen");
        let why = "Litestream 0.3.13 replicates, and before it was 0.5.17";
        assert_eq!(of_another_generation("0.5.17", "0.3.13").as_deref(), Some(why));
    }
}
