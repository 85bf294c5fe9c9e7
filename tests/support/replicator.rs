//! Litestreams beside the daemon's own, each with credentials by one way and a database of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, atomic::AtomicBool},
    time::Duration,
};

use rusqlite::Connection;

use super::{Device, Generation, Litestream, SOON, cloud::Request, database, keep_pace, process};

/// Where a program has its credentials from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Endpoint,
    Process,
    /// For comparison.
    Permanent,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Endpoint, Self::Process, Self::Permanent];

    /// The program's environment, with files of its own below `directory`.
    pub fn environment(
        self,
        device: &Device,
        directory: &Path,
        name: &str,
    ) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = match self {
            Self::Endpoint => {
                let files = [device.scratch.join("clients"), device.runtime_directory.clone()];
                let mut files = files.into_iter().map(|directory| directory.join("endpoint.env"));
                let file = files.find(|file| file.exists()).expect("endpoint.env");
                let text = fs::read_to_string(file).expect("endpoint.env");
                let lines = text.lines().filter(|line| !line.starts_with('#'));
                let pairs = lines.filter_map(|line| line.split_once('='));
                pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
            }
            Self::Process => {
                let command = device.edgerotate(&["credential-process"]);
                // Without what ties it to its parent, which is another one here.
                let words: Vec<_> =
                    command.get_args().skip(3).map(|w| w.to_string_lossy()).collect();
                let profile = format!("[default]\ncredential_process = {}\n", words.join(" "));
                let file = directory.join(format!("{name}.aws"));
                fs::write(&file, profile).unwrap();
                // 0.3 reads a process from this file without further ado.
                vec![("AWS_SHARED_CREDENTIALS_FILE".to_owned(), file.display().to_string())]
            }
            Self::Permanent => {
                let (id, secret) = device.cloud.permanent_key();
                [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)]
                    .map(|(key, value)| (key.to_owned(), value))
                    .into()
            }
        };
        pairs.retain(|(key, _)| key != "EDGEROTATE_THING_NAME");
        pairs.extend(
            [
                ("EDGEROTATE_THING_NAME", name.to_owned()),
                ("AWS_DEFAULT_REGION", device.cloud.region()),
                ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        pairs
    }
}

/// A Litestream with a database of its own.
pub struct Replicator {
    pub name: String,
    pub way: Way,
    pub generation: Generation,
    pub litestream: Litestream,
    pub path: PathBuf,
    connection: Mutex<Connection>,
}

impl Replicator {
    pub fn start(device: &Device, way: Way, generation: Generation) -> Self {
        let replicator = Self::prepare(device, way, generation);
        replicator.launch();
        replicator
    }

    /// All but the start.
    pub fn prepare(device: &Device, way: Way, generation: Generation) -> Self {
        Self::prepare_as(device, way, generation, "")
    }

    /// One of several of a kind, told apart by the end of its name.
    pub fn prepare_as(device: &Device, way: Way, generation: Generation, suffix: &str) -> Self {
        // It is a thing's name as well, and so has no dot.
        let name = format!("litestream-{generation:?}-{way:?}{suffix}").to_lowercase();
        let directory = device.scratch.join(&name);
        fs::create_dir(&directory).unwrap();
        let path = directory.join("busy.db");
        let connection = Connection::open(&path).unwrap();
        // No fsync: what is tested is not the disk.
        let tables = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             CREATE TABLE HealthCheck (id INTEGER PRIMARY KEY, filling BLOB)";
        connection.execute_batch(tables).unwrap();
        connection.busy_timeout(SOON).unwrap();
        let environment_file = directory.join("environment");
        let pairs = way.environment(device, &directory, &name);
        let text: String = pairs.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(&environment_file, text).unwrap();
        let litestream =
            Litestream::new(&directory, generation, &device.cloud, &name, &path, &environment_file);
        let connection = Mutex::new(connection);
        let replicator = Self { name, way, generation, litestream, path, connection };
        replicator.write(20);
        replicator
    }

    pub fn launch(&self) {
        let (program, port) = self.litestream.restart_command.split_once(' ').unwrap();
        process::run(Command::new(program).arg(port));
    }

    pub fn write(&self, rows: usize) {
        let connection = self.connection.lock().unwrap();
        for _ in 0..rows {
            let insert = "INSERT INTO HealthCheck (filling) VALUES (zeroblob(100))";
            connection.execute(insert, ()).unwrap();
        }
    }

    /// A row in each `pace`; how many a second that was.
    pub fn write_until(&self, end: &AtomicBool, pace: Duration) -> f64 {
        keep_pace(pace, end, || self.write(1))
    }

    pub fn rows(&self) -> Vec<i64> {
        database::rows(&self.path)
    }

    /// Whether a request was for this one's part of the bucket.
    pub fn made(&self, request: &Request) -> bool {
        request.is_below(&self.name)
    }
}
