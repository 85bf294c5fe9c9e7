//! Every kind of client at once, over one rotation after another, beside the same with permanent keys.
//!
//! `ENDPOINT_LIFETIME` is how many seconds the credentials live, for a longer run with more natural ones.

use std::{
    collections::BTreeSet,
    env,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    client::ask_until_served,
    programs::{Program, Replicator, Way},
    support::{Device, Generation, SOON, cloud::Request, database},
};

/// Short ones make a short test of the same thirty rotations; SDKs ask before each request either way.
fn lifetime() -> Duration {
    let seconds = env::var("ENDPOINT_LIFETIME").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

const ROTATIONS: usize = 30;

#[test]
fn thirty_rotations_are_noticed_by_nobody() {
    let mut device = Device::new("endpoint-load", Generation::V05, lifetime());
    device.use_endpoint();
    // The daemon's own Litestream has enough with the heartbeats.
    device.start();
    ask_until_served(&device);
    let mut replicators: Vec<Replicator> = Way::ALL
        .iter()
        .flat_map(|way| Generation::BOTH.map(|generation| (*way, generation)))
        .map(|(way, generation)| Replicator::start(&device, way, generation))
        .collect();
    let mut programs: Vec<Program> = [Way::Endpoint, Way::Process]
        .into_iter()
        .flat_map(|way| [Program::boto3(&device, way), Program::aws_cli(&device, way)])
        .collect();
    for replicator in &replicators {
        device.wait_until("uploads by each", 2 * SOON, |device| {
            device.cloud.uploads().iter().any(|upload| replicator.made(upload))
        });
    }
    let begin = Utc::now();
    let fetches = device.cloud.fetches();

    let end = AtomicBool::new(false);
    let finish = thread::scope(|scope| {
        for replicator in &replicators {
            scope.spawn(|| replicator.write_until(&end));
        }
        // The writers end whether or not this goes well.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let deadline = (ROTATIONS as u32 + 10) * lifetime() + SOON;
            device.wait_until("the rotations", deadline, |device| {
                device.cloud.fetches() >= fetches + ROTATIONS
            });
            Utc::now()
        }));
        end.store(true, Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let requests = device.cloud.requests();
    eprintln!("{ROTATIONS} rotations of credentials that live {} s", lifetime().as_secs());
    for program in &mut programs {
        program.stop();
        let keys: BTreeSet<_> = requests
            .iter()
            .filter(|request| program.made(request))
            .filter_map(|request| request.access_key_id.clone())
            .collect();
        eprintln!("  {}: {} calls, {} keys", program.name, program.calls(), keys.len());
        assert_eq!(program.failures(), [""; 0], "{}", program.name);
        assert!(keys.len() > ROTATIONS / 2, "{} used {} keys", program.name, keys.len());
    }
    for replicator in &mut replicators {
        // With credentials as they come to the end: nothing is stopped before all is there.
        let (rows, copy) = (replicator.rows(), device.scratch.join("copy.db"));
        replicator.litestream.restore_whole(&copy, &rows, 2 * SOON);
        assert_eq!(database::integrity(&copy), "ok", "{}", replicator.name);
        assert_eq!(replicator.litestream.restarts(), 0, "{}", replicator.name);
        assert!(rows.len() > 1000, "{} has {} rows", replicator.name, rows.len());
    }
    for generation in Generation::BOTH {
        let gap = |way: Way| {
            let one = replicators.iter().find(|r| r.way == way && r.generation == generation);
            longest_gap(&requests, one.unwrap(), begin, finish)
        };
        let permanent = gap(Way::Permanent);
        for replicator in replicators.iter().filter(|one| one.generation == generation) {
            let (gap, rows) = (gap(replicator.way), replicator.rows().len());
            eprintln!("  {}: {rows} rows, none missing, longest gap {gap:.2?}", replicator.name);
            // They share two processors; twice is noise, a restart would be more.
            assert!(gap <= 2 * permanent + Duration::from_secs(1), "{gap:?} against {permanent:?}");
        }
    }
    assert_eq!(device.cloud.count_error("ExpiredToken"), 0);
    assert_eq!(device.litestream.restarts(), 0);
    device.stop();
}

fn longest_gap(
    requests: &[Request],
    replicator: &Replicator,
    begin: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Duration {
    let times: Vec<_> = requests
        .iter()
        .filter(|request| request.is_upload() && replicator.made(request))
        .map(|request| request.time)
        .filter(|time| (begin..end).contains(time))
        .collect();
    let gaps = times.windows(2).map(|pair| (pair[1] - pair[0]).to_std().unwrap_or_default());
    gaps.max().expect("uploads")
}
