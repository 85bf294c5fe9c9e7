//! A device that can fetch, and its cloud.

use std::{
    cell::{Cell, RefCell},
    env,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use edgerotate::{
    core::{credentials::Credentials, secret::Secret},
    fetch::{
        parent::Launcher,
        pin_mark::Directories,
        protocol::{FetchReply, Looked},
    },
    problems::failure::{Cause, Failure},
    settings::{ModuleVariable, Pin, PrivateKey, Provider, Route, Token as TokenSettings},
};

use crate::support::{
    Cloud, Scratch, Token,
    cloud::Certificate,
    device::{THING, program},
    process::{make_program, run, tied},
    skip,
    token::{SOFTHSM, write_private},
};

/// What a fetch needs, in good order; a test breaks one thing.
///
/// The fields go in this order when it is dropped: who uses something before what is used.
pub struct Bench {
    pub cloud: Cloud,
    pub token: Token,
    pub certificate: Certificate,
    pub provider: Provider,
    pub launcher: Launcher,
    pub scratch: Scratch,
}

impl Bench {
    /// With a key in a token.
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(&format!("fetch-{name}"));
        let token = Token::new(&scratch);
        let cloud = Cloud::start(&scratch, Duration::from_secs(900));
        let request = token.certificate_request(THING);
        let certificate = cloud.issue(&request, THING, &scratch.join("device.pem"));
        let endpoint = cloud.endpoint();
        let (host, port) = endpoint.trim_start_matches("https://").rsplit_once(':').unwrap();
        let provider = Provider {
            host: host.to_owned(),
            port: port.parse().unwrap(),
            role_alias: cloud.role_alias(),
            thing_name: Some(THING.to_owned()),
            certificate: certificate.path.clone(),
            key: PrivateKey::Token(TokenSettings {
                uri: token.key_uri(),
                module: SOFTHSM.into(),
                pin: Pin::File(token.pin_file.clone()),
                route: route(),
                module_environment: Vec::new(),
            }),
            ca_file: Some(cloud.ca_file()),
            proxy: None,
            connect_timeout: Duration::from_secs(20),
            fetch_timeout: Duration::from_secs(30),
            fetch_deadline: Duration::from_secs(60),
            lead: Duration::from_secs(300),
            boot_spread: Duration::ZERO,
        };
        let launcher = Launcher {
            program: program_in_root(&scratch),
            runtime_directory: scratch.join("run"),
            state_directory: scratch.join("state"),
            environment: vec![("SOFTHSM2_CONF".into(), token.configuration.clone().into())],
        };
        Self { cloud, token, certificate, provider, launcher, scratch }
    }

    /// With a key in a PEM file; the token stays unused.
    pub fn with_key_file(name: &str) -> Self {
        let mut bench = Self::new(name);
        let (key, request) = bench.make_key("file-key");
        let path = bench.scratch.join("file-device.pem");
        bench.certificate = bench.cloud.issue(&request, THING, &path);
        bench.provider.certificate = path;
        bench.provider.key = PrivateKey::File(key);
        bench
    }

    /// A P-256 key file and a certificate request for it.
    pub fn make_key(&self, name: &str) -> (PathBuf, String) {
        let key = self.scratch.join(format!("{name}.pem"));
        let arguments = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        write_private(&key, &run(tied("openssl").args(arguments)));
        let request = self.request_of(&key);
        (key, request)
    }

    /// A certificate request for a key file.
    pub fn request_of(&self, key: &Path) -> String {
        let subject = format!("/CN={THING}");
        run(tied("openssl").args(["req", "-new", "-subj", &subject, "-key"]).arg(key))
    }

    pub fn token_settings(&mut self) -> &mut TokenSettings {
        match &mut self.provider.key {
            PrivateKey::Token(token) => token,
            PrivateKey::File(path) => panic!("the key is in {}", path.display()),
        }
    }

    /// A variable that the module reads.
    pub fn module_variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.launcher.environment.push((name.into(), value.into()));
        let variable = ModuleVariable { name: name.to_owned(), value: None };
        self.token_settings().module_environment.push(variable);
    }

    /// The same, in the settings and not in edgerotate's environment.
    pub fn module_variable_in_settings(&mut self, name: &str, value: &Path) {
        self.launcher.environment.retain(|(other, _)| other != name);
        let value = Secret::new(value.to_str().expect("a path in UTF-8").to_owned());
        let variable = ModuleVariable { name: name.to_owned(), value: Some(value) };
        self.token_settings().module_environment.push(variable);
    }

    /// Another value for a variable that is there.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        let mut variables = self.launcher.environment.iter_mut();
        let (_, there) = variables.find(|(there, _)| there == name).unwrap();
        *there = value.into();
    }

    pub fn fetch(&self) -> FetchReply {
        LISTENER.install();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let unreapable = |id| panic!("process {id} can't be reaped");
        let reply = runtime.block_on(self.launcher.fetch(&self.provider, unreapable));
        self.assert_no_secret_in(&reply);
        reply
    }

    /// With other settings.
    pub fn fetch_with(&self, provider: &Provider) -> Result<Credentials, Failure> {
        LISTENER.install();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let unreapable = |id| panic!("process {id} can't be reaped");
        match runtime.block_on(self.launcher.fetch(provider, unreapable)) {
            FetchReply::Credentials { credentials, .. } => Ok(credentials),
            FetchReply::Failed { failure, .. } => Err(failure),
        }
    }

    /// Looks at all that goes before the network, as `check` does.
    pub fn look(&self) -> Looked {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let unreapable = |id| panic!("process {id} can't be reaped");
        runtime.block_on(self.launcher.look(&self.provider, true, unreapable))
    }

    pub fn fetch_credentials(&self) -> Credentials {
        match self.fetch() {
            FetchReply::Credentials { credentials, .. } => credentials,
            FetchReply::Failed { failure, .. } => panic!("{failure}"),
        }
    }

    /// The failure of a fetch, with its line printed for whoever reads the test's output.
    pub fn fetch_failure(&self) -> Failure {
        match self.fetch() {
            FetchReply::Failed { failure, .. } => {
                eprintln!("{}: {failure}", failure.cause);
                SHOWN.with_borrow_mut(|shown| shown.push(failure.cause));
                failure
            }
            FetchReply::Credentials { .. } => panic!("it fetched"),
        }
    }

    /// Fetches, and checks why it fails and what its line says beside that.
    #[track_caller]
    pub fn assert_fails(&self, cause: Cause, words: &[&str]) {
        let failure = self.fetch_failure();
        assert_eq!(failure.cause, cause, "{failure}");
        for words in words {
            assert!(failure.to_string().contains(words), "no {words:?} in: {failure}");
        }
    }

    fn assert_no_secret_in(&self, reply: &FetchReply) {
        if let FetchReply::Failed { failure, .. } = reply {
            assert!(!failure.to_string().contains(self.token.pin()), "the PIN is in the failure");
        }
    }

    /// A PKCS#11 module that misbehaves as `behaviour` says; it hands the rest on to SoftHSM.
    pub fn shim(&mut self, behaviour: &str) -> PathBuf {
        let module = self.scratch.join("shim.so");
        let source = crate::support::root().join("tests/fetch/shim.c");
        run(tied("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .arg(&module)
            .arg(source));
        self.token_settings().module = module;
        self.module_variable("SHIM", behaviour);
        let log = self.scratch.join("shim.log");
        self.module_variable("SHIM_LOG", log.clone());
        log
    }

    /// Lets the child run as a user who has only what he was given. False where that can't be had.
    pub fn drop_privileges(&mut self) -> bool {
        if !nix::unistd::geteuid().is_root() {
            leave_out("needs root, to become somebody else");
            return false;
        }
        if env::var_os("EDGEROTATE_TEST_ROOT").is_some() {
            leave_out("chroot needs root");
            return false;
        }
        for directory in [&self.launcher.runtime_directory, &self.launcher.state_directory] {
            fs::create_dir(directory).unwrap();
        }
        run(tied("chmod").args(["-R", "a+rwX"]).arg(&*self.scratch));
        // The program may be where only root can go.
        let copy = self.scratch.join("edgerotate-for-all");
        run(tied("install").args(["-m", "755"]).arg(program()).arg(&copy));
        let script = self.scratch.join("edgerotate");
        let nobody = "exec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups";
        let text = format!("#!/bin/sh\n{nobody} {} \"$@\"\n", copy.display());
        make_program(&script, text.as_bytes());
        self.launcher.program = script;
        true
    }

    pub fn marks(&self) -> Directories<'_> {
        Directories {
            state: &self.launcher.state_directory,
            runtime: &self.launcher.runtime_directory,
        }
    }

    pub fn mark(&self) -> PathBuf {
        self.launcher.state_directory.join("pin-refused")
    }
}

thread_local! {
    /// What this test has met so far; nothing counts where it could not run.
    static SHOWN: RefCell<Vec<Cause>> = const { RefCell::new(Vec::new()) };
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test, and looks whether it has met these causes.
pub fn assert_shows(test: fn(), causes: &[Cause]) {
    test();
    let shown = SHOWN.take();
    for cause in causes.iter().filter(|_| !LEFT_OUT.get()) {
        assert!(shown.contains(cause), "{cause} was not shown");
    }
}

/// Records that a test can't run here; the caller returns.
pub fn leave_out(reason: &str) {
    LEFT_OUT.set(true);
    skip(reason);
}

/// How often a line with `text` is in a file.
pub fn count(path: &Path, text: &str) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().filter(|line| line.contains(text)).count()
}

/// `tests/provider-route` runs these tests with OpenSSL's provider in place of its engine.
pub fn route() -> Route {
    match env::var("EDGEROTATE_TEST_ROUTE").as_deref() {
        Ok("provider") => Route::Provider,
        _ => Route::Engine,
    }
}

/// edgerotate, in the root directory that `tests/provider-route` made if there is one: the parent's
/// side stays outside.
fn program_in_root(scratch: &Path) -> PathBuf {
    let Some(root) = env::var_os("EDGEROTATE_TEST_ROOT").map(PathBuf::from) else {
        return program();
    };
    let script = scratch.join("edgerotate");
    let root = root.display();
    let text = format!("#!/bin/sh\nexec /usr/sbin/chroot {root} /edgerotate \"$@\"\n");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    script
}

/// What was logged, by all tests of this program.
pub static LISTENER: Listener = Listener(Mutex::new(Vec::new()));

pub struct Listener(Mutex<Vec<String>>);

impl Listener {
    fn install(&'static self) {
        // The second test to come finds it there.
        if log::set_logger(self).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    }

    pub fn lines(&self, text: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }
}

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}
