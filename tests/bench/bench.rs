//! `make bench`: what edgerotate costs, each figure against something measured in the same run.
//!
//! `PART=fetch`, or several names with spaces, measures that alone; `QUICK=1` takes a few minutes
//! and shows that it works. Both reports and the plots go to target/bench. No figure makes it fail:
//! a machine has its moods. A part that can't go on does, once the others are through.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a part that can't go on shall say so and stop"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a report is for reading")]
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]

#[path = "../support/mod.rs"]
mod support;

mod builds;
mod chart;
mod fetch;
mod flash;
mod fleet;
#[path = "../fleet/simulation.rs"]
mod fleet_simulation;
mod footprint;
mod heartbeat;
mod idle;
mod replication;
mod report;
mod rotations;
mod statistics;

use std::{
    env,
    os::unix::process::CommandExt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

use report::{Figures, Outcome, Section};

/// One thing that is measured.
pub struct Part {
    name: &'static str,
    title: &'static str,
    needs: &'static str,
    /// It counts what a process or a device of its own does, so that it may run beside others that
    /// do the same.
    counts: bool,
    measure: fn(Effort) -> Result<Figures, Skipped>,
}

/// Why a part can't be measured here.
pub struct Skipped(pub String);

/// How much time to take.
#[derive(Clone, Copy)]
pub struct Effort {
    pub quick: bool,
}

impl Effort {
    pub fn pick<T>(self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

const PARTS: [Part; 7] = [
    fetch::PART,
    heartbeat::PART,
    replication::PART,
    idle::PART,
    rotations::PART,
    flash::PART,
    fleet::PART,
];

fn main() -> ExitCode {
    own_mounts();
    let wanted = env::var("PART").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    if let Some(unknown) = wanted.iter().find(|name| !PARTS.iter().any(|part| part.name == **name))
    {
        let known = PARTS.map(|part| part.name).join(", ");
        eprintln!("PART={unknown}: there are {known}");
        return ExitCode::from(64);
    }
    let effort = Effort { quick: env::var("QUICK").is_ok_and(|value| !value.is_empty()) };
    let chosen = |part: &&Part| wanted.is_empty() || wanted.contains(&part.name);
    let (beside, alone): (Vec<&Part>, Vec<&Part>) =
        PARTS.iter().filter(chosen).partition(|part| part.counts);
    let mut sections: Vec<Section> = vec![];
    for part in alone {
        sections.push(run(part, effort));
        // What is there already outlasts whoever ends it here.
        report::write(&sections, effort);
    }
    // A thread for each: what a part starts ends with its thread.
    thread::scope(|scope| {
        let running: Vec<_> = beside.iter().map(|part| scope.spawn(|| run(part, effort))).collect();
        sections.extend(running.into_iter().map(|thread| thread.join().expect("a section")));
    });
    sections.sort_by_key(|section| PARTS.iter().position(|part| part.name == section.name));
    report::write(&sections, effort);
    println!("bench: the report is target/bench/report.md");
    let failed = sections.iter().any(|section| matches!(section.outcome, Outcome::Failed(_)));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(part: &Part, effort: Effort) -> Section {
    println!("bench: {}", part.name);
    let begin = Instant::now();
    let load = statistics::load();
    let measured = catch_unwind(AssertUnwindSafe(|| (part.measure)(effort)));
    let outcome = match measured {
        Ok(Ok(figures)) => Outcome::Measured(figures),
        Ok(Err(Skipped(why))) => Outcome::Skipped(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Outcome::Failed(text.unwrap_or("it ended").to_owned())
        }
    };
    let seconds = begin.elapsed().as_secs();
    println!("bench: {}: {} after {seconds} s", part.name, outcome.word());
    Section {
        name: part.name,
        title: part.title,
        needs: part.needs,
        load: [load, statistics::load()],
        seconds,
        outcome,
    }
}

/// In a mount namespace of its own what is mounted goes with this process, however it ends.
fn own_mounts() {
    const DONE: &str = "EDGEROTATE_BENCH_MOUNTS";
    let arguments = ["--mount", "--propagation", "private"];
    let can = || Command::new("unshare").args(arguments).arg("true").output();
    if nix::unistd::geteuid().is_root()
        && env::var_os(DONE).is_none()
        && can().is_ok_and(|output| output.status.success())
    {
        let program = env::current_exe().expect("the path of this program");
        let error = Command::new("unshare").args(arguments).arg(program).env(DONE, "1").exec();
        panic!("unshare: {error}");
    }
}
