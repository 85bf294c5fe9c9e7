//! The record in the runtime directory.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use edgerotate::{
    core::rotation::{Acquiring, HandingOver},
    record::{GuardState, Record},
};

use crate::support::{Device, Generation, SOON};

fn record(device: &Device) -> Option<Record> {
    let text = fs::read(device.runtime_directory.join("status.json")).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

#[test]
fn the_record_follows_the_daemon() {
    let mut device = Device::new("record", Generation::V05, Duration::from_secs(3600));
    device.start();
    let pid = device.pid();
    let record = |device: &Device| record(device).filter(|record| record.daemon.pid == pid);
    let found = device.wait_for("a rotation in the record", SOON, |device| {
        let is_over = |r: &Record| {
            let guard = r.guard.as_ref().and_then(|guard| guard.first());
            r.litestream.confirmed > 0 && guard.is_some_and(|g| g.state == GuardState::NotNeeded)
        };
        record(device).filter(is_over)
    });
    assert_eq!(found.fetch.state, Acquiring::Waiting);
    assert_eq!(found.fetch.succeeded, 1);
    assert_eq!(found.hand_over.state, HandingOver::Done);
    assert!(found.hand_over.written.unwrap() >= found.fetch.last_success.unwrap());
    assert!(found.litestream.start.is_some() && found.litestream.can_be_seen);
    let credentials = found.credentials.unwrap();
    assert!(credentials.expires > found.fetch.next.unwrap());
    assert!(found.fetch.next.unwrap() > credentials.fetched);
    assert_eq!(found.guard.unwrap()[0].database, device.database);
    assert_eq!(found.suspect, Some(Default::default()));
    assert!(found.daemon.stopped.is_none());

    let last = found.heartbeat.last_id;
    device.wait_until("the next heartbeat in it", SOON, |device| {
        record(device).is_some_and(|record| record.heartbeat.last_id > last)
    });
    let mode = fs::metadata(device.runtime_directory.join("status.json")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o640);

    device.stop();
    assert_eq!(record(&device).unwrap().daemon.stopped.unwrap().by, "SIGTERM");
}
