//! One look at a database: what its files, its locks and Litestream's notes say, put together.

use rusqlite::Connection;

use super::wal_file::{self, HEADER, Index};
use crate::{
    core::guard::look::{Position, Salts, Tail, Wal},
    litestream::{place::ServicePlace, position::Beside},
};

/// The files change while they are looked at; what is found has to be of one moment.
const TRIES: u32 = 5;

/// Transactions are counted in a WAL of so many frames at most, and only where nothing else tells.
const COUNTED: u32 = 4096;

/// The WAL, how far Litestream has read, and what follows on that in a WAL that began anew since.
pub struct LookFound {
    pub wal: Option<Wal>,
    pub position: Position,
    pub tail: Tail,
}

impl LookFound {
    /// Where nothing but Litestream's notes can be looked at.
    pub fn without_wal(beside: &mut Beside) -> Self {
        Self { wal: None, position: beside.position(|_| Tail::Gone), tail: Tail::Gone }
    }

    /// Looks until nothing changed meanwhile, or says that nothing is known.
    pub fn by(connection: &Connection, beside: &mut Beside) -> Self {
        for _ in 0..TRIES {
            let Some(before) = wal_file::index(connection) else { break };
            let position = look_beside(connection, beside, &before);
            let read = position.read();
            let tail =
                read.map_or(Tail::Gone, |read| tail(connection, &before, read.salts, read.end));
            let again = look_beside(connection, beside, &before);
            // Last: what Litestream has read is in it.
            let Some(index) = wal_file::index(connection) else { break };
            if place(&again) != place(&position) || index.salts != before.salts {
                continue;
            }
            let is_gone =
                read.and_then(|read| read.before).is_some_and(|before| before.tail == Tail::Gone);
            let wal = Wal {
                salts: (index.frames > 0).then_some(index.salts),
                end: index.end(),
                copied: index.copied >= index.frames,
                changes: index.changes,
                commits: if is_gone { commits(connection, &index) } else { None },
            };
            return Self { wal: Some(wal), position, tail };
        }
        Self::without_wal(beside)
    }
}

fn look_beside(connection: &Connection, beside: &mut Beside, index: &Index) -> Position {
    beside.position(|place: &ServicePlace| tail(connection, index, place.salts, place.end))
}

fn place(position: &Position) -> Option<(u64, u64)> {
    position.read().map(|read| (read.serial, read.end))
}

/// What follows on `end` in a WAL with these salts, which has begun anew since. The frame before
/// must still be there, or it was overwritten; and frames that follow count if a transaction was
/// committed with them.
fn tail(connection: &Connection, index: &Index, salts: Salts, end: u64) -> Tail {
    let size = index.frame();
    let Some(last) = end.checked_sub(size).filter(|at| *at >= HEADER) else { return Tail::Gone };
    if wal_file::frame(connection, last).is_none_or(|frame| frame.salts != salts) {
        return Tail::Gone;
    }
    // Cut off in the middle of a frame.
    if wal_file::length(connection).is_none_or(|length| length < end) {
        return Tail::Gone;
    }
    let mut at = end;
    while let Some(frame) = wal_file::frame(connection, at).filter(|frame| frame.salts == salts) {
        if frame.commits {
            return Tail::Unread;
        }
        at += size;
    }
    Tail::Read
}

/// How many transactions are in the WAL of now.
fn commits(connection: &Connection, index: &Index) -> Option<u32> {
    if index.frames > COUNTED {
        return None;
    }
    let mut commits = 0;
    for number in 0..index.frames {
        let frame = wal_file::frame(connection, HEADER + index.frame() * u64::from(number))?;
        if frame.salts != index.salts {
            return None;
        }
        commits += u32::from(frame.commits);
    }
    Some(commits)
}
