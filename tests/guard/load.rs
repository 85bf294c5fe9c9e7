//! A busy application, SQLite's own checkpoints, and one rotation after another.

use std::time::Duration;

use crate::{
    application::Application,
    harness::{assert_proven, end_rotations, under_load},
    support::{Device, Generation, SOON},
};

const LIFETIME: Duration = Duration::from_secs(8);

const ROTATIONS: usize = 20;

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
    let path = busy.path.clone();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    let rows = under_load(busy, || {
        device.wait_until("the rotations", 40 * LIFETIME, |device| {
            device.litestream.restarts() >= ROTATIONS
        });
        end_rotations(&device);
    });
    assert_proven(&device, &[&path]);
    eprintln!("{name}: {} rows, none lost", rows.len());
    device.stop();
}
