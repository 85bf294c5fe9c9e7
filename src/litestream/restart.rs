//! Litestream's restart, and the proof that it happened.
//!
//! A restart command's exit code proves little: the unit may have failed since, or nothing was
//! restarted at all. What counts is that Litestream *started after* the environment file was
//! written. systemd keeps the invocation of each unit as the target of a link that anyone may read;
//! without systemd, a pid file and the process's start time tell it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use super::process::{PARENTS, Process, TICK, is_named, name_of, parent, runs_once};
use crate::{
    core::boottime::Boottime,
    settings,
    system::{
        child_environment::{self, OF_SESSION, PLAIN},
        process_group::KillOnDrop,
    },
};

/// Where systemd keeps its links (src/core/unit.c, unit_export_invocation_id).
const UNITS: &str = "/run/systemd/units";

/// How often Litestream is looked at until it has started.
const LOOK: Duration = Duration::from_millis(100);

/// A start counts when Litestream still runs so long after it was seen: with a broken
/// configuration, or an environment that it can't use, it starts and ends within a second.
const STEADY: Duration = Duration::from_millis(1500);

/// One start of Litestream, told from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// systemd's invocation id; the link is there only while the unit runs.
    Invocation(String),
    /// A process that lives, and when it started.
    Process { pid: u32, started: Boottime },
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invocation(id) => write!(f, "invocation {id}"),
            Self::Process { pid, .. } => write!(f, "process {pid}"),
        }
    }
}

/// The moment of a write of the environment file, and the start that may not have taken it.
#[derive(Clone, Debug)]
pub struct Written {
    at: Boottime,
    before: Option<Start>,
}

/// The Litestream that takes the credentials.
#[derive(Debug)]
pub struct Service {
    command: Vec<String>,
    timeout: Duration,
    place: UnitPlace,
    /// Litestream's program, as the kernel names a process that runs it.
    name: String,
    /// A start was seen at the place at least once, so it is the right place.
    ever_seen: AtomicBool,
    /// The last run of the command ended well.
    command_worked: AtomicBool,
}

/// Where a start is seen.
#[derive(Debug)]
enum UnitPlace {
    PidFile(PathBuf),
    Unit { name: String, link: PathBuf },
}

/// Why a restart counts as failed. One line, with what to do.
pub type RestartError = String;

impl Service {
    pub fn new(config: &settings::LitestreamSettings) -> Self {
        let place = match &config.pid_file {
            Some(path) => UnitPlace::PidFile(path.clone()),
            None => UnitPlace::Unit {
                name: config.unit.clone(),
                link: Path::new(UNITS).join(format!("invocation:{}", config.unit)),
            },
        };
        Self {
            command: config.restart_command.clone(),
            timeout: config.restart_timeout,
            place,
            name: name_of(&config.program),
            ever_seen: AtomicBool::new(false),
            command_worked: AtomicBool::new(false),
        }
    }

    /// Whether a start of Litestream can be seen at all here.
    pub fn can_be_seen(&self) -> bool {
        match &self.place {
            UnitPlace::PidFile(_) => true,
            UnitPlace::Unit { .. } => Path::new(UNITS).is_dir(),
        }
    }

    /// Where it is looked for, and the setting that says so.
    pub fn place(&self) -> String {
        match &self.place {
            UnitPlace::PidFile(path) => format!(
                "the process that {} names; look at EDGEROTATE_LITESTREAM_PID_FILE",
                path.display()
            ),
            UnitPlace::Unit { name, .. } => format!("{name}; look at EDGEROTATE_LITESTREAM_UNIT"),
        }
    }

    /// Whether edgerotate restarts it; otherwise something else watches the environment file.
    pub fn is_restarted_here(&self) -> bool {
        !self.command.is_empty()
    }

    /// The start that Litestream runs from now, if it runs.
    pub fn current_start(&self) -> Option<Start> {
        let start = match &self.place {
            UnitPlace::PidFile(path) => process_start(path)?,
            UnitPlace::Unit { link, .. } => {
                Start::Invocation(fs::read_link(link).ok()?.to_string_lossy().into_owned())
            }
        };
        self.ever_seen.store(true, Ordering::Relaxed);
        Some(start)
    }

    /// Whether a process is Litestream's: the one in the pid file or a child of it, or one in the
    /// unit's control group. Both can be read without privilege. `None` where neither tells.
    ///
    /// One that runs for a forced snapshot is not the one that stays, and a program that Litestream
    /// runs (`exec:`) is none.
    pub fn is(&self, pid: u32) -> Option<bool> {
        if runs_once(pid) || self.runs(pid) {
            return Some(false);
        }
        match &self.place {
            UnitPlace::PidFile(path) => {
                // Without a pid file no Litestream runs, and nobody else is one.
                let Some(main) = read_pid(path) else { return Some(false) };
                // What is started may be a script that runs Litestream.
                let parents = std::iter::successors(Some(pid), |pid| parent(*pid));
                Some(parents.take(PARENTS).any(|pid| pid == main))
            }
            UnitPlace::Unit { name, .. } if self.can_be_seen() => {
                let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
                Some(groups.lines().flat_map(|line| line.split('/')).any(|part| part == name))
            }
            UnitPlace::Unit { .. } => None,
        }
    }

    /// Whether Litestream has started this process, which is another program.
    fn runs(&self, pid: u32) -> bool {
        let is_litestream = |pid: u32| is_named(pid, &self.name);
        let mut parents = std::iter::successors(parent(pid), |pid| parent(*pid));
        !is_litestream(pid) && parents.by_ref().take(PARENTS).any(is_litestream)
    }

    /// Every process that is Litestream's, as far as that can be told.
    pub fn processes(&self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.is(*pid) == Some(true) && Process::running(*pid).is_some()).collect()
    }

    /// To be called right after the environment file was renamed into place.
    ///
    /// Not before it: a Litestream that crashed may be started again in between, with the old file,
    /// and would count. systemd makes the link of a start first and then reads its environment
    /// files, so whatever start is not linked yet takes the new one.
    pub fn just_written(&self, now: Boottime) -> Written {
        Written { at: now, before: self.current_start() }
    }

    /// Restarts it, or waits until what watches the file has. With `again`, an attempt has failed
    /// before.
    ///
    /// `None` if it can't be seen here and the command's word is taken for it.
    ///
    /// # Errors
    /// What failed and what to do. Dropping the future kills the command and what it started.
    pub async fn restart(
        &self,
        written: &Written,
        again: bool,
    ) -> Result<Option<Start>, RestartError> {
        // Not a moment of the attempt: an attempt may take the whole time and be good.
        if again && since_write(self.current_start(), written).is_some() {
            if let Ok(start) = timeout(2 * STEADY, self.steady_start(written)).await {
                return Ok(Some(start));
            }
        }
        match timeout(self.timeout, self.run_and_look(written, again)).await {
            Ok(restarted) => restarted,
            Err(_) => Err(self.not_seen()),
        }
    }

    async fn run_and_look(
        &self,
        written: &Written,
        again: bool,
    ) -> Result<Option<Start>, RestartError> {
        // Where the command worked and nothing was ever seen, the name is more likely wrong than
        // Litestream dead; to restart it again and again would only interrupt it.
        let name_in_doubt = again
            && self.can_be_seen()
            && self.command_worked.load(Ordering::Relaxed)
            && !self.ever_seen.load(Ordering::Relaxed);
        if self.is_restarted_here() && !name_in_doubt {
            self.command_worked.store(false, Ordering::Relaxed);
            self.run().await?;
            self.command_worked.store(true, Ordering::Relaxed);
        }
        if !self.can_be_seen() {
            return Ok(None);
        }
        Ok(Some(self.steady_start(written).await))
    }

    /// Waits for a start after the write that lasts.
    async fn steady_start(&self, written: &Written) -> Start {
        loop {
            if let Some(start) = since_write(self.current_start(), written) {
                sleep(STEADY).await;
                if self.current_start().as_ref() == Some(&start) {
                    return start;
                }
            }
            sleep(LOOK).await;
        }
    }

    async fn run(&self) -> Result<(), RestartError> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        command.env_clear().envs(child_environment::listed(&[PLAIN, OF_SESSION]));
        // What it prints on standard error goes where ours goes: into the journal, under its own
        // words.
        let mut child = command.spawn().map_err(|e| {
            format!("{program} cannot be run: {e}; look at EDGEROTATE_RESTART_COMMAND")
        })?;
        let group = KillOnDrop::led_by(child.id());
        let status = child.wait().await.map_err(|e| format!("{program}: {e}"))?;
        // What it leaves running, such as Litestream itself, is meant to run.
        group.let_go();
        if status.success() {
            return Ok(());
        }
        let command = self.command.join(" ");
        Err(format!("{command} failed ({status}); its own words stand before this line"))
    }

    fn not_seen(&self) -> RestartError {
        let wait = format!("{} s", self.timeout.as_secs());
        let place = match &self.place {
            UnitPlace::PidFile(path) => format!(
                "a process that started since and lives, named by {} \
                 (EDGEROTATE_LITESTREAM_PID_FILE)",
                path.display()
            ),
            UnitPlace::Unit { name, .. } => {
                format!("a new invocation of {name} (EDGEROTATE_LITESTREAM_UNIT)")
            }
        };
        let remedy = if self.is_restarted_here() {
            format!("look at Litestream's log, and run {} by hand", self.command.join(" "))
        } else {
            "set EDGEROTATE_RESTART_COMMAND, or look at the unit that watches the environment file"
                .to_owned()
        };
        format!(
            "no start of Litestream that lasted {} s was seen within {wait}: looked for {place}; \
             {remedy}",
            STEADY.as_secs_f32()
        )
    }
}

/// A start that came after the write, and so took the file as it is now.
fn since_write(start: Option<Start>, written: &Written) -> Option<Start> {
    start.filter(|start| match start {
        Start::Invocation(_) => Some(start) != written.before.as_ref(),
        // The kernel rounds down to its tick.
        Start::Process { started, .. } => *started + TICK > written.at,
    })
}

fn process_start(pid_file: &Path) -> Option<Start> {
    let Process { pid, started } = Process::running(read_pid(pid_file)?)?;
    Some(Start::Process { pid, started })
}

fn read_pid(pid_file: &Path) -> Option<u32> {
    fs::read_to_string(pid_file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::clock;

    #[test]
    fn only_a_start_after_the_write_took_the_file() {
        let process = |started| Start::Process { pid: 42, started: Boottime::from_millis(started) };
        let written = |before| Written { at: Boottime::from_millis(5_004), before };
        let counts = |start, before| since_write(Some(start), &written(before)).is_some();
        assert!(!counts(process(4_990), None));
        assert!(counts(process(5_000), None));
        assert!(counts(process(9_000), Some(process(4_000))));
        let invocation = |id: &str| Start::Invocation(id.to_owned());
        assert!(!counts(invocation("a"), Some(invocation("a"))));
        assert!(counts(invocation("b"), Some(invocation("a"))));
        assert!(counts(invocation("b"), None));
    }

    #[test]
    fn this_process_has_a_start() {
        let path = std::env::temp_dir().join(format!("edgerotate-pid-{}", std::process::id()));
        fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        let Some(Start::Process { pid, started }) = process_start(&path) else { panic!() };
        assert_eq!(pid, std::process::id());
        assert!(started > Boottime::from_millis(0) && started <= clock::boottime());
        assert_eq!(Process::running(pid), Some(Process { pid, started }));
        fs::remove_file(path).unwrap();
    }
}
