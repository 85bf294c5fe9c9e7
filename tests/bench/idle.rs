//! What the daemon costs between two rotations, beside a Python process for the same job.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Effort, Part, Skipped,
    builds::{Build, builds},
    footprint::{Footprint, Libraries},
    report::Figures,
    statistics::Summary,
    support::{
        Device, Generation, Process, SOON,
        device::THING,
        process::tied,
        root,
        token::{SOFTHSM, write_private},
    },
};

pub const PART: Part = Part {
    name: "idle",
    title: "An idle daemon",
    needs: "awsiot-credentialhelper in target/tools/helper, which tests/prepare bench puts there",
    // Whatever runs the same program beside it shares its pages, and lowers its PSS.
    counts: false,
    measure,
};

const HOUR: f64 = 3600.0;

/// Fetches once as its documentation shows it, and waits. The name of the test's provider is for
/// libcurl, which knows that all below localhost is this machine; SNI and the certificate's name
/// stay as they are.
const HELPER: &str = "
import pathlib, signal, sys
from awsiot_credentialhelper import boto3_session
from awsiot_credentialhelper.boto3_session import Boto3SessionProvider
connect = boto3_session.HttpClientConnection.new
boto3_session.HttpClientConnection.new = lambda host_name, **rest: connect(host_name='localhost', **rest)
endpoint, alias, thing, certificate, ca, module, pin = sys.argv[1:]
session = Boto3SessionProvider(
    endpoint=endpoint, role_alias=alias, thing_name=thing, certificate=certificate, ca=pathlib.Path(ca).read_bytes(),
    pkcs11={'pkcs11_lib': module, 'user_pin': pathlib.Path(pin).read_text().strip(), 'token_label': 'device'},
).get_session()
session.get_credentials().get_frozen_credentials()
print('ready', flush=True)
while True:
    signal.pause()
";

fn measure(effort: Effort) -> Result<Figures, Skipped> {
    let (count, length) = effort.pick((3, Duration::from_secs(10)), (4, Duration::from_secs(30)));
    let mut figures = Figures::default();
    // One after the other: side by side they would share pages of OpenSSL.
    for Build { prefix, program } in builds() {
        let mut device = with_defaults("bench-idle", Duration::from_secs(3600));
        device.run_as(&[], &program);
        device.start();
        device.wait_until("an upload", 2 * SOON, |device| !device.cloud.uploads().is_empty());
        let helper = if prefix.is_empty() { helper(&device) } else { None };
        // The guard of the start is let go, and Litestream's first snapshot is through.
        thread::sleep(effort.pick(Duration::from_secs(5), Duration::from_secs(20)));

        let mut daemon = Windows::new(device.pid());
        let mut other = helper.as_ref().map(|process| Windows::new(process.pid()));
        let fetches = device.cloud.fetches();
        for _ in 0..count {
            thread::sleep(length);
            daemon.end();
            if let Some(other) = &mut other {
                other.end();
            }
        }
        assert_eq!(device.cloud.fetches(), fetches, "it was not idle");

        daemon.write(&format!("{prefix}edgerotate"), Some(3.0 * 1024.0), &mut figures);
        let libraries = Libraries::of(device.pid());
        let of_them = |what: &str| {
            format!("{prefix}edgerotate: {what} of libcurl, OpenSSL and what they bring")
        };
        figures.count(of_them("PSS"), libraries.pss_kib, "KiB");
        figures.count(of_them("private dirty memory"), libraries.private_dirty_kib, "KiB");
        figures.count(of_them("number"), libraries.count as f64, "libraries");
        if let Some(other) = &other {
            other.write("awsiot-credentialhelper", None, &mut figures);
            let ratio =
                |of: fn(&Footprint) -> f64| Summary::of_ratios(&daemon.each(of), &other.each(of));
            figures.add("PSS: edgerotate ÷ awsiot-credentialhelper", ratio(|f| f.pss_kib), "×");
            figures.add(
                "private dirty: edgerotate ÷ awsiot-credentialhelper",
                ratio(|f| f.private_dirty_kib),
                "×",
            );
        } else if prefix.is_empty() {
            figures.note("awsiot-credentialhelper is not there: tests/prepare bench fetches it.");
        }
    }
    figures.note(format!(
        "{count} windows of {} s after the first upload: default settings, a heartbeat every 5 s, \
         Litestream {} replicates \
         it, no rotation meanwhile. CPU per hour is extrapolated from a window, and has no fetch \
         in it.",
        length.as_secs(),
        Generation::V05.version()
    ));
    figures.note(
        "awsiot-credentialhelper is a library for Python programs: here one that fetched its \
         credentials by the same token \
         and waits; it writes no heartbeat. aws-greengrass-lite reports 3.4 to 4.2 MB PSS for its \
         tesd; that was not \
         measured here.",
    );
    Ok(figures)
}

/// A device whose daemon has the default settings, but for where things are.
pub fn with_defaults(name: &str, lifetime: Duration) -> Device {
    with_defaults_of(name, Generation::V05, lifetime)
}

/// The same with the other Litestream.
pub fn with_defaults_of(name: &str, generation: Generation, lifetime: Duration) -> Device {
    let mut device = Device::new(name, generation, lifetime);
    for setting in ["LOG", "HEARTBEAT_INTERVAL", "RESTART_TIMEOUT"] {
        device.unset(setting);
    }
    device
}

/// One look after another at a process.
struct Windows {
    pid: u32,
    looks: Vec<(Instant, Footprint)>,
}

impl Windows {
    fn new(pid: u32) -> Self {
        let mut windows = Self { pid, looks: vec![] };
        windows.end();
        windows
    }

    fn end(&mut self) {
        self.looks.push((Instant::now(), Footprint::of(self.pid)));
    }

    /// At the end of each window.
    fn each(&self, of: fn(&Footprint) -> f64) -> Vec<f64> {
        self.looks[1..].iter().map(|(_, look)| of(look)).collect()
    }

    /// How much came to it in each window, a second.
    fn rates(&self, of: fn(&Footprint) -> f64) -> Vec<f64> {
        let rate = |pair: &[(Instant, Footprint)]| {
            (of(&pair[1].1) - of(&pair[0].1)) / (pair[1].0 - pair[0].0).as_secs_f64()
        };
        self.looks.windows(2).map(rate).collect()
    }

    fn write(&self, name: &str, dirty_goal: Option<f64>, figures: &mut Figures) {
        let scaled = |values: Vec<f64>, by: f64| {
            Summary::of(&values.into_iter().map(|value| value * by).collect::<Vec<_>>())
        };
        figures.add(format!("{name}: PSS"), Summary::of(&self.each(|f| f.pss_kib)), "KiB");
        let dirty = Summary::of(&self.each(|f| f.private_dirty_kib));
        let what = format!("{name}: private dirty memory");
        match dirty_goal {
            Some(goal) => figures.add_with_goal(what, dirty, "KiB", goal),
            None => figures.add(what, dirty, "KiB"),
        }
        figures.add(
            format!("{name}: threads"),
            Summary::of(&self.each(|f| f.threads as f64)),
            "threads",
        );
        figures.add(
            format!("{name}: wake-ups"),
            scaled(self.rates(|f| f.waits as f64), 60.0),
            "per minute",
        );
        figures.add(
            format!("{name}: CPU"),
            scaled(self.rates(|f| f.cpu.as_secs_f64()), HOUR),
            "s per hour",
        );
    }
}

fn helper(device: &Device) -> Option<Process> {
    let python = root().join("target/tools/helper/bin/python");
    if !python.exists() {
        return None;
    }
    let pin = device.scratch.join("helper-pin");
    write_private(&pin, device.token.pin());
    let ca: PathBuf = device.cloud.ca_file();
    let mut command = tied(&python);
    command
        .args(["-c", HELPER])
        .arg(device.cloud.endpoint().trim_start_matches("https://"))
        .args([&device.cloud.role_alias(), THING])
        .args([&device.certificate.path, &ca])
        .arg(fs::canonicalize(SOFTHSM).expect("SoftHSM"))
        .arg(&pin)
        .envs(&device.environment)
        .env("HOME", &*device.scratch);
    let log = device.scratch.join("helper.log");
    let mut process = Process::start("awsiot-credentialhelper", &mut command, &log);
    device.wait_until("credentials of awsiot-credentialhelper", SOON, |_| {
        assert!(process.has_exited().is_none(), "{}", process.output());
        process.output().contains("ready")
    });
    Some(process)
}
