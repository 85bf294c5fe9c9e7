//! `make image-aarch64`: an image for aarch64 on a machine that is emulated, kernel and all: boot,
//! rotation, upload, shutdown, restore; and how long each took.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a machine that does not boot shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "it talks to a person")]
#![allow(dead_code, reason = "the tests use more of a machine")]

#[path = "../support/mod.rs"]
mod support;

mod emulated;
mod fleet;
mod parts;

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use emulated::Emulated;
use serde_json::json;
use support::Generation;

/// A rotation begins after half of it, and takes its time on an emulated processor.
const LIFETIME: Duration = Duration::from_secs(300);

const ROTATIONS: usize = 2;

/// For any step. An emulator that shares its processor with others is slow.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What a device that is well does not say.
const COMPLAINTS: [&str; 6] = [
    "Failed to start",
    "Failed with result",
    "Kernel panic",
    "EXT4-fs error",
    "segfault",
    "Watchdog timeout",
];

fn main() -> ExitCode {
    let machine = Emulated::new("aarch64", Generation::V05, LIFETIME);
    let mut machine = match machine {
        Ok(machine) => machine,
        Err(reason) => {
            eprintln!("no image: {reason}");
            return ExitCode::FAILURE;
        }
    };
    machine.parts.set_in_image("EDGEROTATE_HEARTBEAT_INTERVAL=1s");
    println!("load of this machine: {}", load());
    machine.power_on();
    let on = Instant::now();
    println!("seconds since power on:");
    let mut ahead = steps();
    while !ahead.is_empty() {
        let names: Vec<&str> = ahead.iter().map(|step| step.name.as_str()).collect();
        machine.wait_until(&names.join("; "), PATIENCE, |machine| {
            assert_well(machine);
            ahead.iter().any(|step| (step.is_done)(machine))
        });
        ahead.retain(|step| {
            let done = (step.is_done)(&machine);
            if done {
                println!("{:7.1}  {}", on.elapsed().as_secs_f64(), step.name);
            }
            !done
        });
    }

    // The last upload takes its time, and the network must not go before it.
    machine.parts.cloud.s3_fault(&json!({"delay_s": 3}));
    let pressed = Instant::now();
    machine.power_off(PATIENCE);
    machine.parts.cloud.heal();
    println!("seconds for the rest:");
    println!("{:7.1}  shutdown, last uploads included", pressed.elapsed().as_secs_f64());
    let rows = machine.rows();
    assert!(!rows.is_empty(), "there is nothing to compare");
    let restoring = Instant::now();
    machine.parts.restore_whole(&rows);
    println!("{:7.1}  restore of all {} rows", restoring.elapsed().as_secs_f64(), rows.len());
    println!("load of this machine: {}", load());

    assert_well(&machine);
    assert_eq!(machine.parts.cloud.count_error("ExpiredToken"), 0);
    let secrets = machine.parts.secrets();
    secrets.assert_none_in("the journal", machine.said().as_bytes());
    ExitCode::SUCCESS
}

fn assert_well(machine: &Emulated) {
    let said = machine.said();
    for complaint in COMPLAINTS {
        assert!(
            !said.contains(complaint),
            "{complaint:?} on the console:\n{}",
            machine.last_words()
        );
    }
}

/// Something that comes once the machine is on.
struct Step {
    name: String,
    is_done: Box<dyn Fn(&Emulated) -> bool>,
}

fn steps() -> Vec<Step> {
    let said = |name: &str, sign: &'static str, times: usize| Step {
        name: name.to_owned(),
        is_done: Box::new(move |machine| machine.said().matches(sign).count() >= times),
    };
    let mut steps = vec![
        said("systemd runs", "Welcome to ", 1),
        said("the data partition is mounted", "Mounted data.mount", 1),
        said("edgerotate is ready (READY=1)", "Started edgerotate.service", 1),
        said("first heartbeat", "sqlite3 write success: id", 1),
        said("boot is complete (multi-user.target)", "Reached target multi-user.target", 1),
    ];
    for rotation in 0..=ROTATIONS {
        let name = match rotation {
            0 => "start".to_owned(),
            _ => format!("rotation {rotation}"),
        };
        steps.push(Step {
            name: format!("{name}: credentials issued"),
            is_done: Box::new(move |machine| machine.parts.cloud.issued().len() > rotation),
        });
        steps.push(Step {
            name: format!("{name}: first upload with them"),
            is_done: Box::new(move |machine| uploads_with(machine, rotation)),
        });
        let restarted = "restart success litestream";
        steps.push(said(&format!("{name}: restart confirmed"), restarted, rotation + 1));
    }
    steps
}

/// Whether something was uploaded with the credentials of that rotation.
fn uploads_with(machine: &Emulated, rotation: usize) -> bool {
    let cloud = &machine.parts.cloud;
    let issued = cloud.issued();
    issued.get(rotation).is_some_and(|credentials| {
        cloud.uploads().iter().any(|u| u.access_key_id.as_ref() == Some(&credentials.access_key_id))
    })
}

/// Programs that wanted a processor, on average over 1, 5 and 15 minutes.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").expect("the load");
    let processors = std::thread::available_parallelism().expect("processors");
    let averages: Vec<&str> = load.split(' ').take(3).collect();
    format!("{} on {processors} processors", averages.join(", "))
}
