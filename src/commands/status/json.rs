//! The answer for a program. Its keys are stable: a few of its own, and the record's, with moments
//! as this device's clock shows them.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{
    finding::StatusFinding,
    findings::verdict,
    seen::{DaemonLock, Seen},
    times::Times,
};
use crate::record::Moment;

pub fn json(seen: &Seen, findings: &[StatusFinding]) -> Value {
    let verdict = verdict(findings);
    let findings: Vec<_> = findings.iter().map(finding).collect();
    let record = seen.record.as_ref().ok().map(|record| {
        let times = Times::new(&record.clocks, &record.daemon.boot_id, &seen.now);
        // What was just read from JSON can be written as JSON.
        let mut value = serde_json::to_value(record).unwrap_or_default();
        show_moments(&mut value, &times);
        value
    });
    json!({
        "state": verdict.word,
        "exit_code": verdict.exit_code,
        "running": match seen.lock {
            DaemonLock::Held(_) => Some(true),
            DaemonLock::Free => Some(false),
            DaemonLock::Unknown(_) => None,
        },
        "now": seen.now.wall.to_rfc3339_opts(SecondsFormat::Millis, true),
        "findings": findings,
        "record": record,
    })
}

fn finding(finding: &StatusFinding) -> Value {
    json!({
        "code": finding.name,
        "level": finding.level().name(),
        "exit_code": finding.exit_code,
        "found": finding.what,
        "since": finding.since,
        "remedy": finding.remedy,
    })
}

/// `{"boottime_ms": …}` says nothing outside of the device: `{"at": …, "in_s": …}` does.
fn show_moments(value: &mut Value, times: &Times) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| show_moments(item, times)),
        Value::Object(fields) if fields.contains_key("boottime_ms") => {
            if let Ok(moment) = serde_json::from_value::<Moment>(value.take()) {
                let at = times.wall(moment).to_rfc3339_opts(SecondsFormat::Millis, true);
                *value = json!({ "at": at, "in_s": times.ahead_s(moment) });
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| show_moments(field, times)),
        _ => {}
    }
}
