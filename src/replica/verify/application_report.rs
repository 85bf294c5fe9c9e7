//! What was found of an application's database, for a person and for a program.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    application::{ApplicationFound, ApplicationReport, ApplicationRestored, ApplicationVerdict},
    json,
    report::{gaps, new_snapshot, rows, suspect_line},
    tables::Table,
};
use crate::core::size::size;

impl ApplicationReport {
    /// The verdict and its figures.
    pub fn summary(&self) -> String {
        match &self.found {
            ApplicationFound::NoDatabase => {
                "too early to tell: there is no database yet".to_owned()
            }
            ApplicationFound::Restored(restored) => restored.summary(),
        }
    }

    /// What to do; nothing where all is well.
    pub fn remedy(&self) -> Option<String> {
        match self.verdict() {
            ApplicationVerdict::Whole => None,
            ApplicationVerdict::RowsMissing | ApplicationVerdict::Damaged => {
                Some(new_snapshot(&self.litestream, &self.database))
            }
            ApplicationVerdict::TooEarly => Some(
                "see that Litestream runs, and what its log says; then verify again".to_owned(),
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
        if let ApplicationFound::Restored(restored) = &self.found {
            restored.lines(&mut line);
        }
        if let Some(words) = suspect_line(&self.suspect) {
            line("suspect", &words);
        }
        if let Some(remedy) = self.remedy() {
            line("what to do", &remedy);
        }
        text
    }

    pub fn json(&self) -> Value {
        let mut value = json!({
            "database": self.database,
            "verdict": self.verdict().name(),
            "exit_code": self.verdict().exit_code(),
            "summary": self.summary(),
            "remedy": self.remedy(),
            "suspect": self.suspect.name(),
        });
        if let ApplicationFound::Restored(restored) = &self.found {
            value["integrity"] = restored.integrity.as_str().into();
            value["bytes"] = restored.restore.bytes.into();
            value["seconds"] = restored.restore.took.as_secs_f64().into();
            value["not_compared"] = json!(restored.tables.not_compared);
            value["tables"] = json::tables(&restored.tables);
        }
        value
    }
}

fn tables(tables: usize) -> String {
    if tables == 1 { "1 table".to_owned() } else { format!("{tables} tables") }
}

impl ApplicationRestored {
    fn sum(&self, count: impl Fn(&Table) -> u64) -> u64 {
        self.tables.compared.iter().map(count).sum()
    }

    fn summary(&self) -> String {
        match self.verdict() {
            ApplicationVerdict::Whole => {
                let rows = rows(self.sum(|table| table.live_rows - table.newer));
                let tables = tables(self.tables.compared.len());
                format!("whole: {rows} in {tables}, none missing in the replica")
            }
            ApplicationVerdict::RowsMissing => {
                format!("ROWS MISSING: the replica does not have {}", self.gaps())
            }
            ApplicationVerdict::Damaged => {
                format!("DAMAGED: the restored database is not sound: {}", self.integrity)
            }
            ApplicationVerdict::TooEarly => {
                format!("too early to tell: the replica does not have yet {}", self.gaps())
            }
        }
    }

    /// Such as `3 rows of samples: 7-9`.
    fn gaps(&self) -> String {
        let mut gaps = gaps(&self.tables);
        for table in self.tables.behind(&self.then).filter(|table| !table.is_absent) {
            let after = table.newest_restored.map_or(String::new(), |id| format!(" after {id}"));
            gaps.push(format!("the newest rows of {}{after}", table.name));
        }
        gaps.join("; ")
    }

    fn lines(&self, line: &mut impl FnMut(&str, &str)) {
        let rows = rows(self.sum(|table| table.restored_rows));
        let seconds = self.restore.took.as_secs_f32();
        let size = size(self.restore.bytes);
        line("restored", &format!("{rows}; {size} in {seconds:.1} s"));
        line("integrity", &self.integrity);
        if self.integrity == "ok" {
            line("newer rows", &self.sum(|table| table.newer).to_string());
            let names = self.tables.names();
            line("tables", if names.is_empty() { "none" } else { &names });
            if !self.tables.not_compared.is_empty() {
                line("not compared", &self.tables.not_compared.join(", "));
            }
        }
    }
}
