//! This boot's turn in the fleet, left to the next daemon: one that starts again must not wait
//! anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    core::{boottime::Boottime, own_files},
    system::atomic_file,
};

const MODE: u32 = 0o600;

#[derive(Serialize, Deserialize)]
struct TurnText {
    boot_id: String,
    at_ms: u64,
}

/// The file in the runtime directory.
pub struct TurnFile(PathBuf);

impl TurnFile {
    pub fn in_directory(directory: &Path) -> Self {
        Self(directory.join(own_files::TURN))
    }

    /// What was drawn in the boot `boot_id`. Of a file that can't be read nothing is known: a turn
    /// is drawn anew.
    pub fn load(&self, boot_id: &str) -> Option<Boottime> {
        let text: TurnText = serde_json::from_slice(&fs::read(&self.0).ok()?).ok()?;
        (text.boot_id == boot_id).then_some(Boottime::from_millis(text.at_ms))
    }

    /// # Errors
    /// As the file system gives them.
    pub fn save(&self, boot_id: &str, turn: Boottime) -> io::Result<()> {
        let text = TurnText { boot_id: boot_id.to_owned(), at_ms: turn.as_millis() };
        atomic_file::replace(&self.0, &serde_json::to_vec(&text)?, MODE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_counts_for_its_boot() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-turn-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = TurnFile::in_directory(&directory);
        assert_eq!(file.load("this-boot"), None);
        let turn = Boottime::from_millis(71_234);
        file.save("this-boot", turn).unwrap();
        assert_eq!(file.load("this-boot"), Some(turn));
        assert_eq!(file.load("another-boot"), None);
        fs::write(directory.join(own_files::TURN), "{").unwrap();
        assert_eq!(file.load("this-boot"), None);
        fs::remove_dir_all(directory).unwrap();
    }
}
