//! opencryptoki's soft token, with its daemon pkcsslotd.
//!
//! Daemon, tokens and locks have fixed places on a machine. So they get mounts and shared memory of
//! their own here, which needs root.

use std::{fs, path::PathBuf};

use super::{Backend, Hsm, Pin, softhsm::URI, version_of};
use crate::support::{
    Process, SOON, Scratch, library,
    process::{run, tied},
    skip, wait_for, wait_until,
};

/// What the daemon finds at its start: as Debian's package leaves it.
const PLACES: &str = "\
mkdir lib && cp -a /var/lib/opencryptoki/. lib/ && rm -rf lib/*/TOK_OBJ/* lib/*/NVTOK.DAT
mount --bind lib /var/lib/opencryptoki
touch slotd.pid && touch /run/pkcsslotd.pid && mount --bind slotd.pid /run/pkcsslotd.pid
mount -t tmpfs tmpfs /run/lock && mkdir -p /run/lock/opencryptoki/swtok
mount -t tmpfs tmpfs /dev/shm
chgrp -R pkcs11 /run/lock/opencryptoki && chmod -R 770 /run/lock/opencryptoki
exec sleep infinity";

/// A process that keeps the mounts, and the daemon in them.
struct Slots {
    scratch: PathBuf,
    enter: Vec<String>,
    _mounts: Process,
}

impl Slots {
    fn pid(&self) -> Option<i32> {
        let pid = fs::read_to_string(self.scratch.join("pkcsslotd.pid")).ok()?;
        pid.trim().parse().ok()
    }

    fn in_mounts(&self, command: &[&str]) -> String {
        run(tied(&self.enter[0]).args(&self.enter[1..]).args(command).current_dir(&self.scratch))
    }
}

impl Backend for Slots {
    fn stop(&mut self) {
        let pid = self.pid().expect("a running pkcsslotd");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).ok();
        // A daemon's parent is process 1, which in a container may leave the dead where they are.
        let is_gone = || {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z')))
        };
        wait_until("pkcsslotd's end", SOON, is_gone);
        fs::remove_file(self.scratch.join("pkcsslotd.pid")).ok();
    }

    fn start(&mut self) {
        self.in_mounts(&["pkcsslotd"]);
        let pid = wait_for("pkcsslotd", SOON, || {
            let pid = self.in_mounts(&["sh", "-c", "cat /run/pkcsslotd.pid || true"]);
            pid.trim().parse::<u32>().ok()
        });
        fs::write(self.scratch.join("pkcsslotd.pid"), pid.to_string()).unwrap();
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).ok();
        }
    }
}

pub fn new(name: &str) -> Option<Hsm> {
    if !nix::unistd::geteuid().is_root() {
        skip("opencryptoki: its places on the machine need mounts of their own, which need root");
        return None;
    }
    let scratch = Scratch::new(&format!("hsm-{name}"));
    let mut command = tied("unshare");
    command.args(["--mount", "--ipc", "--propagation", "private", "sh", "-ec", PLACES]);
    command.current_dir(&*scratch);
    let mounts = Process::start("the mounts", &mut command, &scratch.join("mounts.log"));
    let pid = mounts.pid().to_string();
    let enter: Vec<String> =
        ["nsenter", "--target", &pid, "--mount", "--ipc", "--"].map(str::to_owned).into();
    wait_until("the mounts", SOON, || {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "sleep")
    });
    let mut slots = Slots { scratch: scratch.to_path_buf(), enter: enter.clone(), _mounts: mounts };
    slots.start();
    let hsm = Hsm {
        name: "opencryptoki, soft token, RSA",
        version: version_of("opencryptoki"),
        module: library("opencryptoki/libopencryptoki.so.0"),
        uri: URI,
        pin: Pin::Counted,
        environment: Vec::new(),
        wrapper: enter,
        sign_us: 300,
        backend: Box::new(slots),
        scratch,
    };
    hsm.make_token(&["--slot", "3"], "RSA:2048");
    Some(hsm)
}
