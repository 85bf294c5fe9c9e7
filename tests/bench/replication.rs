//! The longest time without an upload, and rows lost: by each way to have credentials, against
//! permanent ones.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::{
    Effort, Part, Skipped,
    chart::Bars,
    report::Figures,
    statistics::Summary,
    support::{
        Application, Cloud, Device, Generation, Litestream, Replicator, SOON, Way,
        cloud::Request,
        database,
        device::THING,
        keep_pace,
        svg::{AMBER, BLUE, FAINT},
    },
};

pub const PART: Part = Part {
    name: "replication",
    title: "Replication over rotations",
    needs: "both Litestreams, which tests/prepare puts into target/tools",
    counts: false,
    measure,
};

const LIFETIME: Duration = Duration::from_secs(12);

/// One rotation and more: they are half a lifetime apart.
const SLICE: Duration = Duration::from_secs(10);

/// Rows a second.
const RATES: [u32; 3] = [1, 10, 200];

const RESTART: &str = "restart";
const ENDPOINT: &str = "endpoint";
const PERMANENT: &str = "permanent";

fn measure(effort: Effort) -> Result<Figures, Skipped> {
    let slices = effort.pick(2, 4);
    let outcomes: Vec<Outcome> = RATES.into_iter().flat_map(|rate| run(rate, slices)).collect();
    let mut figures = Figures::default();
    for outcome in outcomes.iter().filter(|outcome| outcome.way != PERMANENT) {
        let permanent = outcomes
            .iter()
            .find(|one| {
                (one.way, one.rate, one.generation) == (PERMANENT, outcome.rate, outcome.generation)
            })
            .expect("a run with permanent credentials");
        figures.add(
            format!("{}: longest time without an upload ÷ permanent", outcome.name()),
            Summary::of_ratios(&outcome.gaps, &permanent.gaps),
            "×",
        );
    }
    let mut bars = vec![];
    for outcome in &outcomes {
        let longest = outcome.gaps.iter().copied().fold(0.0, f64::max);
        figures.count(format!("{}: longest of all", outcome.name()), longest, "s");
        let colour = match outcome.way {
            RESTART => AMBER,
            ENDPOINT => BLUE,
            _ => FAINT,
        };
        bars.push((outcome.name(), longest, colour));
    }
    for outcome in &outcomes {
        figures.add_with_goal(
            format!("{}: lost, of {} rows and {} keys", outcome.name(), outcome.rows, outcome.keys),
            Summary::of(&[outcome.missing as f64]),
            "rows",
            0.0,
        );
    }
    figures.note(format!(
        "At each rate six Litestreams with a sync interval of 1 s run beside each other for \
         {slices} times {} s, each with a \
         database of its own: credentials that live for {} s by restart and by endpoint, and \
         permanent ones. Each such span \
         has a rotation in it, and gives one longest time. Lost is what a restore lacks after {} \
         s.",
        SLICE.as_secs(),
        LIFETIME.as_secs(),
        SOON.as_secs(),
    ));
    figures.plot(
        "replication",
        Bars {
            title: "The longest time without an upload",
            subtitle: "Over one rotation after another, with a sync interval of 1 s",
            bars,
            unit: "s",
        }
        .draw(),
    );
    Ok(figures)
}

struct Outcome {
    way: &'static str,
    generation: Generation,
    /// Rows a second.
    rate: u32,
    /// The longest time without an upload in each slice, in seconds.
    gaps: Vec<f64>,
    rows: usize,
    missing: usize,
    /// How many access keys signed its uploads.
    keys: usize,
}

impl Outcome {
    fn name(&self) -> String {
        format!("{} rows/s, {}, {}", self.rate, self.generation.version(), self.way)
    }
}

/// One Litestream and what it replicates.
struct Lane<'a> {
    way: &'static str,
    litestream: &'a Litestream,
    cloud: &'a Cloud,
    database: PathBuf,
    /// Of the bucket.
    folder: String,
}

fn run(rate: u32, slices: u32) -> Vec<Outcome> {
    // A program beside the daemon writes, and Litestream is restarted under it.
    let (restarted, applications): (Vec<Device>, Vec<Application>) =
        Generation::BOTH.map(restarted).into_iter().unzip();
    let asking = asking();
    let replicators: Vec<Replicator> = [Way::Endpoint, Way::Permanent]
        .into_iter()
        .flat_map(|way| Generation::BOTH.map(|generation| (way, generation)))
        .map(|(way, generation)| Replicator::start(&asking, way, generation))
        .collect();
    let of_restarted = restarted.iter().zip(&applications).map(|(device, application)| Lane {
        way: RESTART,
        litestream: &device.litestream,
        cloud: &device.cloud,
        database: application.path.clone(),
        folder: format!("{THING}/db1"),
    });
    let of_replicators = replicators.iter().map(|replicator| Lane {
        way: if replicator.way == Way::Permanent { PERMANENT } else { ENDPOINT },
        litestream: &replicator.litestream,
        cloud: &asking.cloud,
        database: replicator.path.clone(),
        folder: replicator.name.clone(),
    });
    let lanes: Vec<Lane> = of_restarted.chain(of_replicators).collect();
    for lane in &lanes {
        asking.wait_until("an upload by each", 3 * SOON, |_| {
            lane.cloud.uploads().iter().any(|upload| upload.is_below(&lane.folder))
        });
    }

    let end = AtomicBool::new(false);
    let pause = Duration::from_secs(1) / rate;
    let begin = thread::scope(|scope| {
        let end = &end;
        for application in applications {
            scope.spawn(move || {
                keep_pace(pause, end, || application.write(1));
            });
        }
        for replicator in &replicators {
            scope.spawn(move || replicator.write_until(end, pause));
        }
        let begin = Utc::now();
        thread::sleep(SLICE * slices);
        end.store(true, Relaxed);
        begin
    });
    lanes.iter().map(|lane| lane.outcome(rate, begin, slices)).collect()
}

fn restarted(generation: Generation) -> (Device, Application) {
    let mut device = Device::new("bench-restart", generation, LIFETIME);
    let application = Application::new(&mut device, "busy.db");
    device.set("GUARD_DATABASES", application.path.to_str().expect("a plain path"));
    device.set("HEARTBEAT_INTERVAL", "5s");
    device.start();
    (device, application)
}

/// A device with the endpoint, for Litestreams that ask.
fn asking() -> Device {
    let mut device = Device::new("bench-endpoint", Generation::V05, LIFETIME);
    device.use_endpoint();
    device.set("HEARTBEAT_INTERVAL", "5s");
    device.start();
    device.wait_until("the endpoint", SOON, |device| {
        device.cloud.fetches() > 0 && device.runtime_directory.join("endpoint.env").exists()
    });
    device
}

impl Lane<'_> {
    fn outcome(&self, rate: u32, begin: DateTime<Utc>, slices: u32) -> Outcome {
        let requests = self.cloud.requests();
        let uploads: Vec<&Request> = requests
            .iter()
            .filter(|r| r.is_upload() && r.is_below(&self.folder) && r.time >= begin)
            .collect();
        // What comes after the last upload counts up to the end.
        let end = begin + SLICE * slices;
        let times: Vec<_> =
            uploads.iter().map(|r| r.time).filter(|time| *time < end).chain([end]).collect();
        let longest = |slice: u32| {
            let slice = begin + SLICE * slice..=begin + SLICE * (slice + 1);
            let end_in_it = times.windows(2).filter(|pair| slice.contains(&pair[1]));
            let gaps = end_in_it.map(|pair| (pair[1] - pair[0]).as_seconds_f64());
            // Without an upload it is all of it, at least.
            gaps.reduce(f64::max).unwrap_or(SLICE.as_secs_f64())
        };
        let keys: BTreeSet<_> = uploads.iter().filter_map(|r| r.access_key_id.as_ref()).collect();
        let rows = database::rows(&self.database);
        Outcome {
            way: self.way,
            generation: self.litestream.generation,
            rate,
            gaps: (0..slices).map(longest).collect(),
            missing: self.missing(&rows),
            rows: rows.len(),
            keys: keys.len(),
        }
    }

    /// What a restore lacks, after time enough for the last rows: they are late, not lost.
    fn missing(&self, rows: &[i64]) -> usize {
        let begin = Instant::now();
        let to = self.database.with_extension("restored");
        loop {
            let restored = self.litestream.restore_of(&self.database, &to);
            let copy = restored.ok().and_then(|()| database::try_rows(&to).ok());
            let missing = database::compare(rows, &copy.unwrap_or_default()).0.len();
            if missing == 0 || begin.elapsed() > SOON {
                return missing;
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}
