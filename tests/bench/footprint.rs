//! What a process holds and does, as the kernel counts it.

use std::{fs, time::Duration};

/// One look.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// What it has in memory; what it shares with others in equal parts.
    pub pss_kib: f64,
    /// What nobody else has, and could not be read again from a file.
    pub private_dirty_kib: f64,
    pub threads: usize,
    pub descriptors: usize,
    /// How often one of its threads waited for something, and so how often something woke it.
    pub waits: u64,
    pub cpu: Duration,
}

impl Footprint {
    pub fn of(pid: u32) -> Self {
        let rollup = read(&format!("/proc/{pid}/smaps_rollup"));
        let kib = |name: &str| field(&rollup, name).expect("smaps_rollup");
        let tasks: Vec<String> = fs::read_dir(format!("/proc/{pid}/task"))
            .expect("its threads")
            .filter_map(|entry| Some(entry.ok()?.path().to_str()?.to_owned()))
            .collect();
        let waits = |task: &String| {
            let status = fs::read_to_string(format!("{task}/status")).ok()?;
            field(&status, "voluntary_ctxt_switches:")
        };
        let nanoseconds = |task: &String| {
            let text = fs::read_to_string(format!("{task}/schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        Self {
            pss_kib: kib("Pss:"),
            private_dirty_kib: kib("Private_Dirty:"),
            threads: tasks.len(),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").count(),
            waits: tasks.iter().filter_map(waits).sum::<f64>() as u64,
            cpu: Duration::from_nanos(tasks.iter().filter_map(nanoseconds).sum()),
        }
    }
}

fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
