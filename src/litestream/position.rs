//! How far Litestream has read a database, whichever generation it is.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{
    ltx::LtxFiles,
    place::{Places, ServicePlace},
    shadow_wal::ShadowWal,
};
use crate::core::guard::look::{Before, Notes, Position, Read, Tail};

/// What Litestream leaves beside one database.
#[derive(Debug)]
pub struct Beside {
    ltx: LtxFiles,
    shadow: ShadowWal,
    /// Something was there: if it is gone, it was deleted, and is not kept elsewhere (`meta-path`).
    was_there: bool,
}

impl Beside {
    pub fn of(database: &Path) -> Self {
        Self { ltx: LtxFiles::of(database), shadow: ShadowWal::of(database), was_there: false }
    }

    /// Where the next note of 0.5 appears.
    pub fn directory(&self) -> &PathBuf {
        &self.ltx.directory
    }

    /// The position. `tail` looks at what follows in the WAL on a place in an earlier one.
    pub fn position(&mut self, tail: impl Fn(&ServicePlace) -> Tail) -> Position {
        let (ltx, shadow) = (self.ltx.look(), self.shadow.look());
        let is_hidden = [&ltx, &shadow].into_iter().any(is_hidden);
        let ltx = ltx.ok().flatten().map(|places| (Notes::Ltx, places));
        let shadow = shadow.ok().flatten().map(|places| (Notes::Shadow, places));
        let newest = ltx.into_iter().chain(shadow).max_by_key(|(_, places)| places.changed);
        match newest {
            Some((notes, places)) => {
                self.was_there = true;
                Position::Read(read(notes, &places, tail))
            }
            None if is_hidden || !self.was_there => Position::Unknown,
            None => Position::Nothing,
        }
    }
}

/// Whether something may be there that can't be read.
fn is_hidden(found: &io::Result<Option<Places>>) -> bool {
    found.as_ref().is_err_and(|e| e.kind() != ErrorKind::NotFound)
}

fn read(notes: Notes, places: &Places, tail: impl Fn(&ServicePlace) -> Tail) -> Read {
    let newest = &places.newest;
    let before = places.before.as_ref().map(|place| Before {
        salts: place.salts,
        end: place.end,
        tail: tail(place),
    });
    Read {
        notes,
        serial: newest.serial,
        salts: newest.salts,
        end: newest.end,
        whole: places.whole,
        before,
    }
}
