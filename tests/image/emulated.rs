//! A device booted from disks, by an emulator of its whole machine: another processor's, with a
//! kernel of its own. It reaches nothing but the cloud.

use std::{
    fs,
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    fleet::{FLEET_FILES, Release, build, built},
    parts::{DATABASE, Parts},
    support::{
        Generation, Process, SOON, database,
        process::{run, tied},
        root,
    },
};

/// The machine that the image is for.
const MACHINE: &str = "aarch64";

/// Where the emulator's network takes what goes to the cloud; `tests/image/machine` has it too.
const OUTSIDE: &str = "10.0.2.100";

pub struct Emulated {
    process: Option<Process>,
    kernel: PathBuf,
    pub parts: Parts,
}

impl Emulated {
    /// A provisioned device that is not booted yet; or why there can be none here.
    pub fn new(name: &str, generation: Generation, lifetime: Duration) -> Result<Self, String> {
        let program = root().join("target/cross").join(MACHINE).join("edgerotate");
        let release = Release { program, checkout: root().to_owned() };
        let image = built(build(generation, &release).arg(MACHINE))?;
        let kernel = built(&mut tied(root().join("tests/image/kernel")))?;
        let parts = Parts::new(name, image, generation, lifetime);
        parts.provision();
        Ok(Self { process: None, kernel, parts })
    }

    /// Makes its disks and turns it on.
    pub fn power_on(&mut self) {
        self.make_disks();
        let log = self.parts.scratch.join("emulator.log");
        self.process = Some(Process::start("the emulator", &mut self.emulator(), &log));
    }

    /// What the machine has said on its serial line: the kernel, systemd, and the journal.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.console()).unwrap_or_default()).into_owned()
    }

    /// Waits until something holds, and shows the last words when it does not, or when the machine
    /// has gone.
    pub fn wait_until(
        &mut self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) {
        let start = Instant::now();
        loop {
            // In this order: its last words may be what is waited for.
            let gone = self.process.as_mut().is_none_or(|process| process.has_exited().is_some());
            if condition(self) {
                return;
            }
            assert!(
                !gone && start.elapsed() < deadline,
                "waited {:?} in vain for: {what}\n{}",
                start.elapsed(),
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let emulator = self.process.as_ref().map_or(String::new(), Process::output);
        format!("{emulator}{}", lines[lines.len().saturating_sub(60)..].join("\n"))
    }

    /// Presses the power button, which logind listens to; returns when it has turned itself off.
    pub fn power_off(&mut self, deadline: Duration) {
        let mut monitor = UnixStream::connect(self.monitor()).expect("the emulator's monitor");
        monitor.write_all(b"system_powerdown\n").expect("the power button");
        self.wait_until("a clean end", deadline, |machine| {
            machine.said().contains("reboot: Power down")
        });
        self.process.take().expect("a machine that is on").wait(SOON);
    }

    /// The rows on the data partition of a machine that is off.
    pub fn rows(&self) -> Vec<i64> {
        let copy = self.parts.scratch.join("original.db");
        for suffix in ["", "-wal"] {
            let request = format!("dump /{DATABASE}{suffix} {}{suffix}", copy.display());
            run(tied("debugfs").arg("-R").arg(request).arg(self.disk("data")));
        }
        database::rows(&copy)
    }

    fn emulator(&self) -> Command {
        let mut command = tied("qemu-system-aarch64");
        command.args(["-machine", "virt", "-cpu", "cortex-a53", "-accel", "tcg", "-smp", "2"]);
        command.args(["-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]);
        command.arg("-serial").arg(format!("file:{}", self.console().display()));
        let monitor = format!("unix:{},server=on,wait=off", self.monitor().display());
        command.arg("-monitor").arg(monitor);
        for (name, read_only) in [("root", "on"), ("data", "off")] {
            let file = self.disk(name);
            let disk = format!("if=none,id={name},format=raw,readonly={read_only},file=");
            command.arg("-drive").arg(disk + &file.display().to_string());
            command.arg("-device").arg(format!("virtio-blk-device,drive={name}"));
        }
        let mut words = "console=ttyAMA0 loglevel=4 panic=-1 systemd.show_status=yes \
                         systemd.journald.forward_to_console=yes"
            .to_owned();
        let mut network = "user,id=network,restrict=on".to_owned();
        for address in [self.parts.cloud.endpoint(), self.parts.cloud.s3_endpoint()] {
            let port = address.rsplit(':').next().expect("a port");
            words += &format!(" systemd.wants=outside@{port}.socket");
            network +=
                &format!(",guestfwd=tcp:{OUTSIDE}:{port}-cmd:socat STDIO TCP4:127.0.0.1:{port}");
        }
        command.arg("-netdev").arg(network).args(["-device", "virtio-net-device,netdev=network"]);
        command.arg("-kernel").arg(self.kernel.join("vmlinuz"));
        command.arg("-initrd").arg(self.kernel.join("initrd"));
        command.arg("-append").arg(words);
        command
    }

    /// The image with what its fleet's owner puts into it, and what the factory leaves on the data
    /// partition.
    fn make_disks(&self) {
        let tree = self.parts.scratch.join("root");
        run(tied("cp").arg("-al").arg(&self.parts.image).arg(&tree));
        for (file, place) in FLEET_FILES {
            let file = self.parts.fleet.join(file);
            if file.exists() {
                let place = tree.join(place.trim_start_matches('/'));
                // A new file: the old one is the image's as well.
                fs::remove_file(&place).ok();
                fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
                fs::copy(file, place).expect("a file of the fleet");
            }
        }
        self.make_disk("root", &tree, "1G");
        self.make_disk("data", &self.parts.data, "256M");
        fs::remove_dir_all(tree).expect("the tree of the image");
    }

    fn make_disk(&self, name: &str, tree: &Path, size: &str) {
        run(tied("mke2fs")
            .args(["-q", "-t", "ext4", "-L", name, "-d"])
            .arg(tree)
            .arg(self.disk(name))
            .arg(size));
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.parts.scratch.join(format!("{name}.img"))
    }

    fn console(&self) -> PathBuf {
        self.parts.scratch.join("console.log")
    }

    fn monitor(&self) -> PathBuf {
        self.parts.scratch.join("monitor")
    }
}
