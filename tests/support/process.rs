//! Child processes that can't outlive the test.

use std::{
    env,
    ffi::OsStr,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::wait_for;

/// A running program whose output goes to a file. Killed when dropped.
pub struct Process {
    child: Child,
    name: String,
    output: PathBuf,
}

/// A command that is killed when the thread that started it ends: Ctrl-C, a panic, SIGKILL of the
/// test.
///
/// setpriv replaces itself with the program, so the process id and the arguments are the program's
/// own. Its environment is empty but for a PATH, and for where OpenSSL's engines are if that is
/// said.
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if let Some(engines) = env::var_os("OPENSSL_ENGINES") {
        command.env("OPENSSL_ENGINES", engines);
    }
    command
}

impl Process {
    /// Starts `command`, with what it prints appended to `output`.
    pub fn start(name: &str, command: &mut Command, output: &Path) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(output)
            .expect("a file for the output");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Self { child, name: name.to_owned(), output: output.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Sends a signal; one that has ended already does not mind.
    pub fn signal(&self, signal: Signal) {
        match kill(self.nix_pid(), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => panic!("{signal} to {}: {e}", self.name),
        }
    }

    pub fn has_exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child to wait for")
    }

    /// Waits for its end, and panics with its last lines when it goes on.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let name = self.name.clone();
        wait_for(&format!("the end of {name}"), deadline, || self.has_exited())
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        if let Some(status) = self.has_exited() {
            return status;
        }
        self.signal(Signal::SIGTERM);
        self.wait(deadline)
    }

    /// SIGKILL, and reaped.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process id"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end and returns what it printed; panics with that when it fails.
pub fn run(command: &mut Command) -> String {
    let (succeeded, output) = try_run(command);
    // Without the environment, which may hold credentials.
    assert!(succeeded, "{:?} failed:\n{output}", command.get_args().collect::<Vec<_>>());
    output
}

/// Runs a program to its end: whether it succeeded, and all it printed.
pub fn try_run(command: &mut Command) -> (bool, String) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
    let text =
        [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
    (output.status.success(), text)
}

/// A process that a test watches without being its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub pid: u32,
    pub command_line: String,
    /// Start time in ticks: with the process id it names one process for good.
    started: String,
}

impl Seen {
    pub fn new(pid: u32) -> Option<Self> {
        let (_, started) = parent_and_start(pid)?;
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command_line = String::from_utf8_lossy(&command_line).replace('\0', " ");
        Some(Self { pid, command_line, started })
    }

    /// Zombies don't count: they hold nothing any more.
    pub fn is_alive(&self) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = state.rsplit_once(") ").map_or("", |(_, rest)| rest);
        !state.is_empty()
            && !state.starts_with('Z')
            && parent_and_start(self.pid).is_some_and(|(_, started)| started == self.started)
    }
}

/// Every process below `ancestor`, in no order.
pub fn descendants(ancestor: u32) -> Vec<Seen> {
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent_and_start(pid)?.0)))
        .collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(all.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found[1..].iter().filter_map(|pid| Seen::new(*pid)).collect()
}

fn parent_and_start(pid: u32) -> Option<(u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, so count from the last bracket.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some((fields.get(1)?.parse().ok()?, (*fields.get(19)?).to_owned()))
}

/// Puts a program at `path`, by way of another process: whatever this process has open for writing,
/// a test beside this one that starts a program just then has open as well for a moment, and what
/// is open for writing can't be run.
pub fn make_program(path: &Path, contents: &[u8]) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, contents).expect("a program's draft");
    run(tied("install").args(["-m", "755"]).arg(&draft).arg(path));
}
