//! Every kind of client at once, over one rotation after another, beside the same with permanent keys.
//!
//! `ENDPOINT_LIFETIME` is how many seconds the credentials live, `ENDPOINT_ROTATIONS` over how many of them it goes:
//! `make soak-endpoint` has a run in which the SDKs keep what they got, as on a device.

use std::{
    collections::BTreeSet,
    env,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use chrono::Utc;

use crate::{
    client::ask_until_served,
    programs::Program,
    support::{Device, Generation, Replicator, SOON, Way, cloud, cloud::Request, database},
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
        .map(|(way, generation)| Replicator::start(&device, way, generation))
        .collect();
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
    let held_up = compare(&replicators, &requests);
    none_was_signed_with_expired_ones(&device, &requests, held_up);
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

/// Credentials as short as these are used up to a second or two before they expire; on a device it is a minute. So a
/// request that the machine holds up comes too late, and that is no fault of a rotation. One that came later than anything
/// was held up was signed with expired credentials.
fn none_was_signed_with_expired_ones(device: &Device, requests: &[Request], held_up: Duration) {
    let issued = device.cloud.issued();
    for refused in requests.iter().filter(|one| one.error.as_deref() == Some("ExpiredToken")) {
        let key = refused.access_key_id.as_deref();
        let used =
            issued.iter().find(|one| Some(one.access_key_id.as_str()) == key).expect("issued");
        let late = (refused.time - used.expiration).to_std().unwrap_or_default();
        eprintln!("  {:?} came {late:.2?} after its credentials expired", refused.key);
        assert!(late <= held_up, "{refused:?} came {late:?} after its credentials expired");
    }
}

/// Gaps between uploads, against those with permanent credentials in the same run. Returns the longest of the latter.
fn compare(replicators: &[Replicator], requests: &[Request]) -> Duration {
    let permanent = replicators.iter().filter(|one| one.way == Way::Permanent);
    let permanent = permanent.map(|one| longest_gap(requests, one)).max().expect("one");
    for generation in Generation::BOTH {
        let of_generation = || replicators.iter().filter(|one| one.generation == generation);
        for replicator in of_generation() {
            let gap = longest_gap(requests, replicator);
            let switches = gaps_at_switches(requests, replicator);
            let keys = keys(requests.iter().filter(|request| replicator.made(request)));
            eprintln!(
                "  {}: {} rows, none missing, {keys} keys, longest gap {gap:.2?}, at a new key {:.2?}",
                replicator.name,
                replicator.rows().len(),
                median(&switches).unwrap_or_default()
            );
            // All share a machine that has other things to do, so one gap may be as long as it likes. But if it were the
            // rotations that made them longer, most of those with a rotation in them would be.
            assert!(median(&switches) <= Some(permanent), "{switches:?} against {permanent:?}");
        }
    }
    permanent
}

fn keys<'a>(requests: impl Iterator<Item = &'a Request>) -> usize {
    requests.filter_map(|request| request.access_key_id.as_ref()).collect::<BTreeSet<_>>().len()
}

/// The gaps in which one key followed another, in their order.
fn gaps_at_switches(requests: &[Request], replicator: &Replicator) -> Vec<Duration> {
    let uploads = requests.iter().filter(|one| one.is_upload() && replicator.made(one));
    let uploads: Vec<_> = uploads.collect();
    let is_switch = |pair: &&[&Request]| pair[0].access_key_id != pair[1].access_key_id;
    let gap = |pair: &[&Request]| (pair[1].time - pair[0].time).to_std().unwrap_or_default();
    uploads.windows(2).filter(is_switch).map(gap).collect()
}

fn median(gaps: &[Duration]) -> Option<Duration> {
    let mut gaps = gaps.to_vec();
    gaps.sort();
    gaps.get(gaps.len() / 2).copied()
}

fn longest_gap(requests: &[Request], replicator: &Replicator) -> Duration {
    cloud::longest_gap(requests.iter().filter(|request| replicator.made(request))).expect("uploads")
}
