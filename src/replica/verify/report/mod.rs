//! The verdict, and its words for a person.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{comparison::Comparison, database::DatabasesRead, lag::LagClocks, tables::Tables};
use crate::{
    core::{size::size, span::span},
    problems::exit_code::{AWAY, DATA},
};

/// More ranges than this are counted, not listed: a person reads no further.
const RANGES_SHOWN: usize = 8;

/// Why a mark stays.
pub const NOT_WHOLE: &str = "not all of the database was found whole";

/// The same. A hole may be in what is to come: what Litestream makes of its next start is not known
/// yet.
const NOT_NEWEST: &str = "the newest rows are not in the replica yet; verify again once Litestream \
 runs and has uploaded";

/// What `edgerotate verify` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatVerdict {
    Whole,
    RowsMissing,
    /// Rows that this database never had: two devices share a path, or litestream.yml names
    /// another's.
    OtherDatabase,
    Damaged,
    Behind,
    TooEarly,
}

/// All that was found of one database.
#[derive(Clone, Debug)]
pub struct HeartbeatReport {
    pub database: PathBuf,
    /// Databases that this says nothing about.
    pub not_proven: Vec<PathBuf>,
    /// Databases that are guarded, but that litestream.yml does not name.
    pub not_replicated: Vec<PathBuf>,
    pub litestream: String,
    pub max_lag: Duration,
    pub found: HeartbeatFound,
    /// What became of the mark that the replica may lack rows.
    pub suspect: MarkOutcome,
}

/// The daemon's mark that a replica may lack rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkOutcome {
    None,
    TakenBack,
    /// And why.
    Stays(String),
}

/// How far it got.
#[derive(Clone, Debug)]
pub enum HeartbeatFound {
    NoHeartbeat,
    NoReplica { rows: u64, lag: Duration },
    Restored(Box<HeartbeatRestored>),
}

/// A replica that was restored.
#[derive(Clone, Debug)]
pub struct HeartbeatRestored {
    pub bytes: u64,
    pub took: Duration,
    pub integrity: String,
    pub comparison: Comparison,
    /// How long the oldest row that was there before the restore, and is not in the replica, has
    /// waited.
    pub lag: Duration,
    pub tables: Tables,
    /// Whether what is in doubt of other tables was looked for again, after the replica had moved
    /// on.
    pub is_sure: bool,
    /// Whether all that was there before the first restore is in the replica.
    pub has_newest: bool,
}

impl HeartbeatVerdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::RowsMissing => "rows-missing",
            Self::OtherDatabase => "other-database",
            Self::Damaged => "damaged",
            Self::Behind => "behind",
            Self::TooEarly => "too-early",
        }
    }

    pub fn exit_code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::RowsMissing | Self::OtherDatabase | Self::Damaged => DATA,
            Self::Behind | Self::TooEarly => AWAY,
        }
    }
}

impl HeartbeatReport {
    pub fn verdict(&self) -> HeartbeatVerdict {
        match &self.found {
            HeartbeatFound::NoHeartbeat => HeartbeatVerdict::TooEarly,
            HeartbeatFound::NoReplica { lag, .. } if *lag > self.max_lag => {
                HeartbeatVerdict::Behind
            }
            HeartbeatFound::NoReplica { .. } => HeartbeatVerdict::TooEarly,
            HeartbeatFound::Restored(restored) => restored.verdict(self.max_lag),
        }
    }

    /// Whether every table was compared, and nothing is missing: then the replica is not suspect
    /// any more. Else why not.
    pub fn proven(&self) -> Result<(), String> {
        match &self.found {
            HeartbeatFound::Restored(restored) if self.verdict() == HeartbeatVerdict::Whole => {
                if !restored.has_newest {
                    return Err(NOT_NEWEST.to_owned());
                }
                restored.tables.unproven().map_or(Ok(()), Err)
            }
            _ => Err(NOT_WHOLE.to_owned()),
        }
    }

    /// The first line: the verdict and its figures.
    pub fn summary(&self) -> String {
        let limit = format!("EDGEROTATE_VERIFY_MAX_LAG is {}", span(self.max_lag));
        match (&self.found, self.verdict()) {
            (HeartbeatFound::NoHeartbeat, _) => {
                "too early to tell: there is no heartbeat yet".to_owned()
            }
            (HeartbeatFound::NoReplica { rows, lag }, HeartbeatVerdict::Behind) => format!(
                "behind: there is no replica, and {} waited for {} ({limit})",
                heartbeats(*rows),
                span(*lag)
            ),
            (HeartbeatFound::NoReplica { rows, .. }, _) => {
                format!("too early to tell: there is no replica yet of {}", heartbeats(*rows))
            }
            (HeartbeatFound::Restored(restored), verdict) => restored.summary(verdict, &limit),
        }
    }

    /// What to do; nothing where all is well.
    pub fn remedy(&self) -> Option<String> {
        match self.verdict() {
            HeartbeatVerdict::Whole => None,
            HeartbeatVerdict::RowsMissing | HeartbeatVerdict::Damaged => {
                Some(new_snapshot(&self.litestream, &self.database))
            }
            HeartbeatVerdict::OtherDatabase => Some(
                "see that no other device replicates to this path (EDGEROTATE_THING_NAME in \
                 litestream.yml's path)"
                    .to_owned(),
            ),
            HeartbeatVerdict::Behind => Some(
                "see that Litestream runs, and what its log says; then verify again".to_owned(),
            ),
            HeartbeatVerdict::TooEarly => Some(
                "wait for heartbeats and uploads, then verify \
             again"
                    .to_owned(),
            ),
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.summary());
        let mut line = |name: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "  {name:<13} {value}");
        };
        line("database", &self.database.display().to_string());
        if let HeartbeatFound::Restored(restored) = &self.found {
            restored.lines(&mut line);
        }
        line("litestream", &self.litestream);
        if let Some(words) = suspect_line(&self.suspect) {
            line("suspect", &words);
        }
        let shown = |paths: &[PathBuf]| {
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        };
        if !self.not_proven.is_empty() {
            line("not looked at", &shown(&self.not_proven));
        }
        if !self.not_replicated.is_empty() {
            let paths = shown(&self.not_replicated);
            let why = "in EDGEROTATE_GUARD_DATABASES, but not in litestream.yml";
            line("no replica", &format!("{paths} ({why})"));
        }
        if let Some(remedy) = self.remedy() {
            line("what to do", &remedy);
        }
        text
    }
}

impl HeartbeatRestored {
    /// From how long it took, its size, and what was read; the clocks are as they were before.
    pub fn new((took, bytes, read): (Duration, u64, DatabasesRead), now: LagClocks) -> Self {
        Self {
            bytes,
            took,
            integrity: read.integrity,
            comparison: read.comparison,
            lag: read.waiting.until(now),
            is_sure: !read.tables.is_in_doubt(),
            has_newest: read.has_newest,
            tables: read.tables,
        }
    }

    /// Whether another restore would tell more: all that is in doubt are other tables.
    pub fn is_in_doubt(&self) -> bool {
        self.is_sound() && !self.is_sure
    }

    /// Whether another restore would tell more of a replica in which nothing is wrong so far: it
    /// has not all yet.
    pub fn waits_for_newest(&self) -> bool {
        self.is_sound() && !self.has_newest
    }

    fn is_sound(&self) -> bool {
        let found = &self.comparison;
        self.integrity == "ok" && found.missing.is_empty() && found.foreign.is_empty()
    }

    /// What a later restore makes of the doubt; `newest` is the newest heartbeat when it arose.
    pub fn again(&self, later: Self, newest: Option<i64>) -> Self {
        let found = &later.comparison;
        let restored = found.restored.map(|(_, last)| last);
        let tables = later.tables.clone().still_in_doubt(&self.tables);
        // A replica with a heartbeat that is newer than the doubt has all that was there before it.
        // Where heartbeats have stopped, the last one must do for rows between others; what only
        // differs may wait for its upload.
        let have_stopped = restored == newest && found.newest_live == newest;
        let is_settled = restored > newest || (have_stopped && tables.lack_only_rows());
        let is_sure = !tables.is_in_doubt() || (is_settled && tables.lack_something());
        Self { is_sure, tables, ..later }
    }

    fn verdict(&self, max_lag: Duration) -> HeartbeatVerdict {
        let found = &self.comparison;
        if self.integrity != "ok" {
            HeartbeatVerdict::Damaged
        } else if !found.foreign.is_empty() {
            HeartbeatVerdict::OtherDatabase
        } else if !found.missing.is_empty() || (self.is_sure && self.tables.is_in_doubt()) {
            HeartbeatVerdict::RowsMissing
        } else if self.lag > max_lag {
            HeartbeatVerdict::Behind
        } else if found.live_rows == found.newer || !self.is_sure {
            HeartbeatVerdict::TooEarly
        } else {
            HeartbeatVerdict::Whole
        }
    }

    fn summary(&self, verdict: HeartbeatVerdict, limit: &str) -> String {
        let found = &self.comparison;
        let asked = found.live_rows - found.newer;
        match verdict {
            HeartbeatVerdict::Whole => {
                let last = found.restored.map_or(0, |(_, last)| last);
                format!(
                    "whole: {}, up to id {last}, none missing in the replica",
                    heartbeats(asked)
                )
            }
            HeartbeatVerdict::RowsMissing if found.missing.is_empty() => {
                format!(
                    "ROWS MISSING: every heartbeat is in the replica, and not {}",
                    gaps(&self.tables).join("; ")
                )
            }
            HeartbeatVerdict::RowsMissing => format!(
                "ROWS MISSING: {} of {asked} heartbeats are not in the replica: {}",
                found.missing.ids,
                found.missing.shown(RANGES_SHOWN)
            ),
            HeartbeatVerdict::OtherDatabase => format!(
                "ANOTHER DATABASE'S REPLICA: it has {} that this database does not have: {}",
                heartbeats(found.foreign.ids),
                found.foreign.shown(RANGES_SHOWN)
            ),
            HeartbeatVerdict::Damaged => {
                format!("DAMAGED: the restored database is not sound: {}", self.integrity)
            }
            HeartbeatVerdict::Behind => format!(
                "behind: {} not in the replica yet, the oldest for {} ({limit})",
                heartbeats(found.newer),
                span(self.lag)
            ),
            HeartbeatVerdict::TooEarly if self.tables.are_unsure() => format!(
                "too early to tell: more is written between two restores than can be remembered, \
                 and the replica does \
                 not have {}",
                gaps(&self.tables).join("; ")
            ),
            HeartbeatVerdict::TooEarly if !self.is_sure => format!(
                "too early to tell: the replica has not moved on, and does not have {}",
                gaps(&self.tables).join("; ")
            ),
            HeartbeatVerdict::TooEarly => format!(
                "too early to tell: the replica has none of the {} yet",
                heartbeats(found.live_rows)
            ),
        }
    }

    fn lines(&self, line: &mut impl FnMut(&str, &str)) {
        let found = &self.comparison;
        let seconds = self.took.as_secs_f32();
        let ids =
            found.restored.map_or(String::new(), |(first, last)| format!(", ids {first}-{last}"));
        let size = size(self.bytes);
        let rows = heartbeats(found.restored_rows);
        line("restored", &format!("{rows}{ids}; {size} in {seconds:.1} s"));
        line("integrity", &self.integrity);
        if self.integrity == "ok" {
            let newer = match found.newer {
                0 => "none".to_owned(),
                newer => format!("{newer}, the oldest waits for {}", span(self.lag)),
            };
            line("newer rows", &newer);
            let tables = &self.tables;
            if tables.is_in_doubt() {
                line("other tables", &gaps(tables).join("; "));
            } else if !tables.compared.is_empty() {
                line("other tables", &format!("nothing missing in {}", tables.names()));
            }
            if !tables.not_compared.is_empty() {
                line("not compared", &tables.not_compared.join(", "));
            }
        }
    }
}

impl MarkOutcome {
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "no",
            Self::TakenBack => "taken-back",
            Self::Stays(_) => "stays",
        }
    }
}

/// What became of the mark, where there was one.
pub fn suspect_line(mark: &MarkOutcome) -> Option<String> {
    match mark {
        MarkOutcome::None => None,
        MarkOutcome::TakenBack => Some("it was; the mark is taken back".to_owned()),
        MarkOutcome::Stays(why) => Some(format!("the mark stays: {why}")),
    }
}

pub fn new_snapshot(litestream: &str, database: &Path) -> String {
    if litestream.starts_with("0.3.") {
        let name = database.file_name().unwrap_or_default().to_string_lossy();
        let metadata = database.with_file_name(format!(".{name}-litestream"));
        format!(
            "stop Litestream, remove {}, start it (it uploads a new snapshot), and verify again",
            metadata.display()
        )
    } else {
        "stop Litestream, run `litestream replicate -once -force-snapshot` as its unit would, \
         start it, and verify \
         again"
            .to_owned()
    }
}

/// What the replica lacks, such as `3 rows of samples: 7-9`.
pub fn gaps(tables: &Tables) -> Vec<String> {
    let mut gaps = Vec::new();
    for table in &tables.compared {
        let name = &table.name;
        if table.is_absent {
            gaps.push(format!("the table {name} as it is here"));
        }
        let missing = &table.missing;
        if !missing.is_empty() {
            gaps.push(format!("{} of {name}: {}", rows(missing.ids), missing.shown(RANGES_SHOWN)));
        }
        let differing = &table.differing;
        if differing.rows > 0 {
            let which = match table.is_keyed {
                // Their keys are the application's, and may be anything.
                true => String::new(),
                false => format!(": {}", differing.ranges().shown(RANGES_SHOWN)),
            };
            gaps.push(format!("the content of {} of {name}{which}", rows(differing.rows)));
        }
    }
    gaps
}

pub fn rows(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

fn heartbeats(rows: u64) -> String {
    if rows == 1 { "1 heartbeat".to_owned() } else { format!("{rows} heartbeats") }
}

#[cfg(test)]
mod tests;
