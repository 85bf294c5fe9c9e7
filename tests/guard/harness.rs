//! What the tests of the guard have in common: the end of the rotations, the load, and the proof
//! that nothing is lost.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    application::Application,
    support::{Device, SOON, database, keep_pace},
};

pub use crate::support::database::wal;

/// For credentials that are not rotated while a test runs.
pub const LONG: Duration = Duration::from_secs(3600);

/// Said when the guard on a database is let go.
pub const LET_GO: &str = "holds its own read lock";

/// Between two rows: 200 a second.
const PACE: Duration = Duration::from_millis(5);

/// Between two steps.
const STEP: Duration = Duration::from_millis(500);

/// What is marked, as it stands in the file; empty if nothing is.
pub fn suspect(device: &Device) -> String {
    fs::read_to_string(device.state_directory.join("suspect")).unwrap_or_default()
}

/// Waits until Litestream runs with credentials that last.
pub fn end_rotations(device: &Device) {
    device.cloud.set_lifetime(LONG);
    device.wait_until("credentials that last", 4 * SOON, |device| {
        let issued = device.cloud.issued();
        let newest = issued.last().map(|issued| issued.access_key_id.clone());
        newest == device.litestream.starts().last().map(|start| start.access_key_id.clone())
            && issued.last().is_some_and(|issued| issued.expiration > chrono::Utc::now() + LONG / 2)
    });
}

/// The application writes 200 rows a second, with SQLite's own checkpoints, while `work` is done.
/// Returns its rows.
pub fn under_load(application: Application, work: impl FnOnce()) -> Vec<i64> {
    let (end, path) = (AtomicBool::new(false), application.path.clone());
    thread::scope(|scope| {
        let end = &end;
        scope.spawn(move || {
            let rate = keep_pace(PACE, end, || application.write(1));
            eprintln!("{rate:.0} rows a second");
        });
        // The writer ends whether or not this goes well.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        end.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
    database::rows(&path)
}

/// The application writes in small steps, with a PASSIVE checkpoint in the middle of each, while
/// `work` is done. Returns its rows.
pub fn under_steps(application: Application, work: impl FnOnce()) -> Vec<i64> {
    let (end, path) = (AtomicBool::new(false), application.path.clone());
    thread::scope(|scope| {
        let end = &end;
        scope.spawn(move || {
            keep_pace(STEP, end, || {
                application.write(10);
                application.checkpoint();
                application.write(10);
            });
        });
        let outcome = catch_unwind(AssertUnwindSafe(work));
        end.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
    database::rows(&path)
}

/// Restores the heartbeats and these databases, and compares them row by row.
pub fn assert_whole(device: &Device, databases: &[&Path]) {
    let heartbeats = device.rows();
    let to = device.scratch.join("copy-of-device.db");
    device.litestream.restore_whole(&to, &heartbeats, 2 * SOON);
    assert_eq!(database::integrity(&to), "ok");
    for path in databases {
        let to = path.file_name().unwrap().to_str().unwrap();
        let to = device.scratch.join(format!("copy-of-{to}"));
        device.litestream.restore_whole_of(path, &to, &database::rows(path), 4 * SOON);
        assert_eq!(database::integrity(&to), "ok");
    }
}

/// The same, by `edgerotate verify` as well as by the comparison above; and nothing was ever
/// suspect.
pub fn assert_proven(device: &Device, databases: &[&Path]) {
    assert_eq!(suspect(device), "", "{:#?}", device.problems());
    assert_whole(device, databases);
    // Its progress, which a long restore has, goes to stderr.
    let output = device.edgerotate(&["verify", "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(
        (&said["verdict"], &said["missing"]["rows"]),
        (&json!("whole"), &json!(0)),
        "{said}"
    );
    let proven = said["databases"].as_array().unwrap().iter();
    let proven: Vec<_> = proven.filter(|one| one["verdict"] == "whole").collect();
    for path in databases {
        assert!(proven.iter().any(|one| one["database"] == json!(path)), "{said}");
    }
}
