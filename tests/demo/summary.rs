//! The end of the demo: a small table, a picture, and the figures for a program to read.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    picture,
    support::{Generation, root},
    timeline::Timeline,
};

/// One run, measured.
pub struct Summary {
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
    /// What the demo promises: every row, in a sound database, across at least one rotation.
    pub fn is_good(&self) -> bool {
        self.missing.is_empty()
            && self.rows_device > 0
            && self.integrity == "ok"
            && self.timeline.rotations() > 0
    }

    /// Prints the table and writes `target/demo`.
    pub fn publish(&self) {
        for (name, value) in self.table() {
            println!("  {name:<42} {value:>10}");
        }
        let directory = root().join("target/demo");
        fs::create_dir_all(&directory).expect("target/demo");
        let runs = serde_json::to_string_pretty(&json!([self.to_json()])).expect("JSON");
        fs::write(directory.join("summary.json"), runs + "\n").expect("summary.json");

        let [svg, png] = ["demo.svg", "demo.png"].map(|name| directory.join(name));
        fs::write(&svg, picture::draw(self)).expect("demo.svg");
        let drawn = Command::new("rsvg-convert")
            .args(["--zoom", "2", "--output"])
            .args([&png, &svg])
            .status();
        let picture =
            if drawn.is_ok_and(|status| status.success()) { "demo.png" } else { "demo.svg" };

        let verdict = match (self.is_good(), self.missing.len()) {
            (true, _) => {
                format!("Every row is in S3: {} = {}.", self.rows_device, self.rows_restored)
            }
            (false, 0) => "NOT GOOD: see the table.".to_owned(),
            (false, missing) => format!("NOT GOOD: {missing} rows are missing: {:?}", self.missing),
        };
        println!(
            "\n  {verdict}\n\n  A picture of it: target/demo/{picture}; the figures: target/demo/summary.json\n"
        );
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
            "delivery": "environment-file",
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
