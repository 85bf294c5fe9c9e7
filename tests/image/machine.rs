//! A device booted from an image: a container with a systemd of its own, and the cloud outside.

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{
    fleet::{FLEET_FILES, Release, image},
    parts::{DATABASE, Parts},
    support::{
        Generation, Process, SOON, Scratch, database,
        process::{Seen, descendants, run, tied, try_run},
        wait_until,
    },
};

/// Where a hierarchy of control groups is, with a unified one or without.
const CGROUPS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// A device that can be booted. Dropped, it is gone as when the power goes.
pub struct Machine {
    process: Option<Process>,
    cgroup: PathBuf,
    /// Units that an image has beyond the shipped ones.
    pub units: PathBuf,
    /// The journal of the boots before.
    earlier: String,
    parts: Parts,
}

impl Machine {
    /// A provisioned device that is not booted yet; or why there can be none here.
    pub fn new(name: &str, generation: Generation, lifetime: Duration) -> Result<Self, String> {
        let machine = Self::blank(name, generation, lifetime)?;
        machine.provision();
        Ok(machine)
    }

    /// A device as the image leaves it: nothing on its data partition.
    pub fn blank(name: &str, generation: Generation, lifetime: Duration) -> Result<Self, String> {
        let parts = Parts::new(name, image(generation, &Release::today())?, generation, lifetime);
        let units = parts.scratch.join("units");
        fs::create_dir(&units).expect("a directory of the device");
        let cgroup = cgroup(&parts.scratch);
        Ok(Self { process: None, cgroup, units, earlier: String::new(), parts })
    }

    /// Turns it on. It has booted when systemd says so, whatever failed meanwhile.
    pub fn boot(&mut self) {
        self.power_on();
        self.wait_for_boot();
    }

    pub fn power_on(&mut self) {
        assert!(self.process.is_none(), "it is on already");
        // Each container needs control groups of its own, or one's systemd ends the other's
        // services.
        let shell = "mkdir -p \"$0\" && echo 0 >\"$0/cgroup.procs\" && \"$@\"; exit $?";
        let bind = |from: &Path, to: &str| format!("{}:{to}", from.display());
        // systemd in a container outlives a systemd-nspawn that is killed; it does not outlive its
        // outer namespace.
        let mut command = tied("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-c", shell]).arg(&self.cgroup);
        command.args([
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--read-only",
        ]);
        command.args(["--settings=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        // As OpenEmbedded does it with a read-only root.
        command.arg("--tmpfs=/var:mode=755");
        command.arg(format!(
            "--machine={}",
            self.scratch.file_name().expect("a name").to_string_lossy()
        ));
        command.arg("--directory").arg(&self.image);
        command.arg("--bind").arg(bind(&self.data, "/data"));
        let journal = self.journal_on_disk();
        if journal.exists() {
            command.arg("--bind").arg(bind(&journal, "/var/log/journal"));
        }
        for (file, place) in FLEET_FILES {
            let file = self.fleet.join(file);
            if file.exists() {
                command.arg("--bind-ro").arg(bind(&file, place));
            }
        }
        // '+': the image's own units, and ours over them.
        let units = "/usr/lib/systemd/system";
        command.arg("--overlay-ro").arg(format!("+{units}:{}:{units}", self.units.display()));
        self.process =
            Some(Process::start("the container", &mut command, &self.scratch.join("console.log")));
    }

    /// Whether it has turned itself off, or is about to be booted again.
    pub fn is_off(&mut self) -> bool {
        let off = self.process.as_mut().is_none_or(|process| process.has_exited().is_some());
        if off {
            self.process = None;
        }
        off
    }

    fn wait_for_boot(&mut self) {
        let mut state = String::new();
        let start = std::time::Instant::now();
        while !["running", "degraded"].contains(&state.as_str()) {
            let process = self.process.as_mut().expect("a container");
            assert!(process.has_exited().is_none(), "it does not boot:\n{}", process.output());
            assert!(
                start.elapsed() < 2 * SOON,
                "it does not boot ({state}):\n{}",
                process.output()
            );
            state = self.leader().map_or(String::new(), |_| {
                self.shell("systemctl is-system-running").1.trim().to_owned()
            });
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The container's systemd, as the outside sees it.
    fn leader(&self) -> Option<Seen> {
        let process = self.process.as_ref()?;
        descendants(process.pid()).into_iter().find(|seen| {
            seen.command_line.contains("/systemd ") || seen.command_line.contains("/sbin/init")
        })
    }

    /// A path inside, for a look from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        let leader = self.leader().expect("a machine that is on");
        PathBuf::from(format!("/proc/{}/root{inside}", leader.pid))
    }

    /// A command inside, as root.
    pub fn inside(&self) -> Command {
        let leader = self.leader().expect("a machine that is on");
        let mut command = tied("nsenter");
        command.args(["--mount", "--pid", "--ipc", "--uts", "--root", "--target"]);
        command.arg(leader.pid.to_string()).arg("--");
        command
    }

    /// Runs a line of shell inside: whether it succeeded, and what it printed.
    pub fn shell(&self, line: &str) -> (bool, String) {
        try_run(self.inside().args(["sh", "-c", line]))
    }

    /// The same for one that must succeed.
    pub fn must(&self, line: &str) -> String {
        let (succeeded, said) = self.shell(line);
        assert!(succeeded, "{line}: {said}\n{}", self.last_words());
        said.trim().to_owned()
    }

    /// Adds to a unit, until the next boot.
    pub fn drop_in(&self, unit: &str, text: &str) {
        let directory = format!("/run/systemd/system/{unit}.d");
        self.must(&format!("mkdir -p {directory}"));
        fs::write(self.path(&directory).join("test.conf"), text).expect("a drop-in");
        self.must("systemctl daemon-reload");
    }

    /// A property of a unit.
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.must(&format!("systemctl show --value -p {property} {unit}"))
    }

    /// As docs/device.md has it for a device with a slot to fall back to.
    pub fn keep_journal_on_disk(&self) {
        fs::create_dir(self.journal_on_disk()).expect("a directory for the journal");
    }

    fn journal_on_disk(&self) -> PathBuf {
        self.data.join("journal")
    }

    /// What a unit and systemd said of it in a boot that is over, if the journal is kept.
    pub fn said_in_last_boot(&self, unit: &str) -> String {
        run(tied("journalctl")
            .args(["--no-pager", "--boot=0", "--output=cat", "--unit", unit])
            .arg("--directory")
            .arg(self.journal_on_disk()))
    }

    /// The journal so far, over all boots.
    pub fn journal(&self) -> String {
        let now = if self.leader().is_some() {
            self.shell("journalctl --no-pager --boot -o short-monotonic").1
        } else {
            String::new()
        };
        format!("{}{now}", self.earlier)
    }

    pub fn last_words(&self) -> String {
        let journal = self.journal();
        let lines: Vec<&str> = journal.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Waits until something holds, and shows the journal's end when it does not.
    pub fn wait_until(
        &self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) {
        let start = std::time::Instant::now();
        while !condition(self) {
            assert!(
                start.elapsed() < deadline,
                "waited {deadline:?} in vain for: {what}\n{}",
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn wait_for_log(&self, text: &str, times: usize) {
        let found = |machine: &Self| {
            machine.journal().lines().filter(|line| line.contains(text)).count() >= times
        };
        self.wait_until(&format!("{times} × {text:?} in the journal"), 3 * SOON, found);
    }

    /// So many uploads more than now.
    pub fn wait_for_uploads(&self, more: usize) {
        let so_far = self.cloud.uploads().len();
        self.wait_until("uploads", 4 * SOON, |machine| {
            machine.cloud.uploads().len() >= so_far + more
        });
    }

    /// The Litestream that runs holds its own read lock, and nothing is suspect. Before that the
    /// daemon holds the guard: one that ends then leaves a mark, which stays until Litestream's
    /// next start. Uploads tell nothing of it: mend's snapshot comes before Litestream.
    pub fn wait_until_nothing_is_guarded_or_suspect(&self) {
        let read = |path: PathBuf| -> Value {
            fs::read(path)
                .map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap_or_default())
        };
        let marks = self.data.join("edgerotate/state/suspect");
        let database = format!("/data/{DATABASE}");
        self.wait_until("no guard and no mark", 3 * SOON, |machine| {
            // What the next daemon goes by, too; kept after each mark that comes of what it tells.
            let record = read(machine.path("/run/edgerotate/guard.json"));
            let memory = &record["databases"][&database];
            let holder = memory["evidence"]["holder"].as_u64();
            memory["keeper"] == "Litestream"
                && holder.is_some_and(|pid| {
                    pid.to_string() == machine.show("litestream.service", "MainPID")
                })
                && read(marks.clone())["databases"].as_object().is_none_or(Map::is_empty)
        });
    }

    pub fn rows(&self) -> Vec<i64> {
        database::try_rows(&self.database()).unwrap_or_default()
    }

    /// Turns it off as a person does; returns when it is off.
    pub fn power_off(&mut self) {
        self.keep_journal();
        self.shell("systemctl --no-block poweroff");
        self.process.take().expect("a machine that is on").wait(4 * SOON);
    }

    /// The power goes.
    pub fn cut_power(&mut self) {
        self.keep_journal();
        let leader = self.leader();
        self.process.take().expect("a machine that is on").kill();
        if let Some(leader) = leader {
            wait_until("the end of all its processes", SOON, || !leader.is_alive());
        }
    }

    fn keep_journal(&mut self) {
        self.earlier = self.journal();
    }
}

impl Deref for Machine {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.parts
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fs::write(self.scratch.join("journal.txt"), self.journal()).ok();
        }
        if self.process.is_some() {
            self.cut_power();
        }
        // systemd-nspawn leaves it.
        let name = self.scratch.file_name().expect("a name");
        fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(name)).ok();
        try_run(tied("find").arg(&self.cgroup).args(["-depth", "-type", "d", "-delete"]));
    }
}

/// A control group for one container, made when it boots.
fn cgroup(scratch: &Scratch) -> PathBuf {
    let top = CGROUPS.map(Path::new).into_iter().find(|path| path.join("cgroup.procs").exists());
    top.unwrap_or(Path::new("/sys/fs/cgroup")).join(scratch.file_name().expect("a name"))
}
