//! How soon a database is looked at again.

use std::time::Duration;

use super::{
    look::{Awake, Wal},
    steps::Keeper,
};

/// Around a restart.
const CLOSELY: Duration = Duration::from_millis(100);

/// For so long after Litestream was seen to change.
pub const SOON: Duration = Duration::from_secs(30);

/// While the guard is held for long, and in a busy database.
const OFTEN: Duration = Duration::from_secs(1);

/// While Litestream keeps the WAL of a quiet database: what changes wakes the thread before.
const RARELY: Duration = Duration::from_secs(10);

/// Bytes a second above which a database is busy: the traces of a WAL that began anew are
/// overwritten soon.
const BUSY: u64 = 64 * 1024;

/// How fast the WAL grew between the last two looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    last: Option<(u64, Awake)>,
    is_busy: bool,
}

impl Pace {
    pub fn saw(&mut self, wal: Option<&Wal>, now: Awake) {
        let end = wal.map_or(0, |wal| wal.end);
        if let Some((before, at)) = self.last {
            // A WAL that began anew has grown by all that it holds.
            let grown = if end < before { end } else { end - before };
            let time = u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX).max(1);
            self.is_busy = grown.saturating_mul(1000) / time >= BUSY;
        }
        self.last = Some((end, now));
    }

    pub fn next(&self, keeper: Keeper, is_awaited: bool) -> Duration {
        match keeper {
            Keeper::Litestream if self.is_busy => OFTEN,
            Keeper::Litestream => RARELY,
            _ if is_awaited => CLOSELY,
            _ => OFTEN,
        }
    }
}
