//! The device's side: edgerotate with its settings and files.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    Cloud, Generation, Litestream, Port, Process, SOON, Scratch, Token,
    cloud::Certificate,
    process::{Seen, descendants, tied},
    token::SOFTHSM,
    wait_for, wait_until,
};

/// The thing that certificates are made for.
pub const THING: &str = "line-7-press-12";

/// A device in a scratch directory: everything that `edgerotate run` needs, and edgerotate itself.
///
/// The fields go in this order when it is dropped: who uses something before what is used.
pub struct Device {
    daemon: Option<Process>,
    pub litestream: Litestream,
    pub cloud: Cloud,
    pub token: Token,
    pub certificate: Certificate,
    /// Key to value; written to a file at each start.
    settings: BTreeMap<String, String>,
    /// Variables of the daemon's own environment.
    pub environment: BTreeMap<String, String>,
    pub database: PathBuf,
    pub environment_file: PathBuf,
    pub runtime_directory: PathBuf,
    pub state_directory: PathBuf,
    /// What stands before the daemon on its command line, and becomes it.
    wrapper: Vec<String>,
    /// A copy of edgerotate to run instead.
    program: Option<PathBuf>,
    log: PathBuf,
    /// Of the endpoint, once there is one.
    port: Option<Port>,
    pub scratch: Scratch,
}

impl Device {
    /// A device with a token, a certificate, a cloud of its own and Litestream at hand; nothing of
    /// it runs yet but the cloud.
    pub fn new(name: &str, generation: Generation, lifetime: Duration) -> Self {
        Self::below(Scratch::new(name), generation, lifetime)
    }

    /// The same in a directory that is there.
    pub fn below(scratch: Scratch, generation: Generation, lifetime: Duration) -> Self {
        let token = Token::new(&scratch);
        let cloud = Cloud::start(&scratch, lifetime);
        let certificate =
            cloud.issue(&token.certificate_request(THING), THING, &scratch.join("device.pem"));
        Self::assemble(scratch, token, cloud, certificate, generation)
    }

    pub fn assemble(
        scratch: Scratch,
        token: Token,
        cloud: Cloud,
        certificate: Certificate,
        generation: Generation,
    ) -> Self {
        let [data, runtime_directory, state_directory] = ["data", "run", "state"].map(|name| {
            let path = scratch.join(name);
            DirBuilder::new().mode(0o700).create(&path).expect("a directory of the device");
            path
        });
        let database = data.join("device.db");
        let environment_file = runtime_directory.join("litestream.env");
        let litestream =
            Litestream::new(&scratch, generation, &cloud, THING, &database, &environment_file);

        let path = |path: &Path| path.to_str().expect("a plain path").to_owned();
        let settings = [
            ("ENDPOINT", cloud.endpoint()),
            ("ROLE_ALIAS", cloud.role_alias()),
            // The machine may have booted a moment ago.
            ("BOOT_SPREAD", "0s".to_owned()),
            ("THING_NAME", THING.to_owned()),
            ("CERTIFICATE", path(&certificate.path)),
            ("PRIVATE_KEY", token.key_uri()),
            ("PKCS11_MODULE", SOFTHSM.to_owned()),
            ("PKCS11_PIN_FILE", path(&token.pin_file)),
            ("CA_FILE", path(&cloud.ca_file())),
            ("REGION", cloud.region()),
            ("ENVIRONMENT_FILE", path(&environment_file)),
            ("DATABASE", path(&database)),
            ("HEARTBEAT_INTERVAL", "200ms".to_owned()),
            // Where temporary files are kept may well be tmpfs.
            ("ALLOW_VOLATILE_DATABASE", "yes".to_owned()),
            ("RESTART_COMMAND", litestream.restart_command.clone()),
            ("RESTART_TIMEOUT", "30s".to_owned()),
            ("LITESTREAM_PID_FILE", path(&litestream.pid_file)),
            ("LITESTREAM", path(&generation.program())),
            ("LITESTREAM_CONFIG", path(&litestream.configuration)),
            ("RUNTIME_DIRECTORY", path(&runtime_directory)),
            ("STATE_DIRECTORY", path(&state_directory)),
            ("LOG", "debug".to_owned()),
        ];
        let environment =
            BTreeMap::from([("SOFTHSM2_CONF".to_owned(), path(&token.configuration))]);
        Self {
            daemon: None,
            litestream,
            cloud,
            token,
            certificate,
            settings: settings
                .into_iter()
                .map(|(key, value)| (format!("EDGEROTATE_{key}"), value))
                .collect(),
            environment,
            database,
            environment_file,
            runtime_directory,
            state_directory,
            wrapper: Vec::new(),
            program: None,
            log: scratch.join("edgerotate.log"),
            port: None,
            scratch,
        }
    }

    /// Changes a setting; the daemon sees it at its next start.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.settings.insert(format!("EDGEROTATE_{key}"), value.into());
    }

    /// Hands the credentials on by the endpoint.
    pub fn use_endpoint(&mut self) {
        self.set("DELIVERY", "endpoint");
        self.open_endpoint();
    }

    /// Opens the endpoint, whoever it is for.
    pub fn open_endpoint(&mut self) {
        let port = self.port.get_or_insert_with(Port::claim).number;
        self.set("ENDPOINT_LISTEN", format!("127.0.0.1:{port}"));
    }

    /// Of the endpoint.
    pub fn port(&self) -> u16 {
        self.port.as_ref().expect("an endpoint").number
    }

    /// Leaves a setting out, and returns what it was.
    pub fn unset(&mut self, key: &str) -> String {
        let key = format!("EDGEROTATE_{key}");
        self.settings.remove(&key).unwrap_or_else(|| panic!("{key} was not set"))
    }

    /// Gives a setting another name, with or without `EDGEROTATE_`.
    pub fn rename_setting(&mut self, key: &str, name: &str) {
        let value = self.unset(key);
        self.settings.insert(name.to_owned(), value);
    }

    /// Runs the daemon below another command, after a line for the shell; its process id stays its
    /// own.
    pub fn wrap(&mut self, command: &[&str], shell: &str) {
        self.wrapper = command.iter().map(|word| (*word).to_owned()).collect();
        let script = format!("{shell} && exec \"$0\" \"$@\"");
        self.wrapper.extend(["sh".to_owned(), "-c".to_owned(), script]);
    }

    /// Runs the daemon below another command that becomes it, as this copy of the program.
    pub fn run_as(&mut self, command: &[&str], program: &Path) {
        self.wrapper = command.iter().map(|word| (*word).to_owned()).collect();
        self.program = Some(program.to_owned());
    }

    /// From now on each start of Litestream mends first what is suspect.
    pub fn mend_at_starts(&self) {
        let command = [program(), "mend".into(), "--config".into(), self.settings_file()];
        self.litestream.before_starts(command.to_vec());
    }

    /// edgerotate with these settings, its environment clean but for what the device gives it.
    pub fn edgerotate(&self, arguments: &[&str]) -> Command {
        let program = self.program.clone().unwrap_or_else(program);
        let mut command = match self.wrapper.split_first() {
            None => tied(program),
            Some((first, rest)) => {
                let mut command = tied(first);
                command.args(rest).arg(program);
                command
            }
        };
        command
            .args(arguments)
            .arg("--config")
            .arg(self.settings_file())
            .envs(&self.environment)
            .current_dir(&*self.scratch);
        command
    }

    /// Starts the daemon.
    pub fn start(&mut self) {
        assert!(self.daemon.is_none(), "one daemon is running already");
        self.daemon = Some(Process::start("edgerotate", &mut self.edgerotate(&["run"]), &self.log));
    }

    /// A second daemon beside the first, its output in a file of its own.
    pub fn start_another(&self) -> Process {
        Process::start(
            "a second edgerotate",
            &mut self.edgerotate(&["run"]),
            &self.scratch.join("second.log"),
        )
    }

    pub fn daemon(&mut self) -> &mut Process {
        self.daemon.as_mut().expect("a running daemon")
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a running daemon").pid()
    }

    /// SIGTERM; its exit code once it has ended, none for a signal's.
    pub fn stop(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("a running daemon");
        let status = daemon.terminate(SOON);
        assert!(status.success(), "the daemon ended with {status}:\n{}", self.log_tail());
        status.code()
    }

    /// SIGKILL, as when the power goes.
    pub fn kill(&mut self) {
        self.daemon.take().expect("a running daemon").kill();
    }

    /// The exit code of a daemon that ends by itself.
    pub fn wait(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("a running daemon");
        daemon.wait(SOON).code()
    }

    /// The processes below the daemon.
    pub fn children(&self) -> Vec<Seen> {
        descendants(self.pid())
    }

    /// All that the daemon printed so far, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn log_file(&self) -> &Path {
        &self.log
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub fn count_in_log(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line with `text`, and returns it.
    pub fn wait_for_log(&mut self, text: &str, deadline: Duration) -> String {
        self.wait_for_log_times(text, 1, deadline)
    }

    /// Waits until so many lines have `text`, and returns the last of them.
    pub fn wait_for_log_times(&mut self, text: &str, times: usize, deadline: Duration) -> String {
        let found = || {
            self.log().lines().filter(|line| line.contains(text)).nth(times - 1).map(str::to_owned)
        };
        self.wait_for(&format!("{times} × {text:?} in the log"), deadline, |_| found())
    }

    /// Each warning and error so far, but for the one that a scratch directory on a disk earns.
    pub fn problems(&self) -> Vec<String> {
        let is_problem = |line: &&str| {
            (line.contains(" WARN ") || line.contains(" ERROR "))
                && !line.contains(" is not on tmpfs: ")
        };
        self.log().lines().filter(is_problem).map(str::to_owned).collect()
    }

    /// Waits for a warning or an error with `text`, and returns it.
    pub fn wait_for_problem(&self, text: &str, deadline: Duration) -> String {
        let found = |device: &Self| device.problems().into_iter().find(|line| line.contains(text));
        self.wait_for(&format!("a warning or an error with {text:?}"), deadline, found)
    }

    /// Waits until a condition holds; what the daemon said last is in the panic when it does not.
    pub fn wait_until(
        &self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) {
        self.wait_for(what, deadline, |device| condition(device).then_some(()));
    }

    /// Waits until there is an answer.
    pub fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let mut answer = None;
        let start = std::time::Instant::now();
        while answer.is_none() && start.elapsed() < deadline {
            answer = probe(self);
            std::thread::sleep(Duration::from_millis(20));
        }
        answer.unwrap_or_else(|| {
            panic!("waited {deadline:?} in vain for: {what}\n{}", self.log_tail())
        })
    }

    /// The heartbeats so far; none while there is no table yet.
    pub fn rows(&self) -> Vec<i64> {
        super::database::try_rows(&self.database).unwrap_or_default()
    }

    /// The variables in the environment file; none while there is no file.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(&self.environment_file).unwrap_or_default();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|l| l.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    /// Which credentials the environment file holds.
    pub fn access_key_id(&self) -> Option<String> {
        self.variables().remove("AWS_ACCESS_KEY_ID")
    }

    /// Its settings as they are now, in a file.
    pub fn settings_file(&self) -> PathBuf {
        let path = self.scratch.join("device.env");
        let text: String =
            self.settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        // Untouched where nothing changed, as on a device: whoever looks at its time sees a change
        // otherwise.
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(&path, text).expect("the settings");
        }
        path
    }
}

/// edgerotate as cargo built it for this test, or beside the demo; or another build of it, which
/// somebody wants tested.
pub fn program() -> PathBuf {
    if let Some(path) = env::var_os("EDGEROTATE_PROGRAM") {
        return path.into();
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_edgerotate") {
        return path.into();
    }
    // target/debug/examples/demo
    let here = env::current_exe().expect("the path of this program");
    let path = here.ancestors().nth(2).expect("a target directory").join("edgerotate");
    assert!(path.exists(), "{} is missing: cargo build", path.display());
    path
}
