//! Litestream of both generations, replicating one database to the test's S3.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use super::{
    Cloud, SOON,
    keeper::{Job, Keeper},
    machine,
    process::{tied, try_run},
    tool, wait_for,
};

/// The two generations in use; their files differ, on the device and in S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    V03,
    V05,
}

/// Litestream for one database, not started before somebody asks its [`Keeper`] for it.
pub struct Litestream {
    pub generation: Generation,
    keeper: Keeper,
    pub configuration: PathBuf,
    /// Follows each start; for `EDGEROTATE_LITESTREAM_PID_FILE`.
    pub pid_file: PathBuf,
    log: PathBuf,
    thing: String,
    databases: Vec<PathBuf>,
    replica: String,
    metrics: Option<String>,
    permanent_key: (String, String),
}

impl Generation {
    pub const BOTH: [Self; 2] = [Self::V03, Self::V05];

    pub fn version(self) -> &'static str {
        match self {
            Self::V03 => "0.3.13",
            Self::V05 => "0.5.17",
        }
    }

    pub fn of_version(version: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|generation| generation.version() == version)
    }

    pub fn program(self) -> PathBuf {
        let name = format!("litestream-{}", self.version());
        match machine() {
            // There is none for armv7 in PyPI.
            Some(machine) if machine == "aarch64" => tool(&format!("{name}-{machine}")),
            _ => tool(&name),
        }
    }
}

impl Litestream {
    /// Writes `litestream.yml` below `directory`, and waits for the first request to start.
    pub fn new(
        directory: &Path,
        generation: Generation,
        cloud: &Cloud,
        thing: &str,
        database: &Path,
        environment_file: &Path,
    ) -> Self {
        let directory = directory.join("litestream");
        fs::create_dir_all(&directory).expect("Litestream's directory");
        let configuration = directory.join("litestream.yml");
        let replica = replica(cloud);
        let pid_file = directory.join("pid");
        let log = directory.join("litestream.log");
        let job = Job {
            program: generation.program(),
            configuration: configuration.clone(),
            environment_file: environment_file.to_owned(),
            pid_file: pid_file.clone(),
            log: log.clone(),
        };
        let litestream = Self {
            generation,
            keeper: Keeper::new(&directory, job),
            configuration,
            pid_file,
            log,
            thing: thing.to_owned(),
            databases: vec![database.to_owned()],
            replica,
            metrics: None,
            permanent_key: cloud.permanent_key(),
        };
        litestream.configure();
        litestream
    }

    /// Replicates another database as well, from the next start on.
    pub fn also(&mut self, database: &Path) {
        if !self.databases.iter().any(|known| known == database) {
            self.databases.push(database.to_owned());
        }
        self.configure();
    }

    /// Serves its metrics on loopback, from the next start on; says where.
    pub fn serve_metrics(&mut self) -> String {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        // An address of this process's own has free ports, and each test takes another.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.{high}.{low}.{number}:9090");
        let url = format!("http://{address}/metrics");
        self.metrics = Some(address);
        self.configure();
        url
    }

    fn configure(&self) {
        let text = settings(self.generation, &self.databases, &self.replica);
        let metrics =
            self.metrics.as_ref().map_or(String::new(), |address| format!("addr: {address}\n"));
        let text = metrics + &text;
        fs::write(&self.configuration, text).expect("litestream.yml");
    }

    /// The starts after the first.
    pub fn restarts(&self) -> usize {
        self.starts().len().saturating_sub(1)
    }

    pub fn stop(&mut self) -> Duration {
        self.keeper.stop()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Restores the newest state in S3 to a new file, with a key that does not expire.
    pub fn restore(&self, to: &Path) -> Result<(), String> {
        self.restore_of(&self.databases[0], to)
    }

    /// The same for another of its databases.
    pub fn restore_of(&self, database: &Path, to: &Path) -> Result<(), String> {
        for suffix in ["", "-wal", "-shm"] {
            fs::remove_file(format!("{}{suffix}", to.display())).ok();
        }
        let (succeeded, output) = try_run(
            tied(self.generation.program())
                .env("AWS_ACCESS_KEY_ID", &self.permanent_key.0)
                .env("AWS_SECRET_ACCESS_KEY", &self.permanent_key.1)
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .env("EDGEROTATE_THING_NAME", &self.thing)
                .args(["restore", "-config"])
                .arg(&self.configuration)
                .arg("-o")
                .arg(to)
                .arg(database),
        );
        if succeeded && to.exists() { Ok(()) } else { Err(output) }
    }

    /// Restores until the copy has every row of `original`; panics at the deadline with those
    /// missing.
    pub fn restore_whole(&self, to: &Path, original: &[i64], deadline: Duration) -> Vec<i64> {
        self.restore_whole_of(&self.databases[0], to, original, deadline)
    }

    /// The same for another of its databases.
    pub fn restore_whole_of(
        &self,
        database: &Path,
        to: &Path,
        original: &[i64],
        deadline: Duration,
    ) -> Vec<i64> {
        let start = Instant::now();
        wait_for("a restore that works", deadline + SOON, || {
            let copy = self
                .restore_of(database, to)
                .and_then(|()| super::database::try_rows(to).map_err(|e| e.to_string()))
                .ok()?;
            let (missing, _) = super::database::compare(original, &copy);
            assert!(
                missing.is_empty() || start.elapsed() < deadline,
                "missing in the restored database: {missing:?}"
            );
            missing.is_empty().then_some(copy)
        })
    }
}

impl Deref for Litestream {
    type Target = Keeper;
    fn deref(&self) -> &Keeper {
        &self.keeper
    }
}

/// The bucket's path holds the thing's name, out of the environment file: one image, many devices.
fn replica(cloud: &Cloud) -> String {
    format!(
        "type: s3\n        bucket: {}\n        region: {}\n        endpoint: {}\n        \
         force-path-style: true\n        \
         sync-interval: 1s\n        path: ${{EDGEROTATE_THING_NAME}}/",
        cloud.bucket(),
        cloud.region(),
        cloud.s3_endpoint(),
    )
}

fn settings(generation: Generation, databases: &[PathBuf], replica: &str) -> String {
    let entry = |(number, database): (usize, &PathBuf)| {
        let path = database.display();
        // The first is "db", as everything that looks into the bucket expects.
        let name = if number == 0 { "db".to_owned() } else { format!("db{number}") };
        match generation {
            Generation::V03 => {
                format!("  - path: {path}\n    replicas:\n      - {replica}{name}\n")
            }
            Generation::V05 => {
                format!("  - path: {path}\n    replica:\n        {replica}{name}\n")
            }
        }
    };
    let databases: String = databases.iter().enumerate().map(entry).collect();
    match generation {
        Generation::V03 => format!("dbs:\n{databases}"),
        // The default of 30 s would outlast the patience of a restart.
        Generation::V05 => format!("shutdown-sync-timeout: 10s\ndbs:\n{databases}"),
    }
}
