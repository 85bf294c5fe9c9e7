//! A busy application, SQLite's own checkpoints, and one rotation after another.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::support::{Application, Device, Generation, SOON, database, process::run};

const LIFETIME: Duration = Duration::from_secs(8);

const ROTATIONS: usize = 20;

/// Between two rows: 200 a second.
const PACE: Duration = Duration::from_millis(5);

#[test]
fn a_busy_database_loses_nothing_in_twenty_rotations_with_litestream_0_3() {
    rotate_under_load("load-03", Generation::V03);
}

#[test]
fn a_busy_database_loses_nothing_in_twenty_rotations_with_litestream_0_5() {
    rotate_under_load("load-05", Generation::V05);
}

fn rotate_under_load(name: &str, generation: Generation) {
    let mut device = Device::new(name, generation, LIFETIME);
    // With SQLite's default, a checkpoint every thousand pages.
    let busy = Application::new(&mut device, "busy.db");
    device.set("GUARD_DATABASES", busy.path.to_str().unwrap());
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    let end = AtomicBool::new(false);
    let path = busy.path.clone();
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
            device.wait_until("the rotations", 40 * LIFETIME, |device| {
                device.litestream.restarts() >= ROTATIONS
            });
            device.cloud.set_lifetime(Duration::from_secs(3600));
            device.wait_until("credentials that last", 4 * SOON, |device| {
                let issued = device.cloud.issued();
                let newest = issued.last().map(|issued| issued.access_key_id.clone());
                newest == device.litestream.starts().last().map(|s| s.access_key_id.clone())
                    && issued.last().is_some_and(|issued| {
                        issued.expiration > chrono::Utc::now() + Duration::from_secs(600)
                    })
            });
        }));
        end.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let rows = database::rows(&path);
    let to = device.scratch.join("copy.db");
    device.litestream.restore_whole_of(&path, &to, &rows, 2 * SOON);
    assert_eq!(database::integrity(&to), "ok");
    let heartbeats = device.rows();
    device.litestream.restore_whole(&device.scratch.join("heartbeats.db"), &heartbeats, 2 * SOON);
    // The comparison above is the test's own; this is what a person would run.
    run(&mut device.edgerotate(&["verify"]));
    assert!(!device.state_directory.join("suspect").exists(), "{:#?}", device.problems());
    eprintln!("{name}: {} rows, none lost", rows.len());
    device.stop();
}
