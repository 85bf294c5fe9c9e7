//! Which replicas may lack rows, and why. `replica::suspect` keeps it in a file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// More reasons than this for one database say nothing new, and the file must not grow for ever.
const REASONS: usize = 10;

/// Which replicas may lack rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    pub databases: BTreeMap<PathBuf, Vec<Reason>>,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// By the device's clock, which may be wrong.
    pub since: DateTime<Utc>,
    pub what: String,
    /// When it came again, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<DateTime<Utc>>,
}

impl Reason {
    pub fn new(what: &str, now: DateTime<Utc>) -> Self {
        Self { since: now, what: what.to_owned(), last: None }
    }
}

impl Suspect {
    /// One line for a person: which databases, and why first.
    pub fn summary(&self) -> Option<String> {
        let mut parts = self.databases.iter().filter_map(|(path, reasons)| {
            Some(format!("{} ({})", path.display(), reasons.first()?.what))
        });
        let first = parts.next()?;
        Some(parts.fold(first, |line, part| line + ", " + &part))
    }

    /// Whether it is news. What comes again is kept as well: a snapshot that was begun before does
    /// not mend it.
    pub fn add(&mut self, database: &Path, what: &str, now: DateTime<Utc>) -> bool {
        let reasons = self.databases.entry(database.to_owned()).or_default();
        if let Some(reason) = reasons.iter_mut().find(|reason| reason.what == what) {
            if now != reason.since {
                reason.last = Some(now);
            }
            return false;
        }
        reasons.truncate(REASONS - 1);
        reasons.push(Reason::new(what, now));
        true
    }

    /// Whether this very event is among the reasons.
    pub fn knows(&self, database: &Path, what: &str, at: DateTime<Utc>) -> bool {
        let mut reasons = self.databases.get(database).into_iter().flatten();
        reasons.any(|reason| reason.what == what && reason.last.unwrap_or(reason.since) == at)
    }
}

/// What mends a replica that may lack rows.
pub const REMEDY: &str = "a forced snapshot mends it: `edgerotate mend` makes one at Litestream's \
 next start, where its unit \
     runs that; else stop Litestream, and with its environment run `litestream replicate -once \
     -force-snapshot` (0.5), or \
     remove `.NAME-litestream` beside the database NAME (0.3), and start it; `edgerotate verify` \
     takes the mark back when it finds the replica whole";

/// What is left of the reasons where Litestream 0.3 was made to begin anew. It makes the snapshot
/// while it runs, and whether that came to S3 is not seen here.
pub const BEGUN: &str = "Litestream 0.3 begins a new generation; `edgerotate verify` clears the \
 mark once the replica is whole";

/// What a person is told of a mark that is new. `mends_itself`: whatever starts Litestream runs
/// `edgerotate mend`.
pub fn line(database: &Path, why: &str, mends_itself: bool) -> String {
    let remedy = if mends_itself {
        "a forced snapshot mends it when Litestream starts next"
    } else {
        REMEDY
    };
    format!("{}: its replica may lack rows: {why}; {remedy}", database.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_reasons_are_so_many_and_the_last_is_among_them() {
        let mut suspect = Suspect::default();
        let a = Path::new("/data/a.db");
        for second in 0..30 {
            assert!(suspect.add(a, &format!("reason {second}"), at(second)));
        }
        let whats: Vec<_> = suspect.databases[a].iter().map(|reason| &reason.what).collect();
        assert_eq!(
            (whats.len(), whats[0].as_str(), whats[9].as_str()),
            (10, "reason 0", "reason 29")
        );
    }

    #[test]
    fn reads_what_an_older_version_wrote() {
        let text = r#"{"databases":{"/data/a.db":[{"since":"1970-01-01T00:00:01Z","what":"x"}]}}"#;
        let suspect: Suspect = serde_json::from_str(text).unwrap();
        assert!(suspect.knows(Path::new("/data/a.db"), "x", at(1)));
        assert_eq!(serde_json::to_string(&suspect).unwrap(), text);
    }
}
