//! The answer for a program. Its keys and the words of `verdict` and `cause` are stable.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    comparison::Ranges,
    report::{HeartbeatFound, HeartbeatReport},
    tables::{Table, Tables},
};
use crate::problems::trouble::{NOT_RESTORABLE, Trouble};

impl HeartbeatReport {
    pub fn json(&self) -> Value {
        let mut value = json!({
            "verdict": self.verdict().name(),
            "exit_code": self.verdict().exit_code(),
            "summary": self.summary(),
            "remedy": self.remedy(),
            "database": self.database,
            "suspect": self.suspect.name(),
            "not_proven": self.not_proven,
            "not_replicated": self.not_replicated,
            "litestream": self.litestream,
            "max_lag_s": self.max_lag.as_secs_f64(),
            "lag_s": null,
            "restored": null,
            "missing": null,
            "foreign": null,
            "newer_rows": null,
            "tables": null,
            "not_compared": null,
        });
        match &self.found {
            HeartbeatFound::NoHeartbeat => {}
            HeartbeatFound::NoReplica { rows, lag } => {
                value["lag_s"] = lag.as_secs().into();
                value["newer_rows"] = (*rows).into();
            }
            HeartbeatFound::Restored(restored) => {
                let found = &restored.comparison;
                value["lag_s"] = restored.lag.as_secs().into();
                value["newer_rows"] = found.newer.into();
                value["missing"] = ranges(&found.missing);
                value["foreign"] = ranges(&found.foreign);
                value["tables"] = tables(&restored.tables);
                value["not_compared"] = json!(restored.tables.not_compared);
                value["restored"] = json!({
                    "rows": found.restored_rows,
                    "first_id": found.restored.map(|(first, _)| first),
                    "last_id": found.restored.map(|(_, last)| last),
                    "bytes": restored.bytes,
                    "seconds": restored.took.as_secs_f64(),
                    "integrity": restored.integrity,
                });
            }
        }
        value
    }
}

/// What stands in for a report where nothing could be compared.
pub fn of_trouble(database: &Path, trouble: &Trouble) -> Value {
    json!({
        "verdict": if trouble.cause == NOT_RESTORABLE { NOT_RESTORABLE } else { "unknown" },
        "exit_code": trouble.exit_code,
        "cause": trouble.cause,
        "summary": trouble.what,
        "remedy": trouble.remedy,
        "database": database,
    })
}

/// What was found of each table that was compared.
pub fn tables(tables: &Tables) -> Value {
    let table = |table: &Table| {
        let differing = match table.is_keyed {
            true => json!({ "rows": table.differing.rows }),
            false => {
                json!({
                    "rows": table.differing.rows,
                    "first_ranges": table.differing.ranges().first,
                })
            }
        };
        json!({
            "table": table.name,
            "absent": table.is_absent,
            "live_rows": table.live_rows,
            "restored_rows": table.restored_rows,
            "newer_rows": table.newer,
            "missing": ranges(&table.missing),
            "differing": differing,
        })
    };
    tables.compared.iter().map(table).collect()
}

fn ranges(ranges: &Ranges) -> Value {
    json!({ "rows": ranges.ids, "ranges": ranges.ranges, "first_ranges": ranges.first })
}
