//! Litestream without the endpoint: before it is there, and while the daemon is stopped.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;

use crate::{
    client::ask_until_served,
    support::{Device, Generation, Replicator, SOON, Way, database},
};

const LIFETIME: Duration = Duration::from_secs(8);

/// Between two rows: 200 a second.
const PACE: Duration = Duration::from_millis(5);

#[test]
fn a_daemon_that_is_away_for_three_lifetimes_costs_nothing_but_time() {
    let mut device = Device::new("endpoint-away", Generation::V05, LIFETIME);
    device.use_endpoint();
    device.start();
    ask_until_served(&device);
    let replicators =
        Generation::BOTH.map(|generation| Replicator::start(&device, Way::Endpoint, generation));
    let uploads_of = |device: &Device, one: &Replicator| {
        device.cloud.uploads().iter().filter(|upload| one.made(upload)).count()
    };
    for one in &replicators {
        device.wait_until("an upload", SOON, |device| uploads_of(device, one) > 0);
    }
    let end = AtomicBool::new(false);
    let device = &mut device;
    thread::scope(|scope| {
        for one in &replicators {
            scope.spawn(|| one.write_until(&end, PACE));
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            device.stop();
            let away = Instant::now();
            device.wait_until("three lifetimes", SOON, |_| away.elapsed() > 3 * LIFETIME);
            let back = Utc::now();
            device.start();
            for one in &replicators {
                let first = device.wait_for("an upload after it", 4 * SOON, |device| {
                    let uploads = device.cloud.uploads();
                    uploads.iter().find(|u| one.made(u) && u.time > back).map(|upload| upload.time)
                });
                let took = (first - back).as_seconds_f64();
                eprintln!("{}: uploads again {took:.1} s after the daemon's start", one.name);
            }
        }));
        end.store(true, Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    for one in &replicators {
        let (rows, copy) = (one.rows(), device.scratch.join("copy.db"));
        one.litestream.restore_whole(&copy, &rows, 2 * SOON);
        assert_eq!(database::integrity(&copy), "ok", "{}", one.name);
        assert_eq!(one.litestream.restarts(), 0, "{}", one.name);
    }
    device.stop();
}

#[test]
fn a_litestream_that_is_there_before_the_endpoint_comes_right_by_itself() {
    for generation in Generation::BOTH {
        let mut device = Device::new("endpoint-late", generation, Duration::from_secs(3600));
        device.use_endpoint();
        // Once, for the token; before the daemon's restart, as it were.
        device.start();
        ask_until_served(&device);
        device.stop();
        let nobody = TcpListener::bind(("127.0.0.1", device.port())).unwrap();
        let one = Replicator::start(&device, Way::Endpoint, generation);
        // It has asked, and there was nothing; from now on the connection is refused.
        drop(nobody.accept().unwrap());
        drop(nobody);
        one.write(100);
        let rows = one.rows();
        assert!(!device.cloud.uploads().iter().any(|upload| one.made(upload)));
        device.start();
        one.litestream.restore_whole(&device.scratch.join("copy.db"), &rows, 4 * SOON);
        assert_eq!(one.litestream.restarts(), 0, "{}", one.name);
        device.stop();
    }
}
