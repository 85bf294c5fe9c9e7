//! A whole fetch against the curl command that does the same, and how soon a daemon that starts has
//! credentials.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use edgerotate::{
    fetch::{parent::Launcher, protocol::FetchReply},
    settings::{Config, LayerFile, Layers, Provider, UnknownKeys},
};
use nix::sys::resource::{UsageWho, getrusage};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Effort, Part, Skipped,
    builds::{Build, builds},
    report::Figures,
    statistics::Summary,
    support::{
        Device, Generation, Process, SOON,
        device::THING,
        process::run,
        token::{SOFTHSM, write_private},
    },
};

pub const PART: Part = Part {
    name: "fetch",
    title: "A fetch, and the first credentials",
    needs: "the curl command and OpenSSL's engine for PKCS#11",
    counts: false,
    measure,
};

fn measure(effort: Effort) -> Result<Figures, Skipped> {
    let mut device = Device::new("bench-fetch", Generation::V05, Duration::from_secs(900));
    device.unset("LOG");
    // Litestream is not to start beside what is measured next.
    device.set("RESTART_COMMAND", "/bin/true");
    let curl = curl(&device);
    if !succeeds(&mut curl_command(&device, &curl)) {
        return Err(Skipped("curl can't use the token's key".to_owned()));
    }
    let mut figures = Figures::default();
    for Build { prefix, program } in builds() {
        device.run_as(&[], &program);
        let daemon = Daemon::of(&device, &program);
        let mut runs = Runs::default();
        for _ in 0..effort.pick(5, 40) {
            runs.curl.command(&mut curl_command(&device, &curl));
            runs.fetch.time(|| daemon.fetch());
            runs.by_hand.command(&mut bare(&device.edgerotate(&["fetch"])));
            runs.version.command(Command::new(&program).arg("--version").env_clear());
            runs.first.push(first_credentials(&device));
        }
        runs.add_to(&mut figures, prefix);
    }
    figures.note(
        "The same request by whole processes in turn: the same engine, token, key, certificate and \
         CA. A fetch is the \
         process that the daemon starts for it, from its start until the daemon has buried it. \
         `edgerotate fetch` by hand \
         is that and the process that watches over it.",
    );
    figures.note(
        "static-curl is a build with libcurl inside, over the system's OpenSSL. Debian's libcurl \
         brings some thirty \
         libraries along, which each process loads; one built for a device brings few, and is \
         nearer to this.",
    );
    Ok(figures)
}

#[derive(Default)]
struct Runs {
    curl: Timed,
    fetch: Timed,
    by_hand: Timed,
    version: Timed,
    /// From the start of the daemon to the environment file.
    first: Vec<f64>,
}

#[derive(Default)]
struct Timed {
    milliseconds: Vec<f64>,
    cpu_milliseconds: Vec<f64>,
}

impl Timed {
    fn time(&mut self, act: impl FnOnce()) {
        let cpu = children_cpu();
        let begin = Instant::now();
        act();
        self.milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
        self.cpu_milliseconds.push((children_cpu() - cpu).as_secs_f64() * 1e3);
    }

    fn command(&mut self, command: &mut Command) {
        self.time(|| {
            if !succeeds(command) {
                run(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
            }
        });
    }
}

impl Runs {
    fn add_to(self, figures: &mut Figures, prefix: &str) {
        let Self { curl, fetch, by_hand, version, first } = self;
        let bound: Vec<f64> = curl
            .milliseconds
            .iter()
            .zip(&version.milliseconds)
            .map(|(curl, version)| curl + 2.0 * version)
            .collect();
        figures.add_with_goal(
            format!("{prefix}a fetch ÷ curl"),
            Summary::of_ratios(&fetch.milliseconds, &curl.milliseconds),
            "×",
            1.10,
        );
        figures.add_with_goal(
            format!("{prefix}first credentials ÷ (curl + 2 × edgerotate --version)"),
            Summary::of_ratios(&first, &bound),
            "×",
            1.0,
        );
        figures.add(
            format!("{prefix}edgerotate fetch by hand ÷ curl"),
            Summary::of_ratios(&by_hand.milliseconds, &curl.milliseconds),
            "×",
        );
        for (what, cpu) in [
            ("a fetch", &fetch.cpu_milliseconds),
            ("edgerotate fetch by hand", &by_hand.cpu_milliseconds),
            ("edgerotate --version", &version.cpu_milliseconds),
        ] {
            let ratio = Summary::of_ratios(cpu, &curl.cpu_milliseconds);
            figures.add(format!("{prefix}CPU of {what} ÷ CPU of curl"), ratio, "×");
        }
        for (what, milliseconds) in [
            ("curl", &curl.milliseconds),
            ("a fetch", &fetch.milliseconds),
            ("edgerotate fetch by hand", &by_hand.milliseconds),
            ("edgerotate --version", &version.milliseconds),
            ("first credentials after the daemon's start", &first),
        ] {
            figures.add(format!("{prefix}{what}"), Summary::of(milliseconds), "ms");
        }
    }
}

/// What the daemon has at hand when it fetches.
struct Daemon {
    launcher: Launcher,
    provider: Provider,
    runtime: Runtime,
}

impl Daemon {
    fn of(device: &Device, program: &Path) -> Self {
        let layers = Layers::read(&LayerFile::named([device.settings_file()]), []);
        let (config, _) = Config::from_layers(&layers, UnknownKeys::Warn).expect("its settings");
        let mut launcher = Launcher::new(program.to_owned(), &config);
        let environment = bare(&device.edgerotate(&["run"]));
        launcher.environment = environment
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let runtime = Builder::new_current_thread().enable_all().build().expect("an event loop");
        Self { launcher, provider: config.provider, runtime }
    }

    fn fetch(&self) {
        let fetch = self.launcher.fetch(&self.provider, |_| ());
        let reply = self.runtime.block_on(fetch);
        assert!(matches!(reply, FetchReply::Credentials { .. }), "{reply:?}");
    }
}

/// A daemon's start in fresh directories: until the file for Litestream is there.
fn first_credentials(device: &Device) -> f64 {
    for directory in [&device.runtime_directory, &device.state_directory] {
        for entry in fs::read_dir(directory).expect("the device's directories").flatten() {
            fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path())).ok();
        }
    }
    let mut command = bare(&device.edgerotate(&["run"]));
    let begin = Instant::now();
    let mut daemon = Process::start("edgerotate", &mut command, &device.scratch.join("run.log"));
    while !device.environment_file.exists() {
        assert!(begin.elapsed() < SOON, "no credentials:\n{}", daemon.output());
        thread::sleep(Duration::from_micros(200));
    }
    let milliseconds = begin.elapsed().as_secs_f64() * 1e3;
    daemon.kill();
    milliseconds
}

/// The command without what ties it to this process, as that is a process more.
fn bare(tied: &Command) -> Command {
    let mut words = tied.get_args().skip(3);
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).env_clear();
    command.envs(tied.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command
}

/// curl's own settings file, for the PIN is not to be on a command line.
fn curl(device: &Device) -> std::path::PathBuf {
    let settings = format!(
        "silent\nfail\noutput = \"/dev/null\"\nengine = \"pkcs11\"\nkey-type = \"ENG\"\nkey = \
         \"{}\"\npass = \"{}\"\n\
         cert = \"{}\"\ncacert = \"{}\"\nheader = \"x-amzn-iot-thingname: {THING}\"\n\
         url = \"{}/role-aliases/{}/credentials\"\n",
        device.token.key_uri(),
        device.token.pin(),
        device.certificate.path.display(),
        device.cloud.ca_file().display(),
        device.cloud.endpoint(),
        device.cloud.role_alias(),
    );
    let path = device.scratch.join("curlrc");
    write_private(&path, &settings);
    path
}

fn curl_command(device: &Device, settings: &Path) -> Command {
    let mut command = Command::new("curl");
    command
        .arg("--config")
        .arg(settings)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("PKCS11_MODULE_PATH", SOFTHSM)
        .envs(&device.environment);
    command
}

fn succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Of all children that have ended.
fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64))
        .sum()
}
