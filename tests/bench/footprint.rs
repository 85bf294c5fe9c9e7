//! What a process holds and does, as the kernel counts it.

use std::{collections::BTreeSet, fs, time::Duration};

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

/// The part of a footprint that shared libraries take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Libraries {
    pub pss_kib: f64,
    pub private_dirty_kib: f64,
    pub count: usize,
}

impl Libraries {
    /// All but those that every Rust program has: the C library, its loader, and the unwinder.
    /// Memory that a library asked for at run time is not in it.
    pub fn of(pid: u32) -> Self {
        const OWN: [&str; 4] = ["libc.so", "ld-linux", "libgcc_s.so", "libm.so"];
        let smaps = read(&format!("/proc/{pid}/smaps"));
        let (mut sum, mut names, mut counts) = (Self::default(), BTreeSet::new(), false);
        for line in smaps.lines() {
            // A mapping's own line begins with its addresses, the others with `Name:`.
            if line.split(' ').next().is_some_and(|first| !first.ends_with(':')) {
                let name = line.rsplit('/').next().unwrap_or_default();
                counts = name.contains(".so") && !OWN.iter().any(|own| name.starts_with(own));
                if counts {
                    names.insert(name);
                }
            } else if counts {
                sum.pss_kib += field(line, "Pss:").unwrap_or_default();
                sum.private_dirty_kib += field(line, "Private_Dirty:").unwrap_or_default();
            }
        }
        sum.count = names.len();
        sum
    }
}

fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
