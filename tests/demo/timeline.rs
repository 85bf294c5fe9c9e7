//! What happened when, gathered from what each part wrote down itself.

use chrono::{DateTime, Utc};

use crate::{
    HEARTBEAT,
    support::{Device, keeper::Start},
};

/// A run so far. All times are the machine's.
pub struct Timeline {
    pub begin: DateTime<Utc>,
    pub now: DateTime<Utc>,
    pub credentials: Vec<Credential>,
    /// Each start of Litestream; the first is no restart.
    pub starts: Vec<Start>,
    /// With the access key that signed each.
    pub uploads: Vec<(DateTime<Utc>, String)>,
    pub heartbeats: Vec<DateTime<Utc>>,
}

/// One answer of the provider.
pub struct Credential {
    pub access_key_id: String,
    pub issued: DateTime<Utc>,
    pub expires: DateTime<Utc>,
}

impl Timeline {
    pub fn of(device: &Device) -> Self {
        let requests = device.cloud.requests();
        let issued = device.cloud.issued();
        let credentials: Vec<_> = requests
            .iter()
            .filter(|r| r.side == "provider" && r.status == 200)
            .filter_map(|r| {
                let found =
                    issued.iter().find(|i| Some(&i.access_key_id) == r.access_key_id.as_ref())?;
                Some(Credential {
                    access_key_id: found.access_key_id.clone(),
                    issued: r.time,
                    expires: found.expiration,
                })
            })
            .collect();
        let now = Utc::now();
        Self {
            begin: credentials.first().map_or(now, |c| c.issued),
            now,
            credentials,
            starts: device.litestream.starts(),
            uploads: requests
                .iter()
                .filter(|r| r.is_upload())
                .map(|r| (r.time, r.access_key_id.clone().unwrap_or_default()))
                .collect(),
            heartbeats: heartbeats(&device.log()),
        }
    }

    pub fn seconds(&self, time: DateTime<Utc>) -> f64 {
        (time - self.begin).as_seconds_f64()
    }

    /// New credentials after the first.
    pub fn rotations(&self) -> usize {
        self.credentials.len().saturating_sub(1)
    }

    pub fn restarts(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// How much later than due each heartbeat came, in seconds, with its time.
    pub fn lags(&self) -> Vec<(DateTime<Utc>, f64)> {
        let lag =
            |pair: &[DateTime<Utc>]| (pair[1] - pair[0]).as_seconds_f64() - HEARTBEAT.as_secs_f64();
        self.heartbeats.windows(2).map(|pair| (pair[1], lag(pair).max(0.0))).collect()
    }

    /// From the issue of credentials to the first upload signed with them, in seconds.
    pub fn upload_with(&self, credential: &Credential) -> Option<f64> {
        let key = &credential.access_key_id;
        let (time, _) = self.uploads.iter().find(|(_, signed)| signed == key)?;
        Some((*time - credential.issued).as_seconds_f64())
    }

    /// From the request for a restart to the first upload signed with the new credentials, in
    /// seconds.
    pub fn upload_after(&self, start: &Start) -> Option<f64> {
        let (time, _) = self.uploads.iter().find(|(_, key)| *key == start.access_key_id)?;
        Some((*time - start.asked).as_seconds_f64())
    }
}

/// The log has a line with its time for each row.
fn heartbeats(log: &str) -> Vec<DateTime<Utc>> {
    let time = |line: &str| {
        Some(DateTime::parse_from_rfc3339(line.split_whitespace().next()?).ok()?.to_utc())
    };
    log.lines().filter(|line| line.contains("sqlite3 write success")).filter_map(time).collect()
}
