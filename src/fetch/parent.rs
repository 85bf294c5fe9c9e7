//! The parent's side of a fetch: starts the child, feeds it, and is done with it at the deadline
//! whatever it does.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdout, Command},
    time::{Instant, timeout, timeout_at},
};
use zeroize::Zeroizing;

use crate::{
    fetch::{
        pin_mark::{self, Directories},
        protocol::{
            Envelope, FetchOrder, FetchReply, Looked, MAX_REPLY_BYTES, Purpose, REPLY_END, VERSION,
        },
    },
    problems::{
        exit_code,
        failure::{Cause, Failure},
    },
    settings::{Config, Pin, PrivateKey, Provider, Route, Token},
    system::session,
};

/// What the child's libraries may read from the environment, beside `Token::module_environment`. No
/// proxy, no LD_…: the child's environment is what this list says, not what a service manager or a
/// shell happened to have.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "TZ",
    "LANG",
    "CREDENTIALS_DIRECTORY",
    "SOFTHSM2_CONF",
    OPENSSL_CONF,
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "OPENSC_CONF",
    "TPM2_PKCS11_STORE",
    "TPM2_PKCS11_TCTI",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Where programs that use them find a proxy for https.
const PROXIES: &[&str] = &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

const OPENSSL_CONF: &str = "OPENSSL_CONF";

/// After its reply the child ends by itself: sessions are closed and the module finalized, which a
/// hardware token can take its time for. After this it is killed; the reply counts.
const TIME_TO_END: Duration = Duration::from_secs(5);

/// SIGKILL ends a process within milliseconds unless it is in the kernel (state D, a driver that
/// waits).
const TIME_TO_DIE: Duration = Duration::from_secs(5);

/// Where the children are started, and with what.
pub struct Launcher {
    /// edgerotate itself.
    pub program: PathBuf,
    pub runtime_directory: PathBuf,
    pub state_directory: PathBuf,
    /// What the child's environment is picked from.
    pub environment: Vec<(OsString, OsString)>,
}

impl Launcher {
    /// Children that pick their environment from this process's.
    pub fn new(program: PathBuf, config: &Config) -> Self {
        Self {
            program,
            runtime_directory: config.runtime_directory.clone(),
            state_directory: config.state_directory.clone(),
            environment: env::vars_os().collect(),
        }
    }

    /// Fetches once, in a child process.
    ///
    /// It ends when the child is reaped, never before: so no second child can be started while one
    /// lives. If one can't be reaped, `on_unreapable` is told its process id, once. Dropping the
    /// future kills the child.
    ///
    /// To be called on a thread that lives as long as the process: the child dies with the thread
    /// that started it.
    pub async fn fetch(&self, provider: &Provider, on_unreapable: impl FnMut(u32)) -> FetchReply {
        self.ask(provider, Purpose::Fetch, on_unreapable).await
    }

    /// The same for `check`, which leaves nothing behind.
    pub async fn try_out(&self, provider: &Provider, on_unreapable: impl FnMut(u32)) -> FetchReply {
        self.ask(provider, Purpose::Try, on_unreapable).await
    }

    /// Looks at all that goes before the network, in a child process as well; at the key only if
    /// told so.
    pub async fn look(
        &self,
        provider: &Provider,
        at_key: bool,
        on_unreapable: impl FnMut(u32),
    ) -> Looked {
        let purpose = if at_key { Purpose::Look } else { Purpose::LookAtFiles };
        self.ask(provider, purpose, on_unreapable).await
    }

    async fn ask<R: Reply>(
        &self,
        provider: &Provider,
        purpose: Purpose,
        on_unreapable: impl FnMut(u32),
    ) -> R {
        let deadline = Instant::now() + provider.fetch_deadline;
        let marks = Directories { state: &self.state_directory, runtime: &self.runtime_directory };
        let unanswered = pin_mark::unanswered(marks);
        let mut child = match self.spawn(provider) {
            Ok(child) => Tied::new(child),
            Err(e) => {
                let what = format!("{} ({e})", self.program.display());
                return Failure::new(Cause::FetchNotStarted, what).into();
            }
        };
        let order = FetchOrder {
            version: VERSION,
            parent: std::process::id(),
            purpose,
            provider: provider.clone(),
            runtime_directory: self.runtime_directory.clone(),
            state_directory: self.state_directory.clone(),
        };
        let talked = timeout_at(deadline, talk(&mut child, &order)).await;
        let ended =
            if talked.is_ok() { timeout(TIME_TO_END, child.wait()).await.ok() } else { None };
        let status = match ended {
            Some(status) => status,
            None => kill(&mut child, on_unreapable).await,
        };
        let mut reply: R = match talked {
            Ok(Ok(text)) => judge(&text, &status),
            Ok(Err(e)) => Failure::new(Cause::FetchBroken, e.to_string()).into(),
            Err(_) => Failure::new(Cause::FetchHung, hung(provider)).into(),
        };
        if let Some(failure) = reply.failure() {
            failure.detail += &self.unused_proxy(provider, failure.cause);
        }
        let now = pin_mark::unanswered(marks);
        if let (Some(failure), true) = (reply.failure(), now > unanswered) {
            failure.detail += &now.words();
            if now.is_doubtful() {
                let before = failure.cause.what();
                *failure =
                    Failure::new(Cause::LoginUnanswered, format!("{before} {}", failure.detail));
            }
        }
        reply
    }

    /// Who sets a proxy in the environment and gets no connection is told that it is not used.
    fn unused_proxy(&self, provider: &Provider, cause: Cause) -> String {
        let is_of_network =
            [Cause::Dns, Cause::ConnectRefused, Cause::Unreachable, Cause::ConnectTimeout];
        let set = PROXIES.iter().find(|name| {
            self.environment.iter().any(|(set, value)| set == *name && !value.is_empty())
        });
        match set {
            Some(name) if provider.proxy.is_none() && is_of_network.contains(&cause) => {
                format!("; {name} in the environment is not used, EDGEROTATE_PROXY names a proxy")
            }
            _ => String::new(),
        }
    }

    fn spawn(&self, provider: &Provider) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        // By its name in a list of processes, and not as /proc/self/exe.
        command.arg0("edgerotate");
        command.args(["fetch", "--child"]).env_clear().envs(self.environment_for(provider));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Before the child is its own program, which does the same for whoever starts it otherwise.
        session::lead_own(&mut command);
        command.kill_on_drop(true).spawn()
    }

    fn environment_for(&self, provider: &Provider) -> Vec<(OsString, OsString)> {
        let token = match &provider.key {
            PrivateKey::Token(token) => Some(token),
            PrivateKey::File(_) => None,
        };
        let further = token.map_or(&[][..], |token| &token.module_environment);
        let wanted = |name: &OsString| {
            ENVIRONMENT.iter().any(|n| name == n) || further.iter().any(|v| name == v.name.as_str())
        };
        let mut environment: Vec<_> =
            self.environment.iter().filter(|(name, _)| wanted(name)).cloned().collect();
        for variable in further {
            let Some(value) = &variable.value else { continue };
            environment.retain(|(name, _)| name != variable.name.as_str());
            environment.push((variable.name.clone().into(), value.expose().into()));
        }
        // OpenSSL's own configuration can hold a PIN for its engine or provider. Where the settings
        // name none, that one would be tried, and nobody could tell when it has changed. (Where
        // they name one, it goes before.)
        let kept = |token: &Token| token.module_environment.iter().any(|v| v.name == OPENSSL_CONF);
        if token.is_some_and(|token| token.pin == Pin::None && !kept(token)) {
            environment.retain(|(name, _)| name != OPENSSL_CONF);
            environment.push((OPENSSL_CONF.into(), "/dev/null".into()));
        }
        if let Some(token) = token.filter(|token| token.route == Route::Provider) {
            environment.push(("PKCS11_PROVIDER_MODULE".into(), token.module.clone().into()));
        }
        environment
    }
}

/// What a child can answer, and what takes its place where it did not.
trait Reply: From<Failure> + DeserializeOwned {
    /// Why the key was of no use, if so.
    fn failure(&mut self) -> Option<&mut Failure>;
}

impl Reply for FetchReply {
    fn failure(&mut self) -> Option<&mut Failure> {
        match self {
            Self::Failed { failure, .. } => Some(failure),
            Self::Credentials { .. } => None,
        }
    }
}

impl Reply for Looked {
    fn failure(&mut self) -> Option<&mut Failure> {
        self.key.as_mut()?.as_mut().err()
    }
}

/// A child that does not outlive this, nor does what it started.
struct Tied {
    child: Child,
    /// The child leads a session of its own, so what it started is in its group, which is named
    /// after it. Before it does so there is no such group, and the kill of the child alone is
    /// enough.
    group: Option<Pid>,
}

impl Tied {
    fn new(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { child, group: id.map(Pid::from_raw) }
    }

    /// Waits for the child's end, and makes it that of what it started too.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.kill_group();
        status
    }

    /// Once the child is reaped its id is free, unless a group keeps it: so this is done once, and
    /// at once.
    fn kill_group(&mut self) {
        let reaped = self.child.id().is_none();
        let group = if reaped { self.group.take() } else { self.group };
        if let Some(group) = group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        // `kill_on_drop` does the rest.
        self.kill_group();
    }
}

/// Hands the order over and takes the reply, up to its end.
async fn talk(child: &mut Tied, order: &FetchOrder) -> io::Result<Zeroizing<Vec<u8>>> {
    let (Some(mut stdin), Some(mut stdout)) = (child.child.stdin.take(), child.child.stdout.take())
    else {
        return Err(io::Error::other("no pipes"));
    };
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    serde_json::to_writer(&mut *text, order)?;
    // A child that ends early closes its pipe; what it was is seen by its end.
    match stdin.write_all(&text).await {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(e),
        _ => drop(stdin),
    }
    // Allocated once: a buffer that grows leaves copies of the secrets behind.
    let mut reply = Zeroizing::new(Vec::with_capacity(MAX_REPLY_BYTES + 1));
    tokio::select! {
        read = read_reply(&mut stdout, &mut reply) => {
            read?;
            return Ok(reply);
        }
        // What it started may hold the pipe open, and is gone now; what it said is still in the
        // pipe.
        _ = child.wait() => {}
    }
    read_reply(&mut stdout, &mut reply).await?;
    Ok(reply)
}

/// Reads on until the reply is whole, too long, or over.
async fn read_reply(pipe: &mut ChildStdout, reply: &mut Vec<u8>) -> io::Result<()> {
    while reply.len() <= MAX_REPLY_BYTES && reply.last() != Some(&REPLY_END) {
        let room = MAX_REPLY_BYTES + 1 - reply.len();
        if (&mut *pipe).take(room as u64).read_buf(reply).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Kills the child and what it started, and waits until it is gone.
async fn kill(child: &mut Tied, mut on_unreapable: impl FnMut(u32)) -> io::Result<ExitStatus> {
    let id = child.child.id();
    child.kill_group();
    let _ = child.child.start_kill();
    match timeout(TIME_TO_DIE, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            on_unreapable(id.unwrap_or_default());
            child.wait().await
        }
    }
}

fn judge<R: Reply>(text: &[u8], status: &io::Result<ExitStatus>) -> R {
    // A whole reply counts, whatever the module did to the process afterwards.
    if let Ok(Envelope { reply, notes }) = serde_json::from_slice(text) {
        if !notes.is_empty() {
            log::debug!("the PKCS#11 module printed: {notes}");
        }
        return reply;
    }
    match status {
        Ok(status) => match status.signal() {
            Some(signal) => {
                let name =
                    Signal::try_from(signal).map_or("an unknown signal", |signal| signal.as_str());
                Failure::new(Cause::FetchCrashed, format!("by {name}")).into()
            }
            None if status.code() == Some(exit_code::OTHER_VERSION.into()) => {
                let what = "its program is of another version than this one: restart edgerotate";
                Failure::new(Cause::FetchBroken, what).into()
            }
            None => {
                Failure::new(Cause::FetchBroken, format!("{status}, {} bytes of reply", text.len()))
                    .into()
            }
        },
        Err(e) => Failure::new(Cause::FetchBroken, e.to_string()).into(),
    }
}

fn hung(provider: &Provider) -> String {
    let seconds = provider.fetch_deadline.as_secs_f32();
    match &provider.key {
        PrivateKey::Token(token) => {
            format!("after {seconds} s, with module {}", token.module.display())
        }
        PrivateKey::File(_) => format!("after {seconds} s"),
    }
}
