//! Processes as /proc tells of them, to whoever looks (proc(5)).

use std::{fs, path::Path, time::Duration};

use crate::core::boottime::Boottime;

/// A process, told from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub started: Boottime,
}

impl Process {
    /// The living process with this id, if there is one.
    pub fn running(pid: u32) -> Option<Self> {
        Some(Self { pid, started: start_time(&stat(pid)?)? })
    }
}

/// Whether a process runs the program of this name.
pub fn is_named(pid: u32, wanted: &str) -> bool {
    name(pid).is_some_and(|name| name == wanted)
}

/// `litestream replicate -once`.
pub fn runs_once(pid: u32) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|word| matches!(word, b"-once" | b"--once"))
}

/// The kernel keeps 15 bytes of a program's name.
const COMM: usize = 15;

pub fn name_of(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.chars().take(COMM).collect()
}

fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

pub fn parent(pid: u32) -> Option<u32> {
    fields(&stat(pid)?)?.nth(1)?.parse().ok()
}

/// More parents than a wrapper script has.
pub const PARENTS: usize = 5;

/// When a living process started: field 22 of /proc/PID/stat, in ticks after boot (proc(5)).
fn start_time(stat: &str) -> Option<Boottime> {
    let mut fields = fields(stat)?;
    // A zombie has ended; it only waits for its parent to ask how.
    let state = fields.next().filter(|state| !matches!(*state, "Z" | "X" | "x"));
    let ticks: u64 = fields.nth(18)?.parse().ok()?;
    state.map(|_| Boottime::from_millis(ticks.saturating_mul(TICK.as_millis() as u64)))
}

/// The fields of /proc/PID/stat from the third on, the state. The second, the program's name, may
/// have spaces and parentheses in it.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    let (_, after_name) = stat.rsplit_once(')')?;
    Some(after_name.split_ascii_whitespace())
}

/// A clock tick, in which the kernel tells a process's start: USER_HZ, which is 100 on every
/// architecture Linux has today but alpha and ia64.
pub const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_start_time_whatever_the_program_is_called() {
        let after = "S 1 2 2 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 20";
        let started = Some(Boottime::from_millis(9_876_540));
        assert_eq!(start_time(&format!("42 (litestream) {after}")), started);
        assert_eq!(start_time(&format!("42 (odd) S 1 (name) {after}")), started);
        assert_eq!(start_time(&format!("42 (litestream) {}", after.replacen('S', "Z", 1))), None);
        assert_eq!(start_time("nonsense"), None);
    }

    #[test]
    fn knows_this_process_by_its_name() {
        let pid = std::process::id();
        let program = std::env::current_exe().unwrap();
        // A thread of the tests has a name of its own, the process has the program's.
        assert!(is_named(pid, &name_of(&program)));
        assert!(!is_named(pid, "litestream"));
        assert_eq!(name_of(Path::new("/usr/lib/litestream-0.5.17-aarch64")), "litestream-0.5.");
    }
}
