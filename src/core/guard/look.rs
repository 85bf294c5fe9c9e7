//! What one look at a database finds, as plain values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time on a clock that stands still while the device sleeps (CLOCK_MONOTONIC), since boot.
///
/// A suspend is no time in which Litestream could have done anything.
pub type Awake = Duration;

/// Device and inode of a file: a restore puts another file in its place.
pub type OpenFile = (u64, u64);

/// The two salts in the header of a WAL (SQLite's fileformat2.html, 4.1). Each time the WAL begins
/// anew, the first grows by one and the second is drawn anew, so that they name one run of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salts(pub u32, pub u32);

impl Salts {
    /// Whether the WAL with `self` came straight after the one with `earlier`.
    pub fn follow(self, earlier: Self) -> bool {
        self.0 == earlier.0.wrapping_add(1)
    }
}

/// The WAL of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wal {
    /// `None`: the file is empty, as after a TRUNCATE checkpoint.
    pub salts: Option<Salts>,
    /// Where the last committed frame ends, in bytes from the start of the file.
    pub end: u64,
    /// All of it was copied into the database: the next write begins it anew, unless somebody pins
    /// it.
    pub copied: bool,
    /// SQLite's count of transactions (`iChange` in the header of the WAL index); it goes on when
    /// the WAL begins anew.
    pub changes: u32,
    /// How many of them are in this WAL, where that was counted.
    pub commits: Option<u32>,
}

/// How a process reads a database in WAL mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slot {
    /// From the database alone; it pins nothing, but nothing more is copied while it is held.
    Zero,
    /// It needs the WAL, and keeps it from being begun anew.
    Pins,
}

/// Which generation of Litestream left its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notes {
    /// 0.5: level-0 LTX files.
    Ltx,
    /// 0.3: a copy of the WAL, the shadow WAL.
    Shadow,
}

/// How far Litestream has read, as it left it beside the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    pub notes: Notes,
    /// Grows with each thing that was read: the transaction (0.5), or the number of the shadow WAL
    /// (0.3).
    pub serial: u64,
    pub salts: Salts,
    /// Up to where, in bytes from the start of the WAL with these salts.
    pub end: u64,
    /// Since this WAL began, Litestream copied the whole database (0.5: a transaction that has
    /// every page; 0.3: a new generation). Whatever was missing before is in that copy.
    pub whole: bool,
    /// How far it had read the WAL before this one, if that is still known.
    pub before: Option<Before>,
}

/// The end of what was read of an earlier WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub salts: Salts,
    pub end: u64,
    pub tail: Tail,
}

/// What follows, in the file of the WAL, on what was read of a WAL that has begun anew since. Its
/// frames stay where they are until they are overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tail {
    /// Nothing that was committed: all of it had been read.
    Read,
    /// Committed frames that were not read.
    Unread,
    /// It was overwritten or cut off; nothing can be told.
    Gone,
}

/// What Litestream left beside the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// It can't be read, or Litestream keeps it elsewhere.
    Unknown,
    /// There is none: it has read nothing yet, or its directory was deleted.
    Nothing,
    Read(Read),
}

impl Position {
    pub fn read(&self) -> Option<&Read> {
        match self {
            Self::Read(read) => Some(read),
            Self::Unknown | Self::Nothing => None,
        }
    }
}

/// Whether Litestream runs; the number tells one start from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LitestreamRun {
    /// That can't be seen here.
    Unseen,
    Stopped,
    Running(u64),
}

/// A read lock of a process that is Litestream, or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderLock {
    pub pid: u32,
    pub slot: Slot,
}

/// All that one look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// `None`: there is no database.
    pub file: Option<OpenFile>,
    /// `None`: it can't be looked at.
    pub wal: Option<Wal>,
    pub position: Position,
    /// What follows on the position in a WAL that has begun anew since; meaningless where it has
    /// not.
    pub tail: Tail,
    /// The guard's own lock.
    pub own: Option<Slot>,
    pub run: LitestreamRun,
    pub lock: Option<ReaderLock>,
    /// Litestream took the database up at some time.
    pub was_replicated: bool,
}
