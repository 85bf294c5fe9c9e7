//! `make demo`: a device's minute on real parts, watched.
//!
//! A token whose key can't be read, mutual TLS to a cloud that checks what AWS checks, credentials
//! that live 20 s, and at the end a restore from S3 that is compared row by row. Two devices live
//! it side by side: one hands the credentials on by the environment file, and restarts the real
//! Litestream before each expiry; the other by the endpoint, and restarts nothing.
//! `LITESTREAM=0.3.13` takes the other generation, `DEMO_SECONDS` another length.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a demo that can't go on shall say so and stop"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking is what a demo does")]
#![allow(clippy::disallowed_methods, reason = "a demo lives in real time")]

mod chart;
mod picture;
mod screen;
mod summary;
#[path = "../support/mod.rs"]
mod support;
mod timeline;

use std::{
    env,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;
use screen::{Screen, Seen};
use summary::Summary;
use support::{
    Cloud, Device, Generation, SOON, Scratch, Token,
    database::{compare, integrity, rows},
    device::THING,
};
use timeline::Timeline;

const LIFETIME: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let version = env::var("LITESTREAM").unwrap_or_else(|_| "0.5.17".to_owned());
    let Some(generation) = Generation::of_version(&version) else {
        let known = Generation::BOTH.map(Generation::version).join(" or ");
        eprintln!("LITESTREAM={version}: the demo knows {known}");
        return ExitCode::from(64);
    };
    let seconds = env::var("DEMO_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);

    let interrupted = watch_for_interrupt();
    match play(generation, Duration::from_secs(seconds), &interrupted) {
        Some(summaries) => {
            summary::publish(&summaries);
            let good = summaries.iter().all(Summary::is_good);
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => {
            println!("\nStopped. Everything it started is gone again.");
            ExitCode::from(130)
        }
    }
}

/// At the end come credentials as AWS has them, this long before it: what lives for 20 s an SDK
/// does not keep, and the last rows are uploaded when edgerotate has stopped.
const LAST_ONES: (Duration, Duration) = (Duration::from_secs(12), Duration::from_secs(900));

/// How long Litestream gets for the last rows: it uploads every second, and takes two to start.
const TIME_TO_UPLOAD: Duration = Duration::from_secs(15);

/// How a device hands the credentials to Litestream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    EnvironmentFile,
    Endpoint,
}

impl Delivery {
    const BOTH: [Self; 2] = [Self::EnvironmentFile, Self::Endpoint];

    /// As the setting has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EnvironmentFile => "environment-file",
            Self::Endpoint => "endpoint",
        }
    }
}

/// One device's minute.
pub struct Run {
    pub delivery: Delivery,
    pub device: Device,
}

/// The whole story; `None` when somebody pressed Ctrl-C.
fn play(
    generation: Generation,
    length: Duration,
    interrupted: &AtomicBool,
) -> Option<Vec<Summary>> {
    println!("\nA device's minute, twice: short-lived AWS credentials, and every row in S3\n");
    let mut runs = Delivery::BOTH.map(|delivery| set_up(generation, delivery));
    say(
        "Devices",
        "Two of them, each with all of this. edgerotate fetches, hands the credentials to \
         Litestream,",
    );
    say(
        "",
        "and writes a heartbeat every 0.2 s. One has EDGEROTATE_DELIVERY=environment-file: \
         Litestream",
    );
    say(
        "",
        "restarts with each new file. The other has =endpoint: Litestream asks, and nothing \
         restarts.",
    );
    say("", "Now watch them rotate before each expiry.\n");
    runs.iter_mut().for_each(|run| run.device.start());
    watch(&mut runs, length, interrupted)?;

    println!("\nThe minute is over.\n");
    for run in &mut runs {
        run.device.stop();
    }
    say("Stopped", "edgerotate by SIGTERM, and Litestream once it has uploaded what was left.");
    let summaries = runs.iter_mut().map(finish).collect();
    say(
        "Restored",
        "from S3 into new files, with another key; now compared with the devices', id by id.\n",
    );
    if interrupted.load(Ordering::Relaxed) {
        return None;
    }
    Some(summaries)
}

fn set_up(generation: Generation, delivery: Delivery) -> Run {
    // The story is told once.
    let say = |heading: &str, text: &str| {
        if delivery == Delivery::EnvironmentFile {
            say(heading, text);
        }
    };
    let scratch = Scratch::new("demo");
    let token = Token::new(&scratch);
    say("Token", "a SoftHSM token plays the HSM; the P-256 key was made inside it.");
    let (handed_out, answer) = token.try_to_read_key();
    assert!(!handed_out, "the token hands its key out: {answer}");
    say("", "Asked for the private key, with the right PIN, the token says");
    say("", &format!("  {}", answer.trim()));

    let cloud = Cloud::start(&scratch, LIFETIME);
    say(
        "Cloud",
        "tests/cloud plays AWS on loopback: the IoT credential provider (mutual TLS) and S3.",
    );
    say("", "It refuses what AWS refuses: wrong signatures, expired tokens.");

    let certificate =
        cloud.issue(&token.certificate_request(THING), THING, &scratch.join("device.pem"));
    say("Certificate", &format!("for the thing {THING}, on a request that the token signed."));

    let mut device = Device::assemble(scratch, token, cloud, certificate, generation);
    if delivery == Delivery::Endpoint {
        device.use_endpoint();
    }
    say("Litestream", &format!("{}, the real one.", generation.version()));
    Run { delivery, device }
}

fn watch(runs: &mut [Run; 2], length: Duration, interrupted: &AtomicBool) -> Option<()> {
    for run in runs.iter() {
        run.device.wait_until("the first heartbeat", SOON, |device| !device.rows().is_empty());
    }
    let mut screen = Screen::new(runs[0].device.litestream.generation, length);
    let start = Instant::now();
    let (before_the_end, lifetime) = LAST_ONES;
    let mut last_ones = false;
    while start.elapsed() < length || !runs.iter().all(has_lasting_credentials) {
        if !last_ones && start.elapsed() + before_the_end > length {
            runs.iter().for_each(|run| run.device.cloud.set_lifetime(lifetime));
            last_ones = true;
        }
        if interrupted.load(Ordering::Relaxed) {
            return None;
        }
        for run in runs.iter_mut() {
            if let Some(status) = run.device.daemon().has_exited() {
                panic!("edgerotate ended with {status}:\n{}", run.device.log_tail());
            }
        }
        let seen = runs.each_ref().map(|run| Seen {
            delivery: run.delivery,
            timeline: Timeline::of(&run.device),
            refused: run.device.cloud.count_error("ExpiredToken"),
        });
        screen.show(&seen);
        thread::sleep(Duration::from_millis(100));
    }
    Some(())
}

/// Litestream uploads with credentials that outlast the demo.
fn has_lasting_credentials(run: &Run) -> bool {
    let lasting = Utc::now() + LIFETIME * 2;
    let issued = run.device.cloud.issued();
    let uploads = run.device.cloud.uploads();
    issued.iter().filter(|one| one.expiration > lasting).any(|one| {
        uploads.iter().any(|upload| upload.access_key_id.as_ref() == Some(&one.access_key_id))
    })
}

/// Restores, and compares.
fn finish(Run { delivery, device }: &mut Run) -> Summary {
    let on_device = rows(&device.database);
    let copy = device.scratch.join("restored.db");
    // Litestream may have been restarted a moment ago, and one that is stopped before it has begun
    // uploads nothing. Whatever is missing after this is missing.
    let begun = Instant::now();
    while begun.elapsed() < TIME_TO_UPLOAD
        && (device.litestream.restore(&copy).is_err() || rows(&copy) != on_device)
    {
        thread::sleep(Duration::from_millis(200));
    }
    device.litestream.stop();
    let restored = match device.litestream.restore(&copy) {
        Ok(()) => rows(&copy),
        Err(e) => {
            eprintln!("{e}");
            Vec::new()
        }
    };
    let (missing, _) = compare(&on_device, &restored);
    Summary {
        delivery: *delivery,
        generation: device.litestream.generation,
        timeline: Timeline::of(device),
        rows_device: on_device.len(),
        rows_restored: restored.len(),
        missing,
        expired_token_errors: device.cloud.count_error("ExpiredToken"),
        longest_upload_gap: device.cloud.longest_upload_gap(),
        integrity: integrity(&copy),
    }
}

/// One step of the story: a heading in its own column, then plain words.
fn say(heading: &str, text: &str) {
    println!("  {heading:<12} {text}");
}

/// Ctrl-C ends the demo at its next step, so that what it started is cleaned up on the usual way
/// out.
fn watch_for_interrupt() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        loop {
            runtime.block_on(tokio::signal::ctrl_c()).expect("the signal");
            flag.store(true, Ordering::Relaxed);
        }
    });
    interrupted
}
