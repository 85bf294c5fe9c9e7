//! Both generations of Litestream, with credentials in their environment.

#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use rusqlite::Connection;
use serde_json::{Value, json};
use support::{Cloud, Device, Session, cloud, text, tool, wait_for};

const OLD: &str = "0.3.13";
const NEW: &str = "0.5.17";

/// A database, its Litestream settings, and a Litestream that ends with the test.
struct Replication<'a> {
    version: &'static str,
    cloud: &'a Cloud,
    scratch: PathBuf,
    database: Connection,
    process: Option<Child>,
}

impl<'a> Replication<'a> {
    fn new(version: &'static str, cloud: &'a Cloud, scratch: &Path) -> Self {
        let database = Connection::open(scratch.join("app.db")).unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)", ()).unwrap();
        let replica = format!(
            "{{type: s3, bucket: {}, path: device-1/app, region: {}, endpoint: '{}', force-path-style: true, \
             sync-interval: 200ms}}",
            cloud.text("bucket"),
            cloud.text("region"),
            cloud.text("s3_endpoint"),
        );
        let replica = match version {
            OLD => format!("replicas: [{replica}]"),
            _ => format!("replica: {replica}"),
        };
        let settings =
            format!("dbs:\n  - path: {}\n    {replica}\n", scratch.join("app.db").display());
        fs::write(scratch.join("litestream.yml"), settings).unwrap();
        Self { version, cloud, scratch: scratch.to_owned(), database, process: None }
    }

    fn insert(&self, count: usize) {
        for _ in 0..count {
            self.database
                .execute("INSERT INTO rows (text) VALUES (hex(randomblob(200)))", ())
                .unwrap();
        }
    }

    fn litestream(&self, session: &Session, command: &str) -> Command {
        let mut litestream =
            session.client(&tool(&format!("litestream-{}", self.version)), &self.scratch);
        litestream.arg(command).arg("-config").arg(self.scratch.join("litestream.yml"));
        litestream
    }

    fn start(&mut self, session: &Session) {
        let log = File::create(self.scratch.join("litestream.log")).unwrap();
        let mut replicate = self.litestream(session, "replicate");
        self.process =
            Some(replicate.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("litestream.log")).unwrap()
    }

    /// The rows of the replica, for as long as there is none: nothing.
    fn restore(&self) -> Option<Vec<(i64, String)>> {
        let restored = self.scratch.join("restored.db");
        let _ = fs::remove_file(&restored);
        let mut restore = self.litestream(&self.cloud.permanent(), "restore");
        let output =
            restore.arg("-o").arg(&restored).arg(self.scratch.join("app.db")).output().unwrap();
        output.status.success().then(|| rows(&Connection::open(restored).unwrap()))
    }
}

impl Drop for Replication<'_> {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

fn rows(database: &Connection) -> Vec<(i64, String)> {
    let mut statement = database.prepare("SELECT id, text FROM rows ORDER BY id").unwrap();
    statement
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn expired(cloud: &Cloud, session: &Session) -> Vec<Value> {
    let mut requests = cloud.requests();
    requests.retain(|line| line["error"] == "ExpiredToken" && line["access_key_id"] == session.key);
    requests
}

fn replicates_and_restores(version: &'static str) {
    let (scratch, cloud) = cloud(&[]);
    cloud.set_role_alias(json!({ "prefix_per_thing": true }));
    let session = Device::new(&cloud, scratch.path(), "device-1").session(&cloud, Some("device-1"));
    let mut replication = Replication::new(version, &cloud, scratch.path());
    replication.insert(100);
    replication.start(&session);
    let uploads =
        || cloud.requests().iter().filter(|line| line["operation"] == "PutObject").count();
    wait_for("a first upload", || (uploads() > 0).then_some(()));
    replication.insert(100);
    let live = rows(&replication.database);
    wait_for("all rows in the replica", || {
        replication.restore().filter(|restored| restored.len() >= live.len())
    });
    assert!(replication.restore() == Some(live), "the replica differs");
    let failed: Vec<Value> = cloud
        .requests()
        .into_iter()
        .filter(|line| line["side"] == "s3" && !line["error"].is_null())
        .collect();
    // A replica that does not exist yet is asked for with these.
    let expected = |line: &Value| line["error"] == "NoSuchKey" || line["status"] == 404;
    assert!(failed.iter().all(expected), "{failed:?}\n{}", replication.log());
}

fn meets_the_end_of_its_credentials(version: &'static str) {
    let (scratch, cloud) = cloud(&["--lifetime", "8"]);
    let session = Device::new(&cloud, scratch.path(), "device-1").session(&cloud, Some("device-1"));
    let mut replication = Replication::new(version, &cloud, scratch.path());
    replication.start(&session);
    wait_for("an expired token at S3", || {
        replication.insert(1);
        expired(&cloud, &session).pop()
    });
    wait_for("a complaint of Litestream's", || {
        let log = replication.log();
        replication.insert(1);
        log.contains("ExpiredToken").then_some(())
    });
    assert!(replication.is_running(), "{}", replication.log());
    let refused = expired(&cloud, &session);
    assert!(
        refused.iter().all(|line| line["status"] == 400 && line["thing"] == "device-1"),
        "{refused:?}"
    );
}

#[test]
fn litestream_0_3_replicates_and_restores() {
    replicates_and_restores(OLD);
}

#[test]
fn litestream_0_5_replicates_and_restores() {
    replicates_and_restores(NEW);
}

#[test]
fn litestream_0_3_meets_the_end_of_its_credentials() {
    meets_the_end_of_its_credentials(OLD);
}

#[test]
fn litestream_0_5_meets_the_end_of_its_credentials() {
    meets_the_end_of_its_credentials(NEW);
}

#[test]
fn wrong_credentials_reach_nobody() {
    let (scratch, cloud) = cloud(&[]);
    let mut replication = Replication::new(NEW, &cloud, scratch.path());
    replication.insert(1);
    let stranger = Session { secret: "x".repeat(40), ..cloud.permanent() };
    replication.start(&stranger);
    wait_for("a wrong signature at S3", || {
        replication.insert(1);
        cloud.requests().into_iter().find(|line| line["error"] == "SignatureDoesNotMatch")
    });
    let text = text(&fs::read(cloud.directory.join("requests.jsonl")).unwrap());
    assert!(!text.contains(&stranger.secret));
    assert!(fs::read_dir(cloud.directory.join("s3/replica")).unwrap().next().is_none());
}
