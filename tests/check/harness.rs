//! A device, and what `edgerotate check` says of it.

use std::{
    env, fs,
    ops::{Deref, DerefMut},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use edgerotate::system::file_system::is_volatile;
use serde_json::Value;

use crate::support::{
    Device, Generation, SOON, Scratch,
    device::program,
    fits,
    process::{run, tied},
    root,
};

/// What `check` printed, and its exit code. Paths of this device are told by what they are.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub text: String,
    pub errors: String,
}

/// A device whose runtime directory is on tmpfs, as on an image; without a daemon at first.
pub struct Bench {
    device: Device,
    memory: PathBuf,
}

impl Deref for Bench {
    type Target = Device;
    fn deref(&self) -> &Device {
        &self.device
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Device {
        &mut self.device
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.memory).ok();
    }
}

/// Who looks.
#[derive(Clone, Copy)]
pub enum By {
    /// The user that runs the tests, and the daemon in them.
    Owner,
    /// Another user, who may pass all directories; needs root to become it.
    Nobody,
    /// The owner, who is ended after so many seconds.
    Within(&'static str),
    /// The owner, below mounts of its own; needs root as well.
    Mounts(&'static str),
}

impl Bench {
    pub fn new(name: &str, generation: Generation) -> Self {
        let scratch = Scratch::below(&storage(), &format!("check-{name}"));
        let mut device = Device::below(scratch, generation, Duration::from_secs(3600));
        let memory = Path::new("/dev/shm").join(device.scratch.file_name().unwrap());
        fs::remove_dir_all(&memory).ok();
        fs::DirBuilder::new().mode(0o700).create(&memory).unwrap();
        device.runtime_directory = memory.clone();
        device.set("RUNTIME_DIRECTORY", memory.to_str().unwrap());
        let environment_file = memory.join("litestream.env");
        // Litestream's keeper reads it where it always was.
        std::os::unix::fs::symlink(&environment_file, &device.environment_file).unwrap();
        device.set("ENVIRONMENT_FILE", environment_file.to_str().unwrap());
        device.environment_file = environment_file;
        Self { device, memory }
    }

    /// With a daemon that has handed its credentials to Litestream.
    pub fn running(name: &str, generation: Generation) -> Self {
        let mut bench = Self::new(name, generation);
        bench.start();
        bench.wait_for_log("restart success litestream", SOON);
        bench.wait_for_record(|record| !record["fetch"]["last_success"].is_null());
        bench
    }

    /// Waits for something in the daemon's record, which it writes after it has logged it.
    pub fn wait_for_record(&self, mut has: impl FnMut(&Value) -> bool) {
        let path = self.runtime_directory.join("status.json");
        self.wait_until("the daemon's record", SOON, |_| {
            let text = fs::read(&path).unwrap_or_default();
            serde_json::from_slice(&text).is_ok_and(|record| has(&record))
        });
    }

    /// A path below the device's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    pub fn check(&self, arguments: &[&str]) -> Answer {
        self.check_as(By::Owner, arguments, &[])
    }

    /// With further settings, in the environment; `DEVICE` and `MEMORY` are this device's
    /// directories.
    pub fn check_as(&self, by: By, arguments: &[&str], settings: &[(&str, &str)]) -> Answer {
        // Writes the settings' file.
        self.device.edgerotate(&["check"]);
        let mut command = match by {
            By::Owner => tied(program()),
            By::Nobody => {
                let mut command = tied("setpriv");
                command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
                command.arg(self.program_for_all());
                command
            }
            By::Within(seconds) => {
                let mut command = tied("timeout");
                command.arg(seconds).arg(program());
                command
            }
            By::Mounts(script) => {
                let mut command = tied("unshare");
                let script = format!("{} && exec \"$0\" \"$@\"", self.there(script));
                command.args(["-m", "sh", "-c", &script]).arg(program());
                command
            }
        };
        command.arg("check").arg("--config").arg(self.path("device.env"));
        command.args(arguments.iter().map(|argument| self.there(argument)));
        command.envs(&self.device.environment).current_dir(&*self.scratch);
        for (key, value) in settings {
            command.env(format!("EDGEROTATE_{key}"), self.there(value));
        }
        self.answer(&mut command)
    }

    pub fn answer(&self, command: &mut Command) -> Answer {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.replace(self.memory.to_str().unwrap(), "MEMORY")
                .replace(self.scratch.to_str().unwrap(), "DEVICE")
                .replace(root().join("target/tools").to_str().unwrap(), "TOOLS")
        };
        Answer {
            code: output.status.code().unwrap_or_else(|| panic!("{output:?}")),
            text: text(&output.stdout),
            errors: text(&output.stderr),
        }
    }

    /// What stands for a path, as the path.
    pub fn there(&self, text: &str) -> String {
        text.replace("DEVICE", self.scratch.to_str().unwrap())
            .replace("MEMORY", self.memory.to_str().unwrap())
    }

    /// The program may be where only root can go.
    fn program_for_all(&self) -> PathBuf {
        let copy = self.path("edgerotate-for-all");
        if !copy.exists() {
            fs::copy(program(), &copy).unwrap();
            run(tied("chmod").args(["a+rX", self.scratch.to_str().unwrap()]).arg(&copy));
            run(tied("chmod").arg("a+r").arg(self.path("device.env")));
        }
        copy
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Whether there is a line like this one: result, step and words as they are, blanks between
    /// them as they come, and `*` for what differs from run to run.
    #[track_caller]
    pub fn assert_has(&self, pattern: &str) {
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let has = self.text.lines().any(|line| fits(pattern, &squeezed(line)));
        assert!(has, "no line {pattern:?} in\n{}{}", self.text, self.errors);
    }
}

/// Where a device's files are no warning by themselves: temporary files may well be kept in memory.
fn storage() -> PathBuf {
    let places = [env::temp_dir(), "/var/tmp".into()];
    let is_storage = |place: &PathBuf| is_volatile(place).is_ok_and(|volatile| !volatile);
    places.into_iter().find(is_storage).expect("TMPDIR or /var/tmp that is not in memory")
}

/// Sets a file's permissions, and gives back what they were when it goes.
pub fn chmod(path: PathBuf, mode: u32) -> Mend {
    let before = fs::metadata(&path).unwrap().permissions();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    Mend::by(move || fs::set_permissions(&path, before).unwrap())
}

/// Puts a file there, or another in the place of one, until it goes.
pub fn put(path: PathBuf, text: &str) -> Mend {
    let before = fs::read(&path).ok();
    fs::write(&path, text).unwrap();
    Mend::by(move || match before {
        Some(before) => fs::write(&path, before).unwrap(),
        None => fs::remove_file(&path).unwrap(),
    })
}

/// What makes a fault good again.
pub struct Mend(Option<Box<dyn FnOnce()>>);

impl Mend {
    pub fn by(mend: impl FnOnce() + 'static) -> Self {
        Self(Some(Box::new(mend)))
    }

    pub fn nothing() -> Self {
        Self(None)
    }
}

impl Drop for Mend {
    fn drop(&mut self) {
        if let Some(mend) = self.0.take() {
            mend();
        }
    }
}
