//! The heartbeat's database can't be written to: that is told, tried again, and no reason not to
//! rotate.

use std::{fs, io::Write, time::Duration};

use crate::support::{
    Device, Generation, SOON, database,
    process::{run, tied, try_run},
    skip,
};

const LIFETIME: Duration = Duration::from_secs(10);

#[test]
fn a_locked_database_is_told_and_rotation_goes_on() {
    let mut device = Device::new("busy-db", Generation::V05, LIFETIME);
    device.start();
    device.wait_for_log("sqlite3 write success", SOON);

    let mut other = database::open(&device.database).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    device.wait_for_problem("the database is locked", SOON);
    assert_rotation_goes_on(&device);
    drop(lock);
    assert_heartbeats_go_on(&mut device);
    device.stop();
}

#[test]
fn a_read_only_database_is_told_and_rotation_goes_on() {
    let Some(namespace) = mount_namespace() else {
        return skip("mount namespaces are not permitted here");
    };
    let mut device = Device::new("ro", Generation::V05, LIFETIME);
    let data = device.database.parent().unwrap().to_owned();
    let mount = format!("mount --bind -o ro '{0}' '{0}'", data.display());
    device.wrap(namespace.unshare, &mount);
    device.start();
    device.wait_for_problem("sqlite3 write failed", SOON);
    assert_rotation_goes_on(&device);

    let pid = device.pid().to_string();
    run(tied("nsenter")
        .args(["--target", &pid])
        .args(namespace.enter)
        .args(["mount", "-o", "remount,bind,rw"])
        .arg(&data));
    assert_heartbeats_go_on(&mut device);
    device.stop();
}

#[test]
fn a_full_disk_is_told_and_rotation_goes_on() {
    let Some(namespace) = mount_namespace() else {
        return skip("mount namespaces are not permitted here");
    };
    let mut device = Device::new("no-room", Generation::V05, LIFETIME);
    let data = device.database.parent().unwrap().to_owned();
    device
        .wrap(namespace.unshare, &format!("mount -t tmpfs -o size=8m tmpfs '{}'", data.display()));
    device.start();
    device.wait_for_log("sqlite3 write success", SOON);

    // The daemon's own view of the file system, as nobody else has this mount.
    let filler = format!("/proc/{}/root{}/filler", device.pid(), data.display());
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    device.wait_for_problem("disk is full", SOON);
    assert_rotation_goes_on(&device);

    fs::remove_file(&filler).unwrap();
    assert_heartbeats_go_on(&mut device);
    device.stop();
}

#[test]
fn a_clock_that_went_back_does_not_take_ids_back() {
    let mut device = Device::new("clock", Generation::V05, Duration::from_secs(3600));
    device.start();
    device.wait_for_log("sqlite3 write success", SOON);
    device.stop();
    // A row of a day on which the clock was a year ahead.
    let ahead = chrono::Utc::now().timestamp() + 365 * 86_400;
    database::open(&device.database)
        .unwrap()
        .execute("INSERT INTO HealthCheck (id) VALUES (?1)", [ahead])
        .unwrap();
    device.start();
    device.wait_until("heartbeats beyond it", SOON, |d| d.rows().last() > Some(&(ahead + 3)));
    device.stop();
    let ids = device.rows();
    let after: Vec<_> = ids.iter().skip_while(|id| **id <= ahead).copied().collect();
    let expected: Vec<_> = (ahead + 1..).take(after.len()).collect();
    assert_eq!(after, expected, "one more for each row");
}

#[test]
fn old_rows_are_pruned_by_count() {
    let mut device = Device::new("prune", Generation::V05, Duration::from_secs(3600));
    device.set("HEARTBEAT_KEEP_ROWS", "100");
    device.set("HEARTBEAT_INTERVAL", "100ms");
    device.start();
    device.wait_for_log("sqlite3 write success", SOON);
    let first = device.rows()[0];
    device.wait_until("more rows than are kept", 2 * SOON, |d| {
        d.rows().last() > Some(&(first + 110))
    });
    device.stop();
    let ids = device.rows();
    assert!(ids.len() <= 101, "{} rows are kept", ids.len());
    assert!(ids[0] > first, "the oldest go first");
}

fn assert_rotation_goes_on(device: &Device) {
    let before = device.litestream.starts().len();
    device.wait_until("two more rotations", 6 * LIFETIME, |d| {
        d.litestream.starts().len() >= before + 2
    });
}

/// By the log: the database may be on a mount that only the daemon has.
fn assert_heartbeats_go_on(device: &mut Device) {
    let before = device.count_in_log("sqlite3 write success");
    device.wait_for_log_times("sqlite3 write success", before + 3, 2 * SOON);
}

/// How a command runs with mounts of its own, which are gone when it ends.
struct Namespace {
    unshare: &'static [&'static str],
    enter: &'static [&'static str],
}

fn mount_namespace() -> Option<Namespace> {
    let for_root = Namespace { unshare: &["unshare", "--mount"], enter: &["--mount"] };
    let for_others = Namespace {
        unshare: &["unshare", "--user", "--map-root-user", "--mount"],
        enter: &["--mount", "--user", "--preserve-credentials"],
    };
    [for_root, for_others].into_iter().find(|namespace| {
        let mut probe = tied(namespace.unshare[0]);
        probe.args(&namespace.unshare[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
        try_run(&mut probe).0
    })
}
