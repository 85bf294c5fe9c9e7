//! Every kind of client at once, over one rotation after another, beside the same with permanent
//! keys.
//!
//! `ENDPOINT_LIFETIME` is how many seconds the credentials live, `ENDPOINT_ROTATIONS` over how many
//! of them it goes: `make soak-endpoint` has a run in which the SDKs keep what they got, as on a
//! device.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    client::ask_until_served,
    gaps::Lane,
    programs::Program,
    support::{Device, Generation, Replicator, SOON, Way, cloud::Request, database},
};

/// What is run through.
struct Course {
    lifetime: Duration,
    rotations: usize,
    /// Between two rows.
    pace: Duration,
    /// Between two calls of a program.
    pause: Duration,
}

impl Course {
    /// Short lives make a short test of the same thirty rotations.
    fn of_environment() -> Self {
        let number = |name, default| {
            env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let lifetime = Duration::from_secs(number("ENDPOINT_LIFETIME", 12));
        let is_long = lifetime > Duration::from_secs(60);
        Self {
            lifetime,
            rotations: number("ENDPOINT_ROTATIONS", 30) as usize,
            // 200 a second, but not for half an hour.
            pace: Duration::from_millis(if is_long { 50 } else { 5 }),
            pause: Duration::from_secs(if is_long { 20 } else { 1 }),
        }
    }

    fn deadline(&self) -> Duration {
        (self.rotations as u32 + 10) * self.lifetime + SOON
    }
}

#[test]
fn one_rotation_after_another_is_noticed_by_nobody() {
    let course = Course::of_environment();
    let mut device = Device::new("endpoint-load", Generation::V05, course.lifetime);
    device.use_endpoint();
    // The daemon's own Litestream has enough with the heartbeats.
    device.start();
    ask_until_served(&device);
    let mut replicators: Vec<Replicator> = Way::ALL
        .iter()
        .flat_map(|way| Generation::BOTH.map(|generation| (*way, generation)))
        .map(|(way, generation)| Replicator::prepare(&device, way, generation))
        .collect();
    // How much two of a kind differ is what the machine does.
    let twins = Generation::BOTH
        .map(|generation| Replicator::prepare_as(&device, Way::Permanent, generation, "-twin"));
    replicators.extend(twins);
    replicators.iter().for_each(Replicator::launch);
    let programs: Vec<Program> = [Way::Endpoint, Way::Process]
        .into_iter()
        .flat_map(|way| {
            [
                Program::boto3(&device, way, course.pause),
                Program::aws_cli(&device, way, course.pause),
            ]
        })
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
            scope.spawn(|| {
                let rate = replicator.write_until(&end, course.pace);
                eprintln!("  {}: {rate:.0} rows a second", replicator.name);
            });
        }
        // The writers end whether or not this goes well.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            device.wait_until("the rotations", course.deadline(), |device| {
                device.cloud.fetches() >= fetches + course.rotations
            });
            wait_for_the_last_key(&device, &replicators, &course);
            Utc::now()
        }));
        end.store(true, Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let requests = device.cloud.requests();
    eprintln!(
        "{} rotations of credentials that live {} s, {:.0} s in all",
        course.rotations,
        course.lifetime.as_secs(),
        (finish - begin).as_seconds_f64()
    );
    programs.into_iter().for_each(|program| judge_program(program, &requests, &course));
    let copy = device.scratch.join("copy.db");
    for replicator in &mut replicators {
        let rows = replicator.rows();
        replicator.litestream.restore_whole(&copy, &rows, 2 * SOON);
        assert_eq!(database::integrity(&copy), "ok", "{}", replicator.name);
        assert_eq!(replicator.litestream.restarts(), 0, "{}", replicator.name);
        assert!(rows.len() > 1000, "{} has {} rows", replicator.name, rows.len());
    }
    let within = |request: &Request| (begin..finish).contains(&request.time);
    let requests: Vec<_> = requests.into_iter().filter(within).collect();
    none_was_signed_with_expired_ones(&device, &requests);
    compare(&device, &replicators, &requests, &course);
    assert_eq!(device.litestream.restarts(), 0);
    device.stop();
}

/// Until each one uploads with the newest credentials of now, or newer ones.
fn wait_for_the_last_key(device: &Device, replicators: &[Replicator], course: &Course) {
    let old = device.cloud.issued().len() - 1;
    for replicator in replicators.iter().filter(|one| one.way != Way::Permanent) {
        device.wait_until("the newest key in use", course.deadline(), |device| {
            let issued = device.cloud.issued();
            let newest: BTreeSet<_> =
                issued[old..].iter().map(|one| Some(one.access_key_id.as_str())).collect();
            let uploads = device.cloud.uploads();
            uploads
                .iter()
                .any(|u| replicator.made(u) && newest.contains(&u.access_key_id.as_deref()))
        });
    }
}

fn judge_program(mut program: Program, requests: &[Request], course: &Course) {
    program.stop();
    let keys = keys(requests.iter().filter(|request| program.made(request)));
    eprintln!("  {}: {} calls, {keys} keys, none failed", program.name, program.calls());
    assert_eq!(program.failures(), [""; 0], "{}", program.name);
    assert!(keys > course.rotations / 2, "{} used {keys} keys", program.name);
}

/// Nobody signs with what has expired. Credentials as short as these are used up to some seconds
/// before they expire, on a device up to a minute before; so one that a busy machine holds up on
/// its way comes too late here, and that is no fault of a rotation.
fn none_was_signed_with_expired_ones(device: &Device, requests: &[Request]) {
    for (request, expires) in signed_with_issued(device, requests) {
        let signed = request.signed.expect("when it was signed");
        // Both are whole seconds: what is signed just before has the second before. What its client
        // was told is earlier by one second at least.
        assert!(
            signed < expires,
            "{request:?} was signed when its credentials had expired, at {expires}"
        );
        if request.error.as_deref() == Some("ExpiredToken") {
            let late = (request.arrived - expires).as_seconds_f64();
            assert!(late >= 0.0, "{request:?} was refused before {expires}");
            eprintln!("  {:?}: signed in time, and {late:.2} s late when it came", request.key);
        }
    }
}

/// Each request to S3 with credentials that expire, and when they do.
fn signed_with_issued<'a>(
    device: &Device,
    requests: &'a [Request],
) -> Vec<(&'a Request, DateTime<Utc>)> {
    let issued = device.cloud.issued();
    let issued: BTreeMap<_, _> = issued.iter().map(|i| (&*i.access_key_id, i.expiration)).collect();
    let expiry = |request: &Request| issued.get(request.access_key_id.as_deref()?).copied();
    let of_s3 = requests.iter().filter(|request| request.side == "s3");
    of_s3.filter_map(|request| Some((request, expiry(request)?))).collect()
}

/// Gaps between uploads, against those with permanent credentials in the same run.
fn compare(device: &Device, replicators: &[Replicator], requests: &[Request], course: &Course) {
    let lane = |one: &Replicator| {
        Lane::of(requests.iter().filter(|request| request.is_upload() && one.made(request)))
    };
    let signed = signed_with_issued(device, requests);
    let mut uneven = Vec::new();
    for generation in Generation::BOTH {
        let of_generation = || replicators.iter().filter(|one| one.generation == generation);
        let permanent: Vec<Lane> =
            of_generation().filter(|one| one.way == Way::Permanent).map(lane).collect();
        for replicator in of_generation() {
            let longest = lane(replicator).longest().as_seconds_f64();
            eprint!(
                "  {}: {} rows, none missing, longest gap {longest:.2} s",
                replicator.name,
                replicator.rows().len(),
            );
            if replicator.way == Way::Permanent {
                eprintln!();
                continue;
            }
            let own = || signed.iter().filter(|(request, _)| replicator.made(request));
            let early =
                own().filter_map(|(request, expires)| Some(*expires - request.signed?)).min();
            let early = early.expect("a request");
            // The SDKs ask again five minutes before the expiry, and what they are given then has
            // more than that left.
            if replicator.way == Way::Endpoint && course.lifetime >= Duration::from_secs(900) {
                assert!(
                    early >= TimeDelta::minutes(5),
                    "{} signed {early} before",
                    replicator.name
                );
            }
            let compared = lane(replicator).compare([&permanent[0], &permanent[1]]);
            eprintln!(
                "; {} keys, {compared}; signed {} s before expiry at the latest",
                keys(own().map(|(request, _)| *request)),
                early.num_seconds()
            );
            if !compared.is_even() {
                uneven.push(format!("{}: {compared:?}", replicator.name));
            }
        }
    }
    assert_eq!(uneven, [""; 0], "rotations make gaps longer");
}

fn keys<'a>(requests: impl Iterator<Item = &'a Request>) -> usize {
    requests.filter_map(|request| request.access_key_id.as_ref()).collect::<BTreeSet<_>>().len()
}
