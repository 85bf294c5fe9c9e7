//! Litestream, run for its answer: with the credentials of the environment file and nothing else of ours.
//!
//! Its environment is what this file says. The credentials go there and never into its arguments, which anyone may
//! read; and what a shell happens to have does not, since Litestream 0.5.17 can't restore at all where it finds
//! `AWS_CA_BUNDLE`.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use zeroize::Zeroizing;

use crate::{
    core::environment_file,
    litestream::answer::{self, Answer},
    problems::trouble::{CREDENTIALS_EXPIRED, NOT_THIS_USER, Trouble},
    replica::verify::workplace::{Progress, Workplace},
    settings,
    system::{signals::Signals, tied},
};

/// What Litestream may know of this process's environment: where programs, time zones and authorities are, and the way
/// out. Everything else that litestream.yml names comes out of the environment file, as it does for the unit.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// An answer without network: the program is there and reads its configuration.
const QUICK: Duration = Duration::from_secs(20);

/// How often a restore is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Of what it prints, the end is kept: the error is in the last line.
const KEPT: usize = 16 * 1024;

/// Litestream's program with its configuration and credentials.
pub struct Litestream<'a> {
    edgerotate: &'a Path,
    program: &'a Path,
    configuration: &'a Path,
    environment_file: &'a Path,
    stall: Duration,
}

impl<'a> Litestream<'a> {
    pub fn new(edgerotate: &'a Path, config: &'a settings::Litestream, stall: Duration) -> Self {
        Self {
            edgerotate,
            program: &config.program,
            configuration: &config.configuration,
            environment_file: &config.environment_file,
            stall,
        }
    }

    /// Its version, such as `0.5.17`.
    ///
    /// # Errors
    /// It can't be run, or says something else.
    pub async fn version(&self, signals: &mut Signals) -> Result<String, Trouble> {
        let answer = self.quick(&["version"], signals).await?;
        let version = answer.stdout.trim().trim_start_matches('v');
        let is_version = version.starts_with(|c: char| c.is_ascii_digit()) && version.len() < 40;
        if answer.status.success() && is_version {
            return Ok(version.to_owned());
        }
        Err(Trouble::not_run(self.program, &"`litestream version` tells no version"))
    }

    /// The databases that litestream.yml names.
    ///
    /// # Errors
    /// The configuration is not there or can't be read.
    pub async fn databases(&self, signals: &mut Signals) -> Result<Vec<PathBuf>, Trouble> {
        // Litestream says "not found" of a file that it only may not read.
        match fs::File::open(self.configuration) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Trouble::io(self.configuration, &e, "", ""));
            }
            _ => {}
        }
        let configuration = self.configuration.to_string_lossy();
        let answer = self.quick(&["databases", "-config", &configuration], signals).await?;
        if !answer.status.success() {
            return Err(answer.trouble());
        }
        Ok(answer::databases(&answer.stdout))
    }

    /// Restores the newest state of `database` into the workplace; `watch` is told how far it is.
    ///
    /// A long restore can outlive its credentials. Where there are newer ones by then, it is begun again, once.
    ///
    /// # Errors
    /// What Litestream said, or that it got nowhere and was ended.
    pub async fn restore(
        &self,
        database: &Path,
        workplace: &Workplace,
        signals: &mut Signals,
        watch: &mut dyn FnMut(&Progress),
    ) -> Result<(), Trouble> {
        let first = credentials(self.environment_file)?;
        let restored = self.restore_with(&first, database, workplace, signals, watch).await;
        if !restored.as_ref().is_err_and(|trouble| trouble.cause == CREDENTIALS_EXPIRED) {
            return restored;
        }
        let newer = credentials(self.environment_file)?;
        if newer == first {
            return restored;
        }
        workplace.empty()?;
        self.restore_with(&newer, database, workplace, signals, watch).await
    }

    async fn restore_with(
        &self,
        credentials: &[(String, Zeroizing<String>)],
        database: &Path,
        workplace: &Workplace,
        signals: &mut Signals,
        watch: &mut dyn FnMut(&Progress),
    ) -> Result<(), Trouble> {
        let file = workplace.file();
        let mut command = self.command(credentials);
        command.args(["restore", "-config"]).arg(self.configuration).arg("-o").arg(&file);
        command.arg(database);
        let mut run = Run::start(self.program, command)?;

        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = workplace.progress();
        let mut since = Instant::now();
        let answer = loop {
            let trouble = tokio::select! {
                answer = run.end() => break answer,
                () = signals.next() => Trouble::interrupted(),
                _ = looks.tick() => {
                    let now = workplace.progress();
                    watch(&now);
                    if now != progress {
                        (progress, since) = (now, Instant::now());
                    }
                    match workplace.still_has_room() {
                        Err(trouble) => trouble,
                        Ok(()) if since.elapsed() > self.stall => {
                            Trouble::stalled(self.stall.as_secs(), progress.bytes)
                        }
                        Ok(()) => continue,
                    }
                }
            };
            run.kill().await;
            return Err(trouble);
        };
        let answer = self.started(answer)?;
        if answer.status.success() && file.exists() {
            return Ok(());
        }
        Err(answer.without(credentials).trouble())
    }

    async fn quick(&self, arguments: &[&str], signals: &mut Signals) -> Result<Answer, Trouble> {
        // No credentials: what is asked needs none. `${…}` of the environment file is needed to read litestream.yml.
        let credentials = match credentials(self.environment_file) {
            Ok(variables) => {
                variables.into_iter().filter(|(name, _)| !name.starts_with("AWS_")).collect()
            }
            // Who may not read it is told so at once, instead of by whatever else is not permitted.
            Err(trouble) if trouble.cause == NOT_THIS_USER => return Err(trouble),
            Err(_) => Vec::new(),
        };
        let mut command = self.command(&credentials);
        command.args(arguments);
        let mut run = Run::start(self.program, command)?;
        let answer = tokio::select! {
            answer = timeout(QUICK, run.end()) => answer,
            () = signals.next() => {
                run.kill().await;
                return Err(Trouble::interrupted());
            }
        };
        match answer {
            Ok(answer) => self.started(answer),
            Err(_) => {
                run.kill().await;
                let what = format!("`{}` takes more than {} s", arguments[0], QUICK.as_secs());
                Err(Trouble::not_run(self.program, &what))
            }
        }
    }

    fn started(&self, answer: io::Result<Answer>) -> Result<Answer, Trouble> {
        let answer = answer.map_err(|e| Trouble::not_run(self.program, &e))?;
        if tied::was_not_started(answer.status) {
            return Err(Trouble::not_run(self.program, &answer.stderr.trim()));
        }
        Ok(answer)
    }

    fn command(&self, credentials: &[(String, Zeroizing<String>)]) -> Command {
        let mut command = tied::command(self.edgerotate, self.program.as_os_str());
        command.env_clear();
        let wanted = |(name, _): &(OsString, OsString)| ENVIRONMENT.iter().any(|n| name == n);
        command.envs(env::vars_os().filter(wanted));
        for (name, value) in credentials {
            command.env(name, value.as_str());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C on a terminal is for this process, which ends that one and tidies up.
        command.process_group(0).kill_on_drop(true);
        command
    }
}

fn credentials(path: &Path) -> Result<Vec<(String, Zeroizing<String>)>, Trouble> {
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => Ok(environment_file::variables(&text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Trouble::no_environment_file(path)),
        Err(e) => Err(Trouble::io(path, &e, "environment-file", "look at the file")),
    }
}

/// A running Litestream; what it prints is taken in while it runs.
struct Run {
    child: Child,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run {
    fn start(program: &Path, mut command: Command) -> Result<Self, Trouble> {
        let child = command.spawn().map_err(|e| Trouble::not_run(program, &e))?;
        Ok(Self { child, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Waits for its end. May be dropped and called again.
    async fn end(&mut self) -> io::Result<Answer> {
        let (stdout, stderr) = (self.child.stdout.as_mut(), self.child.stderr.as_mut());
        let (out, err) =
            tokio::join!(take_in(stdout, &mut self.stdout), take_in(stderr, &mut self.stderr));
        out.and(err)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Answer {
            status: self.child.wait().await?,
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        })
    }

    /// Ends it and waits until it is gone: what it wrote is about to be removed.
    async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}

async fn take_in(
    pipe: Option<&mut (impl AsyncRead + Unpin)>,
    kept: &mut Vec<u8>,
) -> io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut part = [0; 4096];
    loop {
        let bytes = pipe.read(&mut part).await?;
        if bytes == 0 {
            return Ok(());
        }
        kept.extend_from_slice(&part[..bytes]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
}
