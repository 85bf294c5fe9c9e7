//! S3 and the provider away for long, under load, and back again.

use std::time::{Duration, Instant};

use crate::{
    application::Application,
    harness::{LET_GO, LONG, assert_proven, under_load, wal},
    support::{Device, Generation, SOON, database},
};

/// They expire while everything is away.
const LIFETIME: Duration = Duration::from_secs(40);

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
    let path = busy.path.clone();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    device.start();
    device.wait_for_log_times(LET_GO, 2, SOON);
    let pages = || wal(&database::open(&path).unwrap()).0;
    let rows = under_load(busy, || {
        device.cloud.stop();
        let begun = Instant::now();
        device.wait_until("the outage's end", 2 * away, |_| begun.elapsed() >= away);
        device.cloud.restart();
        device.cloud.set_lifetime(LONG);
        let restarts = device.litestream.restarts();
        // The backoff's cap is a minute.
        device.wait_until("a restart with new credentials", 6 * SOON, |device| {
            device.litestream.restarts() > restarts
        });
        device.wait_until("a WAL as small as before", 2 * SOON, |_| pages() < WAL);
    });
    assert_proven(&device, &[&path]);
    eprintln!("{name}: {} rows, none lost; {} pages in the WAL", rows.len(), pages());
    device.stop();
}
