//! One thing that `status` finds.

use std::path::Path;

use super::times::Times;

use crate::{
    core::boottime::Boottime,
    problems::{finding::Level, kinds::Kind},
    record::Failing,
};

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusFinding {
    /// The name of a [`Kind`], or of a failure's cause.
    pub name: &'static str,
    /// 0: worth knowing, but nothing suffers.
    pub exit_code: u8,
    /// What it is, in one line.
    pub what: String,
    /// How often and since when.
    pub since: Option<String>,
    pub remedy: String,
}

impl StatusFinding {
    pub fn level(&self) -> Level {
        Level::of(self.exit_code)
    }

    pub(super) fn new(kind: Kind, detail: &str) -> Self {
        Self {
            name: kind.name(),
            exit_code: kind.exit_code(),
            what: join(kind.what(), detail),
            since: None,
            remedy: kind.remedy().to_owned(),
        }
    }

    /// Where the line says it all by itself.
    pub(super) fn line(kind: Kind, what: String) -> Self {
        Self { what, ..Self::new(kind, "") }
    }

    /// The file that the remedy is about.
    pub(super) fn about(mut self, path: &Path) -> Self {
        self.remedy = self.remedy.replace("FILE", &path.display().to_string());
        self
    }

    pub(super) fn since(mut self, since: String) -> Self {
        self.since = Some(since);
        self
    }

    pub(super) fn failing(kind: Kind, failing: &Failing, times: &Times) -> Self {
        Self::new(kind, &failing.what).since(row(
            failing.times,
            times,
            failing.since.at,
            failing.last.at,
        ))
    }
}

fn join(what: &str, detail: &str) -> String {
    if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") }
}

/// "12 times in a row since 13:02:11 (70 min ago); last at 14:10:11 (2 min ago)".
pub(super) fn row(count: u64, times: &Times, since: Boottime, last: Boottime) -> String {
    let (since, last) = (times.show(since.into()), times.show(last.into()));
    if count <= 1 {
        format!("at {since}")
    } else {
        format!("{count} times in a row since {since}; last at {last}")
    }
}
