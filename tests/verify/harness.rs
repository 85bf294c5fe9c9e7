//! A device whose heartbeats the test writes itself, and the answer of `edgerotate verify`.

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rusqlite::Connection;
use serde_json::Value;

use crate::support::{
    Device, Generation, Process, SOON, database,
    device::THING,
    process::{descendants, run, tied},
    token::write_private,
};

/// What `edgerotate verify` printed, and its exit code.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub text: String,
    pub errors: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A device without a daemon: its environment file has a key that does not expire.
pub fn device(name: &str, generation: Generation) -> Device {
    let device = Device::new(name, generation, Duration::from_secs(3600));
    let (id, secret) = device.cloud.permanent_key();
    let environment = format!(
        "AWS_ACCESS_KEY_ID={id}\nAWS_SECRET_ACCESS_KEY={secret}\nAWS_DEFAULT_REGION={}\n\
         AWS_EC2_METADATA_DISABLED=true\nEDGEROTATE_THING_NAME={THING}\n",
        device.cloud.region()
    );
    write_private(&device.environment_file, &environment);
    device
}

/// Opens the device's database, with the table that the heartbeat has.
pub fn table(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    connection.busy_timeout(SOON).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE IF NOT EXISTS HealthCheck (
                 id INTEGER PRIMARY KEY, created_at TEXT DEFAULT CURRENT_TIMESTAMP)",
        )
        .unwrap();
    connection
}

/// Writes heartbeats with these ids.
pub fn write(device: &Device, ids: RangeInclusive<i64>) {
    let connection = table(&device.database);
    for id in ids {
        connection.execute("INSERT INTO HealthCheck (id) VALUES (?1)", [id]).unwrap();
    }
}

pub fn start_litestream(device: &Device) {
    let (program, port) = device.litestream.restart_command.split_once(' ').unwrap();
    run(Command::new(program).arg(port));
}

/// Runs Litestream until everything is in S3, and stops it.
pub fn replicate(device: &mut Device) {
    start_litestream(device);
    wait_until_uploaded(device);
    device.litestream.stop();
}

pub fn wait_until_uploaded(device: &Device) {
    let original = database::rows(&device.database);
    device.litestream.restore_whole(&device.scratch.join("restored.db"), &original, 2 * SOON);
}

/// Litestream for this device, by hand.
pub fn litestream(device: &Device) -> Command {
    let mut command = tied(device.litestream.generation.program());
    command.envs(device.variables());
    command
}

/// Where S3 keeps this device's objects.
pub fn objects(device: &Device) -> PathBuf {
    device.cloud.directory().join("s3").join(device.cloud.bucket()).join(THING)
}

pub fn verify(device: &Device, arguments: &[&str]) -> Answer {
    answer(&mut device.edgerotate(&[&["verify"], arguments].concat()))
}

pub fn answer(command: &mut Command) -> Answer {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer { code: output.status.code(), text: text(&output.stdout), errors: text(&output.stderr) }
}

/// Verifies with text and with JSON, which must agree, and that nothing is left behind.
pub fn verified(device: &Device) -> (Answer, Value) {
    let answer = verify(device, &["--json"]);
    let json = answer.json();
    assert_eq!(json["exit_code"].as_i64(), answer.code.map(i64::from), "{answer:?}");
    assert!(work(device).is_empty(), "{answer:?}");
    (answer, json)
}

/// A run whose Litestream waits for S3.
pub fn held(device: &mut Device) -> Process {
    let output = device.scratch.join("held.log");
    let running = Process::start("verify", &mut device.edgerotate(&["verify"]), &output);
    device.wait_until("Litestream's restore", SOON, |_| {
        descendants(running.pid()).iter().any(|child| child.command_line.contains(" restore "))
    });
    running
}

/// Where replicas are restored to: a directory for each run that is at work, or was killed.
pub fn work(device: &Device) -> Vec<PathBuf> {
    let entries = fs::read_dir(&device.state_directory).unwrap().map(|entry| entry.unwrap());
    let is_work = |name: &str| name.starts_with("verify.");
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_work))
        .map(|entry| entry.path())
        .collect()
}

pub fn rewrite(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}
