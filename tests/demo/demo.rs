//! `make demo`: a device's minute on real parts, watched.
//!
//! A token whose key can't be read, mutual TLS to a cloud that checks what AWS checks, credentials that
//! live 20 s, the real Litestream restarted before each expiry, and at the end a restore from S3 that is
//! compared row by row. `LITESTREAM=0.3.13` takes the other generation, `DEMO_SECONDS` another length.
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

use screen::Screen;
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
        Some(summary) => {
            summary.publish();
            if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => {
            println!("\nStopped. Everything it started is gone again.");
            ExitCode::from(130)
        }
    }
}

/// How long Litestream gets for the last rows: it uploads every second, and takes two to start.
const TIME_TO_UPLOAD: Duration = Duration::from_secs(15);

/// The whole story; `None` when somebody pressed Ctrl-C.
fn play(generation: Generation, length: Duration, interrupted: &AtomicBool) -> Option<Summary> {
    println!("\nA device's minute: short-lived AWS credentials, and every row in S3\n");
    let mut device = set_up(generation);

    say(
        "Device",
        "edgerotate fetches, hands the credentials to Litestream, and writes a heartbeat every 0.2 s.",
    );
    say("", "Now watch it rotate before each expiry.\n");
    device.start();
    watch(&mut device, length, interrupted)?;

    println!("\nThe minute is over.\n");
    device.stop();
    let on_device = rows(&device.database);
    say("Stopped", "edgerotate by SIGTERM, and Litestream once it has uploaded what was left.");
    let copy = device.scratch.join("restored.db");
    // It may have been restarted a moment ago, and one that is stopped before it has begun uploads nothing. Whatever
    // is missing after this is missing.
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
    say(
        "Restored",
        "from S3 into a new file, with another key; now compared with the device's, id by id.\n",
    );
    if interrupted.load(Ordering::Relaxed) {
        return None;
    }
    let (missing, _) = compare(&on_device, &restored);
    Some(Summary {
        generation,
        timeline: Timeline::of(&device),
        rows_device: on_device.len(),
        rows_restored: restored.len(),
        missing,
        expired_token_errors: device.cloud.count_error("ExpiredToken"),
        longest_upload_gap: device.cloud.longest_upload_gap(),
        integrity: integrity(&copy),
    })
}

fn set_up(generation: Generation) -> Device {
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

    let device = Device::assemble(scratch, token, cloud, certificate, generation);
    say(
        "Litestream",
        &format!(
            "{}, the real one; it starts when the first credentials are there.",
            generation.version()
        ),
    );
    device
}

fn watch(device: &mut Device, length: Duration, interrupted: &AtomicBool) -> Option<()> {
    device.wait_until("the first heartbeat", SOON, |device| !device.rows().is_empty());
    let mut screen = Screen::new(device.litestream.generation, length);
    let start = Instant::now();
    while start.elapsed() < length {
        if interrupted.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(status) = device.daemon().has_exited() {
            panic!("edgerotate ended with {status}:\n{}", device.log_tail());
        }
        screen.show(&Timeline::of(device), device.cloud.count_error("ExpiredToken"));
        thread::sleep(Duration::from_millis(100));
    }
    Some(())
}

/// One step of the story: a heading in its own column, then plain words.
fn say(heading: &str, text: &str) {
    println!("  {heading:<12} {text}");
}

/// Ctrl-C ends the demo at its next step, so that what it started is cleaned up on the usual way out.
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
