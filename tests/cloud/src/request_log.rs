//! One line of JSON for each request, written as it is finished: what tests count and measure.
//!
//! No secret key and no session token ever comes here.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::Value;

use crate::files;

/// What the log says of a request whose connection ended first, whoever ended it.
const UNANSWERED: &str = "the connection ended before the answer";

pub struct RequestLog {
    file: Mutex<File>,
    path: PathBuf,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Provider,
    S3,
    Tls,
}

/// A request under way. It writes its line when it is finished, or when it is dropped because its connection ended.
pub struct Entry {
    pub line: Line,
    log: Arc<RequestLog>,
}

#[derive(Serialize)]
pub struct Line {
    /// When the request's head was read, and when its line was written.
    arrived: f64,
    time: f64,
    side: Side,
    pub operation: Option<String>,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub access_key_id: Option<String>,
    /// What it says when it was signed, in whole seconds.
    pub signed: Option<i64>,
    pub thing: Option<String>,
    pub key: Option<String>,
    pub bytes: u64,
    pub sni: Option<String>,
}

impl RequestLog {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Mutex::new(files::append(path, 0o644)?), path: path.to_owned() })
    }

    pub fn begin(self: &Arc<Self>, side: Side) -> Entry {
        let line = Line {
            arrived: unix_seconds(),
            time: 0.0,
            side,
            operation: None,
            status: None,
            error: Some(UNANSWERED.to_owned()),
            access_key_id: None,
            signed: None,
            thing: None,
            key: None,
            bytes: 0,
            sni: None,
        };
        Entry { line, log: Arc::clone(self) }
    }

    /// The lines written since a time in Unix seconds.
    pub fn since(&self, since: f64) -> io::Result<Vec<Value>> {
        let text = fs::read_to_string(&self.path)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.filter(|line| line["time"].as_f64().is_some_and(|time| time >= since)).collect())
    }
}

impl Entry {
    pub fn finish(mut self, status: Option<u16>, error: Option<String>) {
        self.line.status = status;
        self.line.error = error;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.line.time = unix_seconds();
        let mut text = serde_json::to_vec(&self.line).unwrap_or_default();
        text.push(b'\n');
        let mut file = self.log.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&text) {
            eprintln!("the request log can't be written: {error}");
        }
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
