//! Litestream's program, run for its answer. Each start of it by edgerotate, but for the unit's
//! own, is made here.
//!
//! Its environment is what this file says. Credentials go there and never into its arguments, which
//! anyone may read; and what a shell happens to have does not, since Litestream 0.5.17 can't
//! restore at all where it finds `AWS_CA_BUNDLE`.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::{
    core::environment_file,
    litestream::answer::{self, Output},
    problems::trouble::{NOT_THIS_USER, Trouble},
    settings::{self, table},
    system::{session, signals::Signals, tied},
};

/// What Litestream may know of this process's environment: where programs, time zones and
/// authorities are, and the way out. Everything else that litestream.yml names comes out of the
/// environment file, as it does for the unit.
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

/// For an answer without network: it needs none, but its 30 MB from a slow disk.
pub const QUICK: Duration = Duration::from_secs(20);

/// Of what it prints, the end is kept: the error is in the last line.
const KEPT: usize = 16 * 1024;

/// Names and values that Litestream is given, which may be secret.
pub type Variables = Vec<(String, Zeroizing<String>)>;

/// Litestream's program, and what it is started with.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    pub file: &'a Path,
    /// edgerotate itself, which becomes the program, so that it ends with this process. `None`
    /// where it ends by itself.
    edgerotate: Option<&'a Path>,
    environment: Environment,
}

#[derive(Clone, Copy, Debug)]
enum Environment {
    /// This process was started in Litestream's own, and what it prints belongs into the log of
    /// Litestream's unit.
    Own,
    /// What this file says.
    Listed,
}

impl<'a> Program<'a> {
    /// Asked for its version, and nothing else.
    pub fn alone(file: &'a Path) -> Self {
        Self { file, edgerotate: None, environment: Environment::Listed }
    }

    /// Run by a process that Litestream's unit started.
    pub fn in_its_unit(edgerotate: &'a Path, file: &'a Path) -> Self {
        Self { file, edgerotate: Some(edgerotate), environment: Environment::Own }
    }

    /// The command, with these variables.
    pub fn command(&self, variables: &[(String, Zeroizing<String>)]) -> Command {
        let mut command = match self.edgerotate {
            Some(edgerotate) => tied::command(edgerotate, self.file.as_os_str()),
            None => Command::new(self.file),
        };
        match self.environment {
            Environment::Own => {
                // Litestream's own, but for settings of edgerotate's that may hold a secret.
                for name in table::names_of_secrets() {
                    command.env_remove(name);
                }
                &mut command
            }
            Environment::Listed => {
                let wanted =
                    |(name, _): &(OsString, OsString)| ENVIRONMENT.iter().any(|n| name == n);
                command.env_clear().envs(env::vars_os().filter(wanted));
                command.stdout(Stdio::piped()).stderr(Stdio::piped())
            }
        };
        for (name, value) in variables {
            command.env(name, value.as_str());
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        session::lead_own(&mut command);
        command
    }

    /// What it answers within [`QUICK`]. To be dropped by whoever no longer waits.
    ///
    /// # Errors
    /// As the system gives them; no answer in time.
    pub async fn ask(
        &self,
        arguments: &[&OsStr],
        variables: &[(String, Zeroizing<String>)],
    ) -> io::Result<Output> {
        let mut command = self.command(variables);
        command.args(arguments).stdout(Stdio::piped());
        let mut run = Run::start(command)?;
        if let Ok(answer) = timeout(QUICK, run.end()).await {
            return answer;
        }
        run.kill().await;
        let asked = arguments.first().map_or_else(Default::default, |word| word.to_string_lossy());
        let what = format!("`{asked}` takes more than {} s", QUICK.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }

    /// Its version, such as `0.5.17`.
    ///
    /// # Errors
    /// It can't be run, or tells none.
    pub async fn version(&self, variables: &[(String, Zeroizing<String>)]) -> io::Result<String> {
        let answer = self.ask(&[OsStr::new("version")], variables).await?;
        if tied::was_not_started(answer.status) {
            return Err(io::Error::other(answer.stderr.trim().to_owned()));
        }
        let version = answer.stdout.trim().trim_start_matches('v');
        let is_version = version.starts_with(|c: char| c.is_ascii_digit()) && version.len() < 40;
        if !answer.status.success() || !is_version {
            let what = "`litestream version` tells no version";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(version.to_owned())
    }
}

/// Litestream's program as the settings name it, with its configuration and the unit's variables.
pub struct LitestreamCli<'a> {
    pub program: Program<'a>,
    pub configuration: &'a Path,
    pub environment_file: &'a Path,
}

impl<'a> LitestreamCli<'a> {
    pub fn new(edgerotate: &'a Path, config: &'a settings::LitestreamSettings) -> Self {
        Self {
            program: Program {
                file: &config.program,
                edgerotate: Some(edgerotate),
                environment: Environment::Listed,
            },
            configuration: &config.configuration,
            environment_file: &config.environment_file,
        }
    }

    /// Its version, such as `0.5.17`.
    ///
    /// # Errors
    /// It can't be run, or says something else.
    pub async fn version(&self, signals: &mut Signals) -> Result<String, Trouble> {
        let variables = self.variables()?;
        tokio::select! {
            version = self.program.version(&variables) => {
                version.map_err(|e| Trouble::not_run(self.program.file, &e))
            }
            _ = signals.next() => Err(Trouble::interrupted()),
        }
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
        let variables = self.variables()?;
        let arguments = ["databases", "-config"].map(OsStr::new);
        let arguments = [arguments[0], arguments[1], self.configuration.as_os_str()];
        let answer = tokio::select! {
            answer = self.program.ask(&arguments, &variables) => self.started(answer)?,
            _ = signals.next() => return Err(Trouble::interrupted()),
        };
        if !answer.status.success() {
            return Err(answer.trouble());
        }
        Ok(answer::databases(&answer.stdout))
    }

    /// No credentials: what is asked needs none. `${…}` of the environment file is needed to read
    /// litestream.yml.
    fn variables(&self) -> Result<Variables, Trouble> {
        match credentials(self.environment_file) {
            Ok(variables) => {
                Ok(variables.into_iter().filter(|(name, _)| !name.starts_with("AWS_")).collect())
            }
            // Who may not read it is told so at once, instead of by whatever else is not permitted.
            Err(trouble) if trouble.cause == NOT_THIS_USER => Err(trouble),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Tells a program that was never started from one that failed.
    ///
    /// # Errors
    /// It was not started.
    pub fn started(&self, answer: io::Result<Output>) -> Result<Output, Trouble> {
        let answer = answer.map_err(|e| Trouble::not_run(self.program.file, &e))?;
        if tied::was_not_started(answer.status) {
            return Err(Trouble::not_run(self.program.file, &answer.stderr.trim()));
        }
        Ok(answer)
    }
}

/// The variables of the environment file.
///
/// # Errors
/// It is not there, or not for this user.
pub fn credentials(path: &Path) -> Result<Variables, Trouble> {
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => Ok(environment_file::variables(&text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Trouble::no_environment_file(path)),
        Err(e) => Err(Trouble::io(path, &e, "environment-file", "look at the file")),
    }
}

/// A running Litestream; what it prints is taken in while it runs.
pub struct Run {
    child: Child,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run {
    /// # Errors
    /// The program can't be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self { child, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Waits for its end. May be dropped and called again.
    ///
    /// # Errors
    /// As the system gives them.
    pub async fn end(&mut self) -> io::Result<Output> {
        let (stdout, stderr) = (self.child.stdout.as_mut(), self.child.stderr.as_mut());
        let (out, err) =
            tokio::join!(take_in(stdout, &mut self.stdout), take_in(stderr, &mut self.stderr));
        out.and(err)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Output {
            status: self.child.wait().await?,
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        })
    }

    /// Ends it and waits until it is gone: what it wrote is about to be removed.
    pub async fn kill(&mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_leads_a_session_of_its_own() {
        // Process id, parent, group, session and terminal (proc(5), /proc/PID/stat).
        let script = "cut -d ' ' -f 1,5-7 /proc/$$/stat";
        let program = Program::alone(Path::new("/bin/sh"));
        let answer = program.ask(&[OsStr::new("-c"), OsStr::new(script)], &[]).await.unwrap();
        let words: Vec<_> = answer.stdout.split_whitespace().collect();
        let [id, group, session, terminal] = words[..] else { panic!("{}", answer.stdout) };
        assert_eq!((group, session, terminal), (id, id, "0"), "{}", answer.stdout);
    }
}
