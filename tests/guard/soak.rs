//! Restart after restart while S3 answers in turn with all that it can answer with, under an
//! application that writes in small steps and checkpoints in between: `make soak-guard`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    application::Application,
    harness::{end_rotations, suspect, under_steps},
    support::{Device, Generation, SOON, database},
};

/// A rotation each seven seconds or so.
const LIFETIME: Duration = Duration::from_secs(14);

#[test]
#[ignore = "half an hour: make soak-guard"]
fn two_hundred_restarts_of_litestream_0_5_lose_nothing_whatever_s3_answers() {
    soak("soak-05", Generation::V05, 200);
}

#[test]
#[ignore = "a quarter of an hour: make soak-guard"]
fn a_hundred_restarts_of_litestream_0_3_lose_nothing_whatever_s3_answers() {
    soak("soak-03", Generation::V03, 100);
}

/// What S3 answers, by name.
fn answers() -> [(&'static str, Value); 7] {
    [
        ("403", json!({"status": 403, "code": "AccessDenied", "delay_s": 0.6})),
        ("ExpiredToken", json!({"status": 400, "code": "ExpiredToken", "delay_s": 0.6})),
        ("503", json!({"status": 503, "code": "SlowDown"})),
        ("after 0.6 s", json!({"delay_s": 0.6})),
        ("after 3 s", json!({"delay_s": 3})),
        ("nothing", json!({"refuse_connections": true})),
        ("well", json!({})),
    ]
}

fn soak(name: &str, generation: Generation, restarts: usize) {
    let mut device = Device::new(name, generation, LIFETIME);
    let application = Application::new(&mut device, "app.db");
    let path = application.path.clone();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    device.mend_at_starts();
    device.start();
    device.wait_for_log("restart success litestream", 2 * SOON);
    let mut met = answers().map(|(answer, _)| (answer, 0));
    let rows = under_steps(application, || {
        for number in 0.. {
            let before = device.litestream.restarts();
            if before >= restarts {
                break;
            }
            let (answer, fault) = &answers()[number % 7];
            device.cloud.s3_fault(fault);
            device.wait_until("a restart", 8 * SOON, |d| d.litestream.restarts() > before);
            met[number % 7] = (answer, met[number % 7].1 + 1);
            // Over the start, and some tries after it.
            let written = device.rows().len();
            device.wait_until("some heartbeats", 2 * SOON, |d| d.rows().len() > written + 20);
            device.cloud.heal();
        }
        end_rotations(&device);
    });
    let seen = device.litestream.restarts();
    let marked = device.count_in_log("its replica may lack rows");
    let to = device.scratch.join("copy-of-app.db");
    device.litestream.restore_whole_of(&path, &to, &rows, 4 * SOON);
    let restored = database::rows(&to);
    let (missing, _) = database::compare(&rows, &restored);
    let whole =
        device.litestream.restore_whole(&device.scratch.join("copy.db"), &device.rows(), SOON);
    eprintln!(
        "{name}: {seen} restarts, S3 answered {met:?}; {} rows of the application and {} \
         heartbeats, {} missing; marked {marked} times, marked at the end: {}",
        rows.len(),
        whole.len(),
        missing.len(),
        if suspect(&device).is_empty() { "nothing" } else { "something" },
    );
    assert!(missing.is_empty(), "{missing:?}");
    device.stop();
}
