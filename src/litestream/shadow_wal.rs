//! How far Litestream 0.3 has read: its copy of the WAL beside the database, the shadow WAL.
//!
//! `generation` names the generation, and `generations/NAME/wal/INDEX.wal` holds what was read of
//! each WAL, header and all: the salts are in bytes 16 to 23 of it, and its length is the position.
//! Each WAL has a file of its own. A new generation begins with a copy of the whole database.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::place::{Places, ServicePlace, directory};
use crate::core::guard::look::Salts;

const HEADER: usize = 32;

/// The directory of one database.
#[derive(Debug)]
pub struct ShadowWal(PathBuf);

impl ShadowWal {
    pub fn of(database: &Path) -> Self {
        Self(directory(database))
    }

    /// What it tells; `None` where nothing was read yet.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn look(&self) -> io::Result<Option<Places>> {
        let generation = fs::read_to_string(self.0.join("generation"))?;
        let directory = self.0.join("generations").join(generation.trim()).join("wal");
        let mut newest = None;
        for entry in fs::read_dir(&directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            newest = newest.max(index(&name).map(|index| (index, name)));
        }
        let Some((serial, name)) = newest else { return Ok(None) };
        let file = File::open(directory.join(name))?;
        let mut header = [0; HEADER];
        match file.read_exact_at(&mut header, 0) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let word = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let newest = ServicePlace {
            serial,
            salts: Salts(word(16), word(20)),
            end: file.metadata()?.len(),
            whole: serial == 0,
        };
        let changed = file.metadata()?.modified()?;
        Ok(Some(Places { newest, whole: newest.whole, before: None, changed }))
    }
}

/// `0000002a.wal`, in hexadecimal.
fn index(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(".wal")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a shadow WAL of 0.3.13.
    const CAPTURED: [u8; HEADER] = [
        0x37, 0x7f, 0x06, 0x82, 0x00, 0x2d, 0xe2, 0x18, 0x00, 0x00, 0x10, 0x00, 0, 0, 0, 0, 0x50,
        0x45, 0x57, 0x85, 0xd9, 0x80, 0x5e, 0x9f, 0x5a, 0x3e, 0x48, 0x63, 0xb1, 0x84, 0xa0, 0xe1,
    ];

    #[test]
    fn reads_what_litestream_wrote() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-shadow-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let shadow = ShadowWal::of(&directory.join("a.db"));
        assert_eq!(shadow.look().unwrap_err().kind(), ErrorKind::NotFound);
        let wal = directory.join(".a.db-litestream/generations/da497d60089fffb5/wal");
        fs::create_dir_all(&wal).unwrap();
        let generation = directory.join(".a.db-litestream/generation");
        fs::write(generation, "da497d60089fffb5\n").unwrap();
        assert!(shadow.look().unwrap().is_none());
        for (name, frames) in [("00000000.wal", 42), ("0000000a.wal", 3)] {
            let mut text = CAPTURED.to_vec();
            text.resize(HEADER + frames * 4120, 0);
            fs::write(wal.join(name), text).unwrap();
            let newest = shadow.look().unwrap().unwrap().newest;
            assert_eq!(newest.salts, Salts(0x5045_5785, 0xd980_5e9f));
            assert_eq!(newest.end, 32 + 4120 * frames as u64);
            assert_eq!((newest.serial, newest.whole), index_and_whole(name));
        }
        fs::remove_dir_all(directory).unwrap();
    }

    fn index_and_whole(name: &str) -> (u64, bool) {
        let index = index(name).unwrap();
        (index, index == 0)
    }
}
