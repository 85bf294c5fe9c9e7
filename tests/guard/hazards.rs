//! Databases that can't be guarded, guards that are cut off, and what is said of them.

use std::{fs, time::Duration};

use crate::{
    application::Application,
    support::{Device, Generation, SOON, database},
};

const LONG: Duration = Duration::from_secs(3600);

fn suspect(device: &Device) -> String {
    fs::read_to_string(device.state_directory.join("suspect")).unwrap_or_default()
}

#[test]
fn a_litestream_that_ends_by_itself_makes_its_replica_suspect_and_it_stays_so() {
    let mut device = Device::new("unplanned", Generation::V05, LONG);
    device.set("HEARTBEAT_INTERVAL", "100ms");
    device.start();
    device.wait_for_log("holds its own read lock", SOON);
    assert_eq!(suspect(&device), "");
    device.litestream.signal(nix::sys::signal::Signal::SIGKILL);
    device.wait_for_problem("ended outside of a rotation", SOON);
    device.wait_for_problem("its replica may lack rows", SOON);
    assert!(suspect(&device).contains("device.db"), "{}", suspect(&device));
    device.stop();
    device.start();
    device.wait_for_problem("since before this start", SOON);
    device.stop();
    assert_eq!(device.count_in_log("; a forced snapshot mends it"), 1, "{}", device.log_tail());
}

#[test]
fn a_killed_daemon_s_guard_is_taken_up_by_the_next_which_says_what_it_can_t_know() {
    let mut device = Device::new("guard-kill", Generation::V05, Duration::from_secs(8));
    let listed = Application::new(&mut device, "listed.db");
    device.set("GUARD_DATABASES", listed.path.to_str().unwrap());
    device.start();
    device.wait_for_log_times("holds its own read lock", 2, SOON);
    device.litestream.hold_starts();
    device.wait_until("Litestream to be stopped", SOON, |d| d.litestream.waits_to_start());
    device.kill();
    let guards = device.count_in_log(": guarded");
    device.start();
    device.wait_for_log_times(": guarded", guards + 2, SOON);
    listed.overwrite_the_wal();
    device.cloud.set_lifetime(LONG);
    device.litestream.allow_starts();
    device.wait_until("credentials that last", 2 * SOON, |device| {
        device.cloud.issued().last().map(|issued| issued.access_key_id.clone())
            == device.litestream.starts().last().map(|start| start.access_key_id.clone())
    });
    let rows = listed.rows();
    let to = device.scratch.join("copy.db");
    device.litestream.restore_whole_of(&listed.path, &to, &rows, 2 * SOON);
    device
        .wait_until("the mark", SOON, |d| suspect(d).contains("edgerotate ended while it guarded"));
    device.stop();
}

#[test]
fn a_rollback_journal_is_said_and_its_writers_are_not_locked_out() {
    let mut device = Device::new("journal", Generation::V05, Duration::from_secs(8));
    let path = device.database.with_file_name("journal.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    device.start();
    device.wait_for_problem("is in journal mode delete", SOON);
    device.litestream.hold_starts();
    device.wait_until("Litestream to be stopped", SOON, |d| d.litestream.waits_to_start());
    for _ in 0..20 {
        connection.execute("INSERT INTO t VALUES (NULL)", ()).unwrap();
    }
    device.litestream.allow_starts();
    device.wait_for_log_times("restart success litestream", 2, 2 * SOON);
    assert!(suspect(&device).contains("journal.db"), "{}", suspect(&device));
    assert!(!suspect(&device).contains("device.db"), "{}", suspect(&device));
    assert_eq!(database::integrity(&path), "ok");
    device.stop();
}
