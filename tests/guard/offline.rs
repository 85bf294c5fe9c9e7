//! S3 and the provider away for long, under load, and back again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Application, Device, Generation, SOON, database, process::run};

/// They expire while everything is away.
const LIFETIME: Duration = Duration::from_secs(40);

/// Between two rows: 200 a second.
const PACE: Duration = Duration::from_millis(5);

/// Litestream checkpoints at a thousand pages, while S3 is away as well.
const WAL: i64 = 4000;

#[test]
fn a_minute_offline_under_load_loses_nothing_with_litestream_0_3() {
    offline("offline-03", Generation::V03, Duration::from_secs(60));
}

#[test]
fn a_minute_offline_under_load_loses_nothing_with_litestream_0_5() {
    offline("offline-05", Generation::V05, Duration::from_secs(60));
}

#[test]
#[ignore = "ten minutes: make test-all"]
fn ten_minutes_offline_under_load_lose_nothing_with_litestream_0_3() {
    offline("offline-long-03", Generation::V03, Duration::from_secs(600));
}

#[test]
#[ignore = "ten minutes: make test-all"]
fn ten_minutes_offline_under_load_lose_nothing_with_litestream_0_5() {
    offline("offline-long-05", Generation::V05, Duration::from_secs(600));
}

fn offline(name: &str, generation: Generation, away: Duration) {
    let mut device = Device::new(name, generation, LIFETIME);
    let busy = Application::new(&mut device, "busy.db");
    device.set("GUARD_DATABASES", busy.path.to_str().unwrap());
    device.start();
    device.wait_for_log_times("holds its own read lock", 2, SOON);
    let (end, path) = (AtomicBool::new(false), busy.path.clone());
    thread::scope(|scope| {
        let end = &end;
        scope.spawn(move || {
            while !end.load(Ordering::Relaxed) {
                busy.write(1);
                thread::sleep(PACE);
            }
        });
        // The writer ends whether or not this goes well.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            device.cloud.stop();
            let begun = Instant::now();
            device.wait_until("the outage's end", 2 * away, |_| begun.elapsed() >= away);
            device.cloud.restart();
            device.cloud.set_lifetime(Duration::from_secs(3600));
            let restarts = device.litestream.restarts();
            // The backoff's cap is a minute.
            device.wait_until("a restart with new credentials", 6 * SOON, |device| {
                device.litestream.restarts() > restarts
            });
            device.wait_until("a WAL as small as before", 2 * SOON, |_| wal(&path) < WAL);
        }));
        end.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let (rows, heartbeats) = (database::rows(&path), device.rows());
    let to = device.scratch.join("copy.db");
    device.litestream.restore_whole_of(&path, &to, &rows, 4 * SOON);
    assert_eq!(database::integrity(&to), "ok");
    device.litestream.restore_whole(&device.scratch.join("heartbeats.db"), &heartbeats, 2 * SOON);
    run(&mut device.edgerotate(&["verify"]));
    assert!(!device.state_directory.join("suspect").exists(), "{:#?}", device.problems());
    eprintln!("{name}: {} rows, none lost; {} pages in the WAL", rows.len(), wal(&path));
    device.stop();
}

/// So many pages of the WAL are in use.
fn wal(path: &std::path::Path) -> i64 {
    let connection = database::open(path).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(NOOP)", (), |row| row.get(1)).unwrap()
}
