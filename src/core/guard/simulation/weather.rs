//! What goes wrong, and how often.

use super::{HOUR, Happens, MINUTE, S3, SECOND};
use crate::core::{backoff::Random, guard::look::Notes};

/// How an application writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// A row each half minute or so.
    Rare,
    Calm,
    /// Some rows each half second.
    Steps,
    /// Nothing for long, then much.
    Bursts,
}

impl Writes {
    /// How many rows now, and how many milliseconds until the next.
    pub fn next(self, random: &mut Random) -> (u64, u64) {
        let draw = random.next_u64();
        match self {
            Self::Rare => (1, 30 * SECOND + draw % MINUTE),
            Self::Calm => (1 + draw % 3, SECOND + draw % (10 * SECOND)),
            Self::Steps => (1 + draw % 6, SECOND + draw % (2 * SECOND)),
            Self::Bursts if draw % 20 == 0 => (50 + draw % 1500, SECOND + draw % (30 * SECOND)),
            Self::Bursts => (draw % 3, SECOND + draw % (20 * SECOND)),
        }
    }
}

/// Each `every` is in milliseconds; 0: never.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub notes: Notes,
    pub has_barrier: bool,
    pub writes: Writes,
    /// How often a write is followed by a PASSIVE checkpoint and a few more rows.
    pub checkpoints: f64,
    /// How often an application writes in the middle of Litestream's own checkpoint.
    pub interferes: f64,
    pub rotations: u64,
    pub trouble: Option<S3>,
    pub trouble_every: u64,
    pub trouble_lasts: u64,
    pub kills: u64,
    pub daemon_dies: u64,
    pub suspends: u64,
    pub socket: u64,
    pub deletes: u64,
    pub truncates: u64,
    pub readers: u64,
    /// The application's readers count as Litestream's (`exec:`).
    pub executes: bool,
    /// How often a guard can't be had.
    pub not_taken: f64,
    /// Litestream's position can't be read.
    pub blind: bool,
    /// How late the daemon's thread may be, in milliseconds.
    pub late: u64,
    /// EDGEROTATE_GUARD_MAX_WAL, in frames.
    pub limit: usize,
    /// Nothing in it is a reason for a mark.
    pub spares: bool,
}

/// Rotations each hour, an application that writes a little and checkpoints, and nothing wrong.
pub const QUIET: Weather = Weather {
    notes: Notes::Ltx,
    has_barrier: true,
    writes: Writes::Rare,
    checkpoints: 0.1,
    interferes: 0.05,
    rotations: HOUR,
    trouble: None,
    trouble_every: 0,
    trouble_lasts: 0,
    kills: 0,
    daemon_dies: 0,
    suspends: 0,
    socket: 0,
    deletes: 0,
    truncates: 0,
    readers: 0,
    executes: false,
    not_taken: 0.0,
    blind: false,
    late: 50,
    limit: 16_000,
    spares: true,
};

/// Rotations each few minutes, and small steps with a checkpoint in each.
pub const BUSY: Weather = Weather {
    writes: Writes::Steps,
    checkpoints: 0.5,
    rotations: 5 * MINUTE,
    readers: 20 * SECOND,
    spares: false,
    ..QUIET
};

impl Weather {
    /// The same with nothing that goes wrong.
    pub fn calm(&self) -> Self {
        Self {
            notes: self.notes,
            has_barrier: self.has_barrier,
            executes: self.executes,
            blind: self.blind,
            limit: self.limit,
            checkpoints: 0.0,
            rotations: 0,
            ..QUIET
        }
    }

    /// What happens again and again.
    pub fn happens(&self) -> Vec<(u64, Happens)> {
        let trouble = self.trouble.unwrap_or(S3::Fine);
        let all = [
            (self.rotations, Happens::Rotation),
            (self.trouble_every, Happens::S3Becomes(trouble)),
            (self.kills, Happens::Kill),
            (self.daemon_dies, Happens::DaemonDies),
            (self.suspends, Happens::Suspend),
            (self.socket, Happens::SocketStops),
            (self.deletes, Happens::NotesDeleted),
            (self.truncates, Happens::Truncate),
            (self.readers, Happens::ReaderBegins),
        ];
        all.into_iter().filter(|(every, _)| *every > 0).collect()
    }
}
