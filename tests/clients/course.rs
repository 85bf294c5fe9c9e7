//! What every client goes through, all of them side by side on one device.

use std::{
    env,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    client::{self, Client, Kind},
    support::{Device, Generation, Process, Replicator, SOON, Way, cloud::Request},
    table::{self, Row},
};

/// Seconds between two objects of a program.
const PAUSE: &str = "2";

/// A client that goes on as if nothing had happened. Some wait for half a minute between two tries.
const COMES_BACK: Duration = Duration::from_secs(240);

/// One client that goes one way.
struct Runner<'a> {
    client: &'a Client,
    way: Way,
    /// The part of the bucket that it writes to.
    key: String,
    runs: Runs,
    seen: Row,
}

enum Runs {
    Program {
        process: Process,
        /// How much of its output is from before what is looked at.
        read: usize,
    },
    Litestream(Box<Replicator>),
}

pub fn run(clients: &[&Client]) {
    let lifetime = number("CLIENTS_LIFETIME", 60);
    let rotations = number("CLIENTS_ROTATIONS", 2) as usize;
    let lifetime = Duration::from_secs(lifetime);
    let mut device = Device::new("clients", Generation::V05, lifetime);
    device.use_endpoint();
    let clients_directory = client::directory(&device);
    std::fs::create_dir(&clients_directory).unwrap();
    device.set("CLIENT_DIRECTORY", clients_directory.to_str().unwrap());
    // What runs `edgerotate credential-process` has no environment for the module.
    let configuration = device.environment["SOFTHSM2_CONF"].clone();
    device.set("MODULE_ENVIRONMENT", format!("SOFTHSM2_CONF={configuration}"));
    device.cloud.provider_fault(&json!({"status": 503}));
    device.start();
    device.wait_for_problem("update credential failed", SOON);
    device.wait_until("endpoint.env", SOON, |device| {
        client::directory(device).join("endpoint.env").exists()
    });

    let mut runners = start_all(&device, clients);
    before_the_first_credentials(&device, &mut runners);
    over_rotations(&device, &mut runners, rotations, lifetime);
    with_the_daemon_away(&mut device, &mut runners, lifetime);
    let requests = device.cloud.requests();
    for runner in &mut runners {
        runner.seen.leads = leads(&device, runner, &requests);
    }
    let rows: Vec<Row> = runners.iter().map(|runner| runner.seen.clone()).collect();
    table::write(&rows, lifetime);
    device.stop();
}

fn start_all<'a>(device: &Device, clients: &[&'a Client]) -> Vec<Runner<'a>> {
    let ways = clients.iter().flat_map(|client| client.ways().iter().map(|way| (*client, *way)));
    ways.map(|(client, way)| {
        let key = format!("{}-{way:?}", client.name).to_lowercase();
        let runs = match client.kind {
            Kind::Litestream(generation) => {
                Runs::Litestream(Box::new(Replicator::start(device, way, generation)))
            }
            _ => launch(device, client, way, &key),
        };
        let key = if let Runs::Litestream(one) = &runs { one.name.clone() } else { key };
        let seen = Row::new(client, way);
        Runner { client, way, key, runs, seen }
    })
    .collect()
}

fn launch(device: &Device, client: &Client, way: Way, key: &str) -> Runs {
    let mut command = client.command(device, way, &format!("{key}/object"), PAUSE);
    let output = device.scratch.join(format!("{key}.log"));
    let process = Process::start(key, &mut command, &output);
    let read = process.output().len();
    Runs::Program { process, read }
}

/// The provider answers 503: what a program does that starts too early, and how it gets on once there are credentials.
fn before_the_first_credentials(device: &Device, runners: &mut [Runner]) {
    for runner in &mut *runners {
        let Runs::Program { process, .. } = &mut runner.runs else { continue };
        device.wait_until(&format!("a word of {}", runner.key), COMES_BACK, |_| {
            failures(&process.output()).count() > 0 || process.has_exited().is_some()
        });
    }
    // Those that end do so soon after their first word.
    let settled = Instant::now();
    device.wait_until("the end of who ends", SOON, |_| settled.elapsed() > Duration::from_secs(3));
    for runner in &mut *runners {
        let Runs::Program { process, .. } = &mut runner.runs else { continue };
        runner.seen.ends_at_start = process.has_exited().is_some();
        let output = process.output();
        let last = || output.lines().rfind(|line| !line.trim().is_empty());
        let words = failures(&output).next().or_else(last);
        runner.seen.first_words = words.unwrap_or_default().to_owned();
    }
    device.cloud.heal();
    device.wait_until("the first credentials", COMES_BACK, |device| device.cloud.fetches() > 0);
    let begin = Utc::now();
    for runner in &mut *runners {
        if runner.seen.ends_at_start {
            // As Restart=on-failure does.
            runner.runs = launch(device, runner.client, runner.way, &runner.key);
        }
    }
    wait_for_uploads(device, runners, begin);
}

fn over_rotations(device: &Device, runners: &mut [Runner], rotations: usize, lifetime: Duration) {
    for runner in &mut *runners {
        if let Runs::Program { process, read } = &mut runner.runs {
            *read = process.output().len();
        }
    }
    let fetches = device.cloud.fetches();
    let deadline = (rotations as u32 + 1) * lifetime + SOON;
    device.wait_until("the rotations", deadline, |device| {
        write_rows(runners);
        device.cloud.fetches() >= fetches + rotations
    });
    // The last of them may ask just before what they have expires.
    let newest = device.cloud.issued().pop().unwrap();
    let since = Utc::now();
    let expires = newest.expiration;
    for runner in &*runners {
        device.wait_until(&format!("newer credentials of {}", runner.key), deadline, |device| {
            write_rows(std::slice::from_ref(runner));
            let requests = device.cloud.requests();
            // Or ones that are newer still.
            requests.iter().any(|r| {
                runner.made(r)
                    && (r.access_key_id.as_deref() == Some(&newest.access_key_id)
                        || (r.time > since && r.time > expires && r.is_upload()))
            })
        });
    }
    eprintln!("{} requests refused with ExpiredToken", device.cloud.count_error("ExpiredToken"));
    for runner in runners {
        let Runs::Program { process, read } = &runner.runs else { continue };
        let output = process.output();
        let failed: Vec<&str> = failures(&output[*read..]).collect();
        assert_eq!(failed, [""; 0], "{} while the daemon runs", runner.key);
    }
}

/// How long a program can go on, and how soon it is back.
fn with_the_daemon_away(device: &mut Device, runners: &mut [Runner], lifetime: Duration) {
    device.stop();
    let expires = device.cloud.issued().iter().map(|issued| issued.expiration).max().unwrap();
    let left = (expires - Utc::now()).to_std().unwrap_or_default();
    eprintln!("the daemon is away; its credentials are good for {} s", left.as_secs());
    device.wait_until("the expiry", lifetime + SOON, |_| {
        write_rows(runners);
        // Long enough for those to be seen that go on without the daemon.
        Utc::now() > expires + Duration::from_secs(20)
    });
    let uploads = device.cloud.uploads();
    for runner in &mut *runners {
        let before = |upload: &&Request| runner.made(upload) && upload.time < expires;
        let last = uploads.iter().rfind(before).map(|upload| upload.time);
        let after = uploads.iter().any(|upload| runner.made(upload) && upload.time > expires);
        runner.seen.goes_on_until = last.filter(|_| !after).map(|last| seconds(last, expires));
    }
    device.start();
    device.wait_for_log_times("start app: ", 2, SOON);
    let back = Utc::now();
    for runner in &mut *runners {
        let ended = match &mut runner.runs {
            Runs::Program { process, .. } => process.has_exited().is_some(),
            Runs::Litestream(_) => false,
        };
        assert!(!ended, "{} has ended while the daemon was away", runner.key);
    }
    wait_for_uploads(device, runners, back);
}

/// Until each has written an object since `begin`; how long that took is kept.
fn wait_for_uploads(device: &Device, runners: &mut [Runner], begin: DateTime<Utc>) {
    for at in 0..runners.len() {
        let first =
            device.wait_for(&format!("an object of {}", runners[at].key), COMES_BACK, |device| {
                write_rows(runners);
                let uploads = device.cloud.uploads();
                uploads.iter().find(|u| runners[at].made(u) && u.time > begin).map(|u| u.time)
            });
        runners[at].seen.back_after = Some(seconds(begin, first));
    }
}

/// How long before the expiry of the old credentials the new ones were first used, at each change.
fn leads(device: &Device, runner: &Runner, requests: &[Request]) -> Vec<f64> {
    let issued = device.cloud.issued();
    let mut held: Option<&str> = None;
    let mut leads = Vec::new();
    for request in requests.iter().filter(|r| runner.made(r)) {
        let Some(id) = request.access_key_id.as_deref() else { continue };
        if let Some(old) = held.filter(|old| *old != id) {
            let expires = issued.iter().find(|i| i.access_key_id == old).map(|i| i.expiration);
            leads.extend(expires.map(|expires| seconds(request.arrived, expires)));
        }
        held = Some(id);
    }
    // What came after the daemon's absence says nothing of when it asks.
    leads.retain(|lead| *lead > 0.0);
    leads
}

impl Runner<'_> {
    fn made(&self, request: &Request) -> bool {
        request.is_below(&self.key)
    }
}

fn write_rows(runners: &[Runner]) {
    for runner in runners {
        if let Runs::Litestream(one) = &runner.runs {
            one.write(1);
        }
    }
}

/// What went wrong; an SDK's own warnings are not among it.
fn failures(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| line.strip_prefix("failed: "))
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64()
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
