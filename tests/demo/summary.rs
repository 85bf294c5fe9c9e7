//! The end of the demo: a small table, a picture, and the figures for a program to read.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    Delivery, picture,
    support::{Generation, root},
    timeline::Timeline,
};

/// One run, measured.
pub struct Summary {
    pub delivery: Delivery,
    pub generation: Generation,
    pub timeline: Timeline,
    pub rows_device: usize,
    pub rows_restored: usize,
    pub missing: Vec<i64>,
    pub expired_token_errors: usize,
    pub longest_upload_gap: Duration,
    pub integrity: String,
}

impl Summary {
    /// What the demo promises: every row, in a sound database, across at least one rotation; and no
    /// restart where none is needed.
    pub fn is_good(&self) -> bool {
        self.missing.is_empty()
            && self.rows_device > 0
            && self.integrity == "ok"
            && self.timeline.rotations() > 0
            && (self.delivery == Delivery::EnvironmentFile || self.timeline.restarts() == 0)
    }

    fn verdict(&self) -> String {
        match (self.is_good(), self.missing.len()) {
            (true, _) => {
                format!("Every row is in S3: {} = {}.", self.rows_device, self.rows_restored)
            }
            (false, 0) => "NOT GOOD: see the table.".to_owned(),
            (false, missing) => format!("NOT GOOD: {missing} rows are missing: {:?}", self.missing),
        }
    }

    fn table(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Rotations", self.timeline.rotations().to_string()),
            ("Restarts of Litestream", self.timeline.restarts().to_string()),
            ("Uploads", self.timeline.uploads.len().to_string()),
            ("Uploads refused with ExpiredToken", self.expired_token_errors.to_string()),
            (
                "Longest time between two uploads",
                format!("{:.1} s", self.longest_upload_gap.as_secs_f64()),
            ),
            ("Rows on the device", self.rows_device.to_string()),
            ("Rows restored from S3", self.rows_restored.to_string()),
            ("Rows missing", self.missing.len().to_string()),
            ("SQLite's integrity check", self.integrity.clone()),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "delivery": self.delivery.name(),
            "litestream_version": self.generation.version(),
            "seconds": (self.timeline.seconds(self.timeline.now) * 10.0).round() / 10.0,
            "credential_lifetime_s": crate::LIFETIME.as_secs(),
            "heartbeat_interval_s": crate::HEARTBEAT.as_secs_f64(),
            "rotations": self.timeline.rotations(),
            "restarts": self.timeline.restarts(),
            "uploads": self.timeline.uploads.len(),
            "rows_device": self.rows_device,
            "rows_restored": self.rows_restored,
            "rows_missing": self.missing.len(),
            "expired_token_errors": self.expired_token_errors,
            "longest_upload_gap_s": (self.longest_upload_gap.as_secs_f64() * 1000.0).round() / 1000.0,
            "integrity": self.integrity,
        })
    }
}

/// Prints the table, a column for each run, and writes `target/demo`.
pub fn publish(summaries: &[Summary]) {
    let names: String =
        summaries.iter().map(|one| format!("{:>18}", one.delivery.name())).collect();
    println!("  {:<34} {names}", "");
    let tables: Vec<_> = summaries.iter().map(Summary::table).collect();
    for (line, (name, _)) in tables[0].iter().enumerate() {
        let values: String = tables.iter().map(|table| format!("{:>18}", table[line].1)).collect();
        println!("  {name:<34} {values}");
    }
    let directory = root().join("target/demo");
    fs::create_dir_all(&directory).expect("target/demo");
    let runs: Vec<_> = summaries.iter().map(Summary::to_json).collect();
    let runs = serde_json::to_string_pretty(&json!(runs)).expect("JSON");
    fs::write(directory.join("summary.json"), runs + "\n").expect("summary.json");

    let [svg, png] = ["demo.svg", "demo.png"].map(|name| directory.join(name));
    fs::write(&svg, picture::draw_all(summaries)).expect("demo.svg");
    let drawn =
        Command::new("rsvg-convert").args(["--zoom", "2", "--output"]).args([&png, &svg]).status();
    let picture = if drawn.is_ok_and(|status| status.success()) { "demo.png" } else { "demo.svg" };

    println!();
    for summary in summaries {
        println!("  {:<18} {}", summary.delivery.name(), summary.verdict());
    }
    println!("\n  A picture of it: target/demo/{picture}; the figures: target/demo/summary.json\n");
}
