//! What is for programs: JSON and metrics. Their names are promises.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::{
    commands::status::json::json as answer,
    problems::{finding::Finding, kinds::Kind},
    record::metrics,
};

const DOCUMENT: &str = include_str!("../../../../docs/status.md");

fn clocks() -> Clocks {
    Clocks { boottime: at(0), wall: utc("2026-11-22T13:12:11Z") }
}

/// `record.guard[].state` and the like; a database's path is no key.
fn keys(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = if name.starts_with('/') { "PATH" } else { name };
                let dot = if prefix.is_empty() { "" } else { "." };
                keys(field, &format!("{prefix}{dot}{name}"), found);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| keys(item, &format!("{prefix}[]"), found));
        }
        _ => {
            // A moment is one thing.
            let name = prefix.strip_suffix(".at").or(prefix.strip_suffix(".in_s"));
            found.insert(name.unwrap_or(prefix).to_owned());
        }
    }
}

/// A record in which nothing is empty.
fn everything() -> Seen {
    let mut record = full();
    let failing = || {
        let what = "what".to_owned();
        Some(Failing { what, times: 2, since: at(-9), last: at(-3) })
    };
    record.daemon.stopped = Some(StoppedBy { at: at(-2), by: "SIGTERM".to_owned() });
    record.hand_over.failing = failing();
    record.heartbeat.failing = failing();
    if let Some(uploads) = &mut record.uploads {
        uploads.failing = failing();
    }
    let since = utc("2026-11-21T08:00:00Z");
    let reason = Reason { since, what: "unguarded".to_owned(), last: None };
    let databases = [("/data/app.db".into(), vec![reason])].into();
    record.suspect = Some(Suspect { databases });
    record.guard = Some(vec![guarded(GuardState::CouldNotBeHad, Some("why"))]);
    seen(record)
}

#[test]
fn the_keys_of_json_are_the_documented_ones() {
    let seen = everything();
    let mut found = BTreeSet::new();
    keys(&answer(&seen, &seen.findings()), "", &mut found);
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with("`--json`")).unwrap();
    let documented: BTreeSet<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(key, _)| key.to_owned())
        .collect();
    let missing: Vec<_> = found.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&found).collect();
    assert!(missing.is_empty() && gone.is_empty(), "missing: {missing:#?}, gone: {gone:#?}");
}

#[test]
fn json_tells_moments_by_this_devices_clock() {
    let seen = seen(record());
    let value = answer(&seen, &seen.findings());
    assert_eq!(value["state"], "ok");
    assert_eq!(value["exit_code"], 0);
    assert_eq!(value["running"], true);
    let expires = &value["record"]["credentials"]["expires"];
    assert_eq!(expires["at"], "2026-11-22T15:04:11.000+01:00");
    assert_eq!(expires["in_s"], 3120.0);
    assert_eq!(value["record"]["heartbeat"]["last"]["in_s"], -2.0);
    // The same moment, after the clock was set.
    let mut set = seen.clone();
    set.now.wall = "2027-01-01T00:00:00Z".parse().unwrap();
    let value = answer(&set, &set.findings());
    assert_eq!(value["record"]["credentials"]["expires"]["at"], "2027-01-01T00:52:00.000Z");
}

#[test]
fn json_without_a_record_has_its_keys_as_well() {
    let mut seen = seen(record());
    (seen.record, seen.lock) = (Err(NoRecord::Missing), DaemonLock::Free);
    let value = answer(&seen, &seen.findings());
    assert_eq!((&value["state"], &value["record"]), (&"down".into(), &Value::Null));
    assert_eq!((&value["running"], &value["exit_code"]), (&false.into(), &69.into()));
    assert_eq!(value["findings"][0]["code"], "daemon-not-running");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let Ok(record) = everything().record else { panic!() };
    let text = metrics::text(&record, &clocks());
    assert_text("metrics.prom", &text);
    // HELP and TYPE once for each family, right before its samples.
    let mut families: BTreeMap<&str, usize> = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap();
            assert!(families.insert(current, 0).is_none(), "{current} twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(sample.split('{').next().unwrap(), current);
            assert!(value.parse::<f64>().is_ok(), "{line}");
            *families.get_mut(current).unwrap() += 1;
        }
    }
    assert!(families.values().all(|samples| *samples > 0));
    let known: BTreeSet<_> = metrics::FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(families.into_keys().collect::<BTreeSet<_>>(), known, "each family has a place");
}

#[test]
fn metrics_without_what_is_not_known() {
    let mut record = record();
    record.credentials = None;
    record.guard = None;
    record.clock = None;
    let text = metrics::text(&record, &clocks());
    for name in ["expiry", "unguarded", "suspect", "skew", "replica"] {
        assert!(!text.contains(name), "{name}");
    }
}

#[test]
fn what_moves_all_the_time_is_no_change() {
    let before = metrics::text(&record(), &clocks());
    let mut later = record();
    later.heartbeat.last = Some(at(3));
    later.fetch.succeeded += 1;
    let later = metrics::text(&later, &clocks());
    assert!(before != later && metrics::steady(&before).eq(metrics::steady(&later)));
    let mut failing = record();
    failing.heartbeat.failing =
        Some(Failing { what: "full".to_owned(), times: 1, since: at(0), last: at(0) });
    let failing = metrics::text(&failing, &clocks());
    assert!(!metrics::steady(&before).eq(metrics::steady(&failing)));
}

/// `check` and `status` may find the same; then it is told in the same words.
#[test]
fn what_check_finds_too_means_the_same() {
    let shared = Kind::ALL.iter().filter_map(|kind| {
        let finding = Finding::ALL.iter().find(|finding| finding.name() == kind.name())?;
        Some((*kind, *finding))
    });
    let shared: Vec<_> = shared.collect();
    assert!(shared.len() >= 6, "{shared:?}");
    for (kind, finding) in shared {
        let told = (kind.exit_code(), kind.what(), kind.remedy());
        assert_eq!(told, (finding.exit_code(), finding.what(), finding.remedy()), "{kind:?}");
    }
}

#[test]
fn a_label_stays_in_its_quotes() {
    let mut record = record();
    let guard = Guarded { database: "/d/a\"b\\c\nd.db".into(), ..guarded(GuardState::Held, None) };
    record.guard = Some(vec![guard]);
    let text = metrics::text(&record, &clocks());
    assert!(text.contains(r#"{database="/d/a\"b\\c\nd.db"} 0"#), "{text}");
}
