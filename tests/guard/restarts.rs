//! Restart after restart, and in each of them what loses rows.

use std::time::Duration;

use serde_json::json;

use crate::support::{Application, Device, Generation, SOON, application::checkpoint, database};

/// So that a test has its restarts in a minute.
const LIFETIME: Duration = Duration::from_secs(12);

const RESTARTS: usize = 10;

/// What else is wrong while Litestream restarts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    S3Away,
    Killed,
}

#[test]
fn guarded_databases_lose_nothing_with_litestream_0_5_and_an_unguarded_one_does() {
    let lost = restart_again_and_again("restarts-05", Generation::V05, Trouble::None);
    assert!(!lost.is_empty(), "nothing was lost without a guard: this test proves nothing");
}

#[test]
fn guarded_databases_lose_nothing_with_litestream_0_3() {
    restart_again_and_again("restarts-03", Generation::V03, Trouble::None);
}

#[test]
fn nor_with_s3_away_during_the_restart_with_litestream_0_5() {
    restart_again_and_again("s3-away-05", Generation::V05, Trouble::S3Away);
}

#[test]
fn nor_with_s3_away_during_the_restart_with_litestream_0_3() {
    restart_again_and_again("s3-away-03", Generation::V03, Trouble::S3Away);
}

#[test]
fn nor_with_a_litestream_0_5_that_is_killed() {
    restart_again_and_again("killed-05", Generation::V05, Trouble::Killed);
}

#[test]
fn nor_with_a_litestream_0_3_that_is_killed() {
    restart_again_and_again("killed-03", Generation::V03, Trouble::Killed);
}

/// Returns what the database that is not listed lost.
fn restart_again_and_again(name: &str, generation: Generation, trouble: Trouble) -> Vec<i64> {
    let mut device = Device::new(name, generation, LIFETIME);
    let listed = Application::new(&mut device, "listed.db");
    let unlisted = Application::new(&mut device, "unlisted.db");
    device.set("GUARD_DATABASES", listed.path.to_str().unwrap());
    if trouble == Trouble::Killed {
        device.litestream.kill_at_restarts();
    }
    device.start();
    device.wait_for_log("restart success litestream", 2 * SOON);
    device.litestream.hold_starts();
    for restart in 1..=RESTARTS {
        // Litestream has read a part of the WAL, which then is longer than what overwrites it: 0.5.17 takes what is left of
        // the old WAL behind the new rows for a sign that nothing was overwritten.
        for (application, replica) in [(&listed, "/db1/"), (&unlisted, "/db2/")] {
            application.write(100);
            let read = uploads(&device, replica);
            device.wait_until("an upload", SOON, |device| {
                uploads(device, replica) > read || device.litestream.waits_to_start()
            });
        }
        // Copied to the last row before the guard is taken, where Litestream lets that be.
        checkpoint(&database::open(&device.database).unwrap());
        device.wait_until("Litestream to be stopped", 2 * SOON, |d| d.litestream.waits_to_start());
        if trouble == Trouble::S3Away {
            device.cloud.s3_fault(&json!({"refuse_connections": true}));
        }
        listed.overwrite_the_wal();
        unlisted.overwrite_the_wal();
        checkpoint(&database::open(&device.database).unwrap());
        let let_go = |device: &Device| device.count_in_log("holds its own read lock");
        let before = let_go(&device);
        if restart == RESTARTS {
            device.cloud.set_lifetime(Duration::from_secs(3600));
            device.litestream.allow_starts();
        } else {
            device.litestream.allow_start();
        }
        device.wait_until("the guard to be let go", 2 * SOON, |device| {
            // Newer credentials may have come meanwhile, and have it restarted before it held anything.
            if device.litestream.waits_to_start() {
                device.litestream.allow_start();
            }
            let_go(device) >= before + 2
        });
        // After the guard: Litestream's own has to do.
        listed.overwrite_the_wal();
        device.cloud.heal();
    }
    device.wait_until("credentials that last", 2 * SOON, |device| {
        device.cloud.issued().last().map(|issued| issued.access_key_id.clone())
            == device.litestream.starts().last().map(|start| start.access_key_id.clone())
    });
    let heartbeats = device.rows();
    let to = |name: &str| device.scratch.join(name);
    device.litestream.restore_whole(&to("heartbeats.db"), &heartbeats, 2 * SOON);
    let rows = listed.rows();
    device.litestream.restore_whole_of(&listed.path, &to("listed-copy.db"), &rows, 2 * SOON);
    assert_eq!(database::integrity(&to("listed-copy.db")), "ok");
    assert!(!device.state_directory.join("suspect").exists(), "{:#?}", device.problems());
    let lost = unlisted.holes(&device.litestream, &to("unlisted-copy.db"));
    eprintln!("{name}: {} of {} rows lost without a guard", lost.len(), unlisted.rows().len());
    device.stop();
    lost
}

fn uploads(device: &Device, replica: &str) -> usize {
    let is_of = |key: &Option<String>| key.as_deref().is_some_and(|key| key.contains(replica));
    device.cloud.uploads().iter().filter(|upload| is_of(&upload.key)).count()
}
