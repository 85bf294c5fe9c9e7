//! Litestream's restart, and the proof that it happened.
//!
//! A restart command's exit code proves little: the unit may have failed since, or nothing was restarted at all. What
//! counts is that Litestream *started after* the environment file was written. systemd keeps the invocation of each
//! unit as the target of a link that anyone may read; without systemd, a pid file and the process's start time tell it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use crate::config;

/// Where systemd keeps its links (src/core/unit.c, unit_export_invocation_id).
const UNITS: &str = "/run/systemd/units";

/// How often Litestream is looked at until it has started.
const LOOK: Duration = Duration::from_millis(100);

/// Variables of the daemon that are not for the command: where a PIN may stand, and what systemd meant for the daemon.
const NOT_HANDED_ON: &[&str] = &[
    "EDGEROTATE_PRIVATE_KEY",
    "DEVICE_PRIVATE_KEY_PKCS11_PHRASE",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// One start of Litestream, told from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// systemd's invocation id.
    Invocation(String),
    /// A process, and when it started, in clock ticks after boot.
    Process { pid: u32, started: u64 },
}

/// A process, told from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// In clock ticks after boot.
    pub started: u64,
}

impl Process {
    /// The process with this id, if there is one.
    pub fn running(pid: u32) -> Option<Self> {
        Some(Self { pid, started: stat_field(&stat(pid)?, START_TIME)? })
    }

    /// Whether it still runs. One that ended and is not yet waited for holds nothing any more.
    pub fn is_running(self) -> bool {
        let is_it = |stat: String| {
            let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
            stat_field(&stat, START_TIME) == Some(self.started) && !state.starts_with(['Z', 'X'])
        };
        stat(self.pid).is_some_and(is_it)
    }
}

/// The Litestream that takes the credentials.
#[derive(Clone, Debug)]
pub struct Litestream {
    command: Vec<String>,
    timeout: Duration,
    pid_file: Option<PathBuf>,
    unit: String,
    invocation: PathBuf,
}

/// Why a restart counts as failed. One line, with what to do.
pub type RestartError = String;

impl Litestream {
    pub fn new(config: &config::Litestream) -> Self {
        Self {
            command: config.restart_command.clone(),
            timeout: config.restart_timeout,
            pid_file: config.pid_file.clone(),
            unit: config.unit.clone(),
            invocation: Path::new(UNITS).join(format!("invocation:{}", config.unit)),
        }
    }

    /// Whether a start of Litestream can be seen at all here.
    pub fn can_be_seen(&self) -> bool {
        self.pid_file.is_some() || self.invocation.parent().is_some_and(Path::is_dir)
    }

    /// Whether edgerotate restarts it; otherwise something else watches the environment file.
    pub fn is_restarted_here(&self) -> bool {
        !self.command.is_empty()
    }

    /// The start that Litestream runs from now, if it runs.
    pub fn current_start(&self) -> Option<Start> {
        match &self.pid_file {
            Some(pid_file) => process_start(pid_file),
            None => {
                let target = fs::read_link(&self.invocation).ok()?;
                Some(Start::Invocation(target.to_string_lossy().into_owned()))
            }
        }
    }

    /// Whether a process is Litestream's: the one in the pid file or a child of it, or one in the unit's control group.
    /// Both can be read without privilege. `None` where neither tells.
    pub fn is(&self, pid: u32) -> Option<bool> {
        if let Some(pid_file) = &self.pid_file {
            let main = read_pid(pid_file)?;
            // What is started may be a script that runs Litestream.
            let parents = std::iter::successors(Some(pid), |pid| parent(*pid));
            return Some(parents.take(PARENTS).any(|pid| pid == main));
        }
        if !self.can_be_seen() {
            return None;
        }
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Some(groups.lines().flat_map(|line| line.split('/')).any(|part| part == self.unit))
    }

    /// Restarts it, or waits until what watches the file has; `before` is the start that must be over.
    ///
    /// `None` if it can't be seen here and the command's word is taken for it.
    ///
    /// # Errors
    /// What failed and what to do. Dropping the future kills the command.
    pub async fn restart(&self, before: Option<Start>) -> Result<Option<Start>, RestartError> {
        let wait = format!("{} s", self.timeout.as_secs());
        match timeout(self.timeout, self.run_and_look(&before)).await {
            Ok(restarted) => restarted,
            Err(_) if self.is_restarted_here() => Err(format!(
                "Litestream has not started within {wait} (EDGEROTATE_RESTART_TIMEOUT); look at \
                 its log, and run {} by hand",
                self.command.join(" ")
            )),
            Err(_) => Err(format!(
                "nothing restarted Litestream within {wait} of the environment file's change; \
                 set EDGEROTATE_RESTART_COMMAND, or look at the path unit that watches the file"
            )),
        }
    }

    async fn run_and_look(&self, before: &Option<Start>) -> Result<Option<Start>, RestartError> {
        if self.is_restarted_here() {
            self.run().await?;
        }
        if !self.can_be_seen() {
            return Ok(None);
        }
        loop {
            match self.current_start() {
                Some(start) if Some(&start) != before.as_ref() => return Ok(Some(start)),
                _ => sleep(LOOK).await,
            }
        }
    }

    async fn run(&self) -> Result<(), RestartError> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        for name in NOT_HANDED_ON {
            command.env_remove(name);
        }
        // What it prints on standard error goes where ours goes: into the journal, under its own words.
        let status = command.status().await.map_err(|e| not_run(program, &e))?;
        if status.success() { Ok(()) } else { Err(failed(&self.command, status)) }
    }
}

fn not_run(program: &str, error: &io::Error) -> RestartError {
    format!("{program} cannot be run: {error}; look at EDGEROTATE_RESTART_COMMAND")
}

fn failed(command: &[String], status: ExitStatus) -> RestartError {
    format!("{} failed ({status}); its own words stand before this line", command.join(" "))
}

fn process_start(pid_file: &Path) -> Option<Start> {
    let Process { pid, started } = Process::running(read_pid(pid_file)?)?;
    Some(Start::Process { pid, started })
}

fn read_pid(pid_file: &Path) -> Option<u32> {
    fs::read_to_string(pid_file).ok()?.trim().parse().ok()
}

fn parent(pid: u32) -> Option<u32> {
    stat_field(&stat(pid)?, PARENT)
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// Numbers of fields in /proc/PID/stat (proc(5)).
const PARENT: usize = 4;
const START_TIME: usize = 22;

/// More parents than a wrapper script has.
const PARENTS: usize = 5;

/// A field after the second. That one, the program's name, may have spaces and parentheses in it.
fn stat_field<T: std::str::FromStr>(stat: &str, number: usize) -> Option<T> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_start_time_whatever_the_program_is_called() {
        let started = |stat: &str| stat_field::<u64>(stat, START_TIME);
        let after = "S 1 2 2 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 20";
        assert_eq!(started(&format!("42 (litestream) {after}")), Some(987_654));
        assert_eq!(started(&format!("42 (odd) S 1 (name) {after}")), Some(987_654));
        assert_eq!(started("nonsense"), None);
    }

    #[test]
    fn this_process_has_a_start() {
        let path = std::env::temp_dir().join(format!("edgerotate-pid-{}", std::process::id()));
        fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        let Some(Start::Process { pid, started }) = process_start(&path) else { panic!() };
        assert_eq!(pid, std::process::id());
        assert!(started > 0);
        let this = Process { pid, started };
        assert_eq!(Process::running(pid), Some(this));
        assert!(this.is_running());
        assert!(!Process { started: started + 1, ..this }.is_running());
        fs::remove_file(path).unwrap();
    }
}
