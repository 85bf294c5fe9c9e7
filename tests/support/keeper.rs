//! What keeps Litestream running: a thread that plays systemd for machines without it.
//!
//! Litestream is this thread's child, not the restart command's. It has the environment file as its
//! only environment, read anew at each start, and a restart is answered once the new process is
//! there, as with `systemctl restart`.

use std::{
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;

use super::{Process, SOON, process::tied};

/// How long a stop may take before it becomes a SIGKILL, as `TimeoutStopSec` says it on an image;
/// longer than Litestream's own `shutdown-sync-timeout`.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Starts, restarts and stops one Litestream.
pub struct Keeper {
    shared: Arc<Shared>,
    /// For `EDGEROTATE_RESTART_COMMAND`.
    pub restart_command: String,
    thread: Option<JoinHandle<()>>,
}

/// What is kept running.
pub struct Job {
    pub program: PathBuf,
    pub configuration: PathBuf,
    pub environment_file: PathBuf,
    pub pid_file: PathBuf,
    pub log: PathBuf,
}

/// One start, or one restart, of Litestream.
#[derive(Clone, Debug)]
pub struct Start {
    /// When somebody asked for it, or when Litestream ended by itself.
    pub asked: DateTime<Utc>,
    pub started: DateTime<Utc>,
    pub pid: u32,
    /// Which credentials it started with.
    pub access_key_id: String,
}

struct Shared {
    job: Job,
    end: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    process: Option<Process>,
    starts: Vec<Start>,
    /// So many requests are still to fail.
    failures: u32,
    failed: u32,
    /// Requests are answered only once this is false again.
    hung: bool,
    /// So many starts are allowed; one that is not waits between the stop and the start. None: all
    /// are.
    allowed: Option<u32>,
    /// Litestream is stopped, and waits to be allowed to start.
    waits: bool,
    /// Stops are SIGKILLs.
    kills: bool,
    /// Run before each start, with Litestream's environment, as `ExecStartPre=-` does it.
    before_start: Vec<PathBuf>,
}

impl Keeper {
    /// Waits for the first request to start; the restart command goes into `directory`.
    pub fn new(directory: &Path, job: Job) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a port that can be polled");
        let port = listener.local_addr().expect("a port").port();
        let script = directory.join("restart-litestream");
        fs::write(&script, include_str!("restart-litestream")).expect("the restart command");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .expect("the restart command");

        let shared = Arc::new(Shared { job, end: AtomicBool::new(false), state: Mutex::default() });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve(&listener)
        });
        Self {
            shared,
            restart_command: format!("{} {port}", script.display()),
            thread: Some(thread),
        }
    }

    /// Each start so far, the first included.
    pub fn starts(&self) -> Vec<Start> {
        self.shared.state().starts.clone()
    }

    /// The process id while one runs.
    pub fn pid(&self) -> Option<u32> {
        self.shared.state().process.as_ref().map(Process::pid)
    }

    /// Lets so many of the next requests fail.
    pub fn fail_restarts(&self, count: u32) {
        self.shared.state().failures = count;
    }

    /// How many requests were made to fail so far.
    pub fn failed_restarts(&self) -> u32 {
        self.shared.state().failed
    }

    /// Lets requests hang, or answers them again.
    pub fn hang_restarts(&self, hung: bool) {
        self.shared.state().hung = hung;
    }

    /// From now on each restart waits between the stop and the start until [`Keeper::allow_start`].
    pub fn hold_starts(&self) {
        self.shared.state().allowed = Some(0);
    }

    /// Allows one start that waits, or the next that would.
    pub fn allow_start(&self) {
        if let Some(allowed) = &mut self.shared.state().allowed {
            *allowed = 1;
        }
    }

    /// Allows all starts again.
    pub fn allow_starts(&self) {
        self.shared.state().allowed = None;
    }

    /// Whether Litestream is stopped and waits to be allowed to start.
    pub fn waits_to_start(&self) -> bool {
        self.shared.state().waits
    }

    /// Stops Litestream by SIGKILL from now on.
    pub fn kill_at_restarts(&self) {
        self.shared.state().kills = true;
    }

    /// Runs a command before each start.
    pub fn before_starts(&self, command: Vec<PathBuf>) {
        self.shared.state().before_start = command;
    }

    /// Sends Litestream a signal, as something else on the device might.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.shared.state().process {
            process.signal(signal);
        }
    }

    /// Stops Litestream until a restart, as a person does who is at work.
    pub fn stop_by_hand(&self) {
        self.shared.stop_process();
    }

    /// Stops Litestream for good; it uploads what is left. Says how long that took.
    pub fn stop(&mut self) -> Duration {
        let start = Instant::now();
        self.shared.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the thread that keeps Litestream");
        }
        start.elapsed()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Nobody waits for the last upload here: a test that wants it calls stop().
        if self.thread.is_some() {
            if let Some(process) = &mut self.shared.state().process {
                process.kill();
            }
            self.stop();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the state of Litestream")
    }

    fn serve(&self, listener: &TcpListener) {
        while !self.end.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((client, _)) => {
                    // It may well be gone before it is answered.
                    self.answer(client).ok();
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => panic!("the port of restart-litestream: {e}"),
            }
            self.revive();
            thread::sleep(Duration::from_millis(10));
        }
        self.stop_process();
    }

    fn answer(&self, client: TcpStream) -> io::Result<()> {
        client.set_nonblocking(false)?;
        client.set_read_timeout(Some(SOON))?;
        let mut request = String::new();
        BufReader::new(client.try_clone()?).read_line(&mut request)?;
        while self.state().hung && !self.end.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        // Who was killed meanwhile has asked again since.
        client.set_nonblocking(true)?;
        if matches!(client.peek(&mut [0]), Ok(0)) {
            return Ok(());
        }
        client.set_nonblocking(false)?;
        let answer = match request.trim() {
            "restart" => {
                self.restart().map_or_else(|e| format!("failed: {e}"), |()| "done".to_owned())
            }
            other => format!("failed: {other:?} is not known"),
        };
        writeln!(&client, "{answer}")
    }

    fn restart(&self) -> Result<(), String> {
        {
            let mut state = self.state();
            if state.failures > 0 {
                state.failures -= 1;
                state.failed += 1;
                return Err("ordered by the test".to_owned());
            }
        }
        let asked = Utc::now();
        self.stop_process();
        self.wait_to_start();
        self.start(asked)
    }

    fn wait_to_start(&self) {
        loop {
            {
                let mut state = self.state();
                state.waits = state.allowed == Some(0) && !self.end.load(Ordering::Relaxed);
                if !state.waits {
                    state.allowed = state.allowed.map(|allowed| allowed.saturating_sub(1));
                    return;
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop_process(&self) {
        // Taken out, so that nobody waits for the lock as long as Litestream takes for its last
        // upload.
        let Some(mut process) = self.state().process.take() else {
            return;
        };
        let kills = self.state().kills;
        process.signal(if kills { Signal::SIGKILL } else { Signal::SIGTERM });
        let start = Instant::now();
        while process.has_exited().is_none() && start.elapsed() < STOP_TIMEOUT {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn start(&self, asked: DateTime<Utc>) -> Result<(), String> {
        let environment = fs::read_to_string(&self.job.environment_file)
            .map_err(|e| format!("the environment file: {e}"))?;
        let variables: Vec<_> =
            environment.lines().filter_map(|line| line.split_once('=')).collect();
        let before = self.state().before_start.clone();
        if let Some((program, arguments)) = before.split_first() {
            let mut command = tied(program);
            command.envs(variables.iter().copied()).args(arguments);
            Process::start("before Litestream", &mut command, &self.job.log).wait(4 * SOON);
        }
        let process = Process::start(
            "Litestream",
            tied(&self.job.program)
                .envs(variables.iter().copied())
                .args(["replicate", "-config"])
                .arg(&self.job.configuration),
            &self.job.log,
        );
        let pid = process.pid();
        let new = self.job.pid_file.with_extension("new");
        fs::write(&new, format!("{pid}\n")).map_err(|e| e.to_string())?;
        fs::rename(&new, &self.job.pid_file).map_err(|e| e.to_string())?;
        let key = variables
            .iter()
            .find(|(name, _)| *name == "AWS_ACCESS_KEY_ID")
            .map_or("", |(_, value)| *value);
        let mut state = self.state();
        state.starts.push(Start { asked, started: Utc::now(), pid, access_key_id: key.to_owned() });
        state.process = Some(process);
        Ok(())
    }

    /// Starts Litestream again when it ended by itself, as `Restart=always` does.
    fn revive(&self) {
        let ended =
            self.state().process.as_mut().is_some_and(|process| process.has_exited().is_some());
        if ended {
            self.state().process = None;
            thread::sleep(Duration::from_millis(100));
            self.start(Utc::now()).ok();
        }
    }
}
