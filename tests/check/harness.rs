//! A device, and what `edgerotate check` says of it.

use std::{
    fs,
    ops::{Deref, DerefMut},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Device, Generation, SOON};

/// What `check` printed, and its exit code.
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

impl Bench {
    pub fn new(name: &str, generation: Generation) -> Self {
        let mut device =
            Device::new(&format!("check-{name}"), generation, Duration::from_secs(3600));
        let memory = Path::new("/dev/shm").join(device.scratch.file_name().unwrap());
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
        bench
    }

    pub fn check(&self, arguments: &[&str]) -> Answer {
        let mut command = self.device.edgerotate(&[&["check"], arguments].concat());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer {
            code: output.status.code().expect("an exit code"),
            text: text(&output.stdout),
            errors: text(&output.stderr),
        }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The lines of one step, by its label, without it.
    pub fn lines(&self, label: &str) -> Vec<&str> {
        self.text
            .lines()
            .filter(|line| line.get(13..).is_some_and(|rest| rest.starts_with(label)))
            .collect()
    }
}
