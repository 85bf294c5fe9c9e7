//! Whether the replica moves: what Litestream's metrics say of it, apart from what the guard sees
//! on the device.
//!
//! Heartbeats are written all the time, so a replica that gets on moves. Two positions are looked
//! at: how far Litestream has read the database, and what it has uploaded. If the first stands
//! still as well, S3 is not to blame: Litestream is stuck. The metrics of the two generations
//! differ, and 0.5 counts its uploads for all databases together. But it tells each database's
//! transactions, and each is an upload: where far more were read than uploaded, the replica of some
//! database stands still, though that of the heartbeats moves.

use std::{path::Path, time::Duration};

use crate::core::boottime::Boottime;

/// A Litestream that is slow is left alone, however little lag it may have: with S3 away, 0.5 was
/// seen to read nothing for more than eight seconds. A stuck one stays so.
const STUCK_AFTER: Duration = Duration::from_secs(300);

/// So many transactions may wait for their upload where all is well.
const OWED: f64 = 20.0;

/// How far Litestream was when it was asked. Each only grows while it runs.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Sample {
    /// Read from the database: file and place of the WAL (0.3), or the transaction's number (0.5).
    read: (f64, f64),
    /// Uploaded: the same (0.3), or the number of uploads (0.5).
    uploaded: (f64, f64),
    /// Transactions of all databases (0.5).
    transactions: Option<f64>,
}

impl Sample {
    /// What the metrics say of this database; nothing if they don't know it.
    pub fn parse(metrics: &str, database: &Path) -> Option<Self> {
        let escaped = database.to_str()?.replace('\\', "\\\\").replace('"', "\\\"");
        let db = format!("db=\"{escaped}\"");
        let values = |name: &'static str, label: &str| {
            let label = label.to_owned();
            metrics.lines().filter_map(move |line| {
                let (labels, value) =
                    line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
                labels.split(',').any(|l| l == label).then(|| value.trim().parse::<f64>().ok())?
            })
        };
        let largest = |name| values(name, &db).reduce(f64::max);
        if let Some(transaction) = largest("litestream_txid") {
            let uploads = values("litestream_replica_operation_total", "operation=\"PUT\"").sum();
            let all = metrics.lines().filter(|line| line.starts_with("litestream_txid{"));
            let all = all.filter_map(|line| line.rsplit_once("} ")?.1.trim().parse::<f64>().ok());
            return Some(Self {
                read: (transaction, 0.0),
                uploaded: (uploads, 0.0),
                transactions: Some(all.sum()),
            });
        }
        Some(Self {
            read: (largest("litestream_shadow_wal_index")?, largest("litestream_shadow_wal_size")?),
            uploaded: (
                largest("litestream_replica_wal_index")?,
                largest("litestream_replica_wal_offset")?,
            ),
            transactions: None,
        })
    }
}

/// What was seen of the replica so far.
#[derive(Debug)]
pub struct Uploads {
    max_lag: Duration,
    last: Option<Sample>,
    pub last_moved: Option<Boottime>,
    /// Since when a heartbeat has been waiting to be uploaded, and to be read.
    waiting: Option<Boottime>,
    unread: Option<Boottime>,
    /// How often Litestream was asked since, and had read no more.
    stood_still: u32,
    /// How many transactions were read and not uploaded, as far as that can be reckoned, and since
    /// when there are any.
    owed: f64,
    owing: Option<Boottime>,
}

impl Uploads {
    pub fn new(max_lag: Duration) -> Self {
        Self {
            max_lag,
            last: None,
            last_moved: None,
            waiting: None,
            unread: None,
            stood_still: 0,
            owed: 0.0,
            owing: None,
        }
    }

    /// A heartbeat was written.
    pub fn beat(&mut self, now: Boottime) {
        self.waiting.get_or_insert(now);
        self.unread.get_or_insert(now);
    }

    /// Litestream was asked. One that was restarted begins with smaller figures: that is no move.
    pub fn saw(&mut self, sample: Sample, now: Boottime) {
        let Some(last) = self.last.replace(sample) else { return };
        self.reckon(&last, &sample, now);
        if sample.read > last.read {
            self.unread = None;
            self.stood_still = 0;
        } else if self.unread.is_some() {
            self.stood_still = self.stood_still.saturating_add(1);
        }
        if sample.uploaded > last.uploaded && self.unread.is_none_or(|since| since >= now) {
            self.waiting = None;
            self.last_moved = Some(now);
        }
    }

    /// Compactions are uploads as well: so this is the least that is owed.
    fn reckon(&mut self, last: &Sample, sample: &Sample, now: Boottime) {
        let (Some(before), Some(read)) = (last.transactions, sample.transactions) else { return };
        let uploaded = (sample.uploaded.0 - last.uploaded.0).max(0.0);
        self.owed = (self.owed + (read - before).max(0.0) - uploaded).max(0.0);
        self.owing = if self.owed > 0.0 { self.owing.or(Some(now)) } else { None };
    }

    /// Since when the uploads of some database have been missing, where that is for longer than it
    /// may.
    pub fn owing_since(&self, now: Boottime) -> Option<Boottime> {
        self.owing.filter(|since| self.owed > OWED && now.since(*since) > self.max_lag)
    }

    /// Since when something has been waiting, if longer than `usual`.
    pub fn waiting_since(&self, usual: Duration, now: Boottime) -> Option<Boottime> {
        self.waiting.filter(|since| now.since(*since) > usual)
    }

    /// Something waits for longer than it may.
    pub fn is_behind(&self, now: Boottime) -> bool {
        self.waiting.is_some_and(|since| now.since(since) > self.max_lag)
    }

    /// Litestream itself does not get on: it was asked again and again, and reads nothing of what
    /// is written. To be asked when it has just answered.
    pub fn is_stuck(&self, now: Boottime) -> bool {
        let limit = self.max_lag.max(STUCK_AFTER);
        self.stood_still >= 2 && self.unread.is_some_and(|since| now.since(since) > limit)
    }

    /// Litestream starts anew, or gives no answer: it has its time from now on.
    pub fn starts_anew(&mut self, now: Boottime) {
        self.last = None;
        self.stood_still = 0;
        self.unread = self.unread.map(|_| now);
        self.owed = 0.0;
        self.owing = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 0.3.13 and 0.5.17, captured and shortened.
    const OLD: &str = "\
# HELP litestream_replica_operation_total The number of replica operations performed
litestream_replica_operation_total{operation=\"PUT\",replica_type=\"s3\"} 6
litestream_replica_wal_index{db=\"/data/device.db\",name=\"s3\"} 1
litestream_replica_wal_offset{db=\"/data/device.db\",name=\"s3\"} 135992
litestream_shadow_wal_index{db=\"/data/device.db\"} 1
litestream_shadow_wal_size{db=\"/data/device.db\"} 1.403792e+06
litestream_shadow_wal_size{db=\"/data/other.db\"} 9e+09
";
    const NEW: &str = "\
litestream_replica_operation_bytes{operation=\"PUT\",replica_type=\"s3\"} 2980
litestream_replica_operation_total{operation=\"GET\",replica_type=\"s3\"} 100
litestream_replica_operation_total{operation=\"PUT\",replica_type=\"s3\"} 7
litestream_txid{db=\"/data/device.db\"} 12
litestream_txid{db=\"/data/other.db\"} 99
";

    fn at(seconds: u64) -> Boottime {
        Boottime::from_millis(seconds * 1000)
    }

    fn sample(read: f64, uploaded: f64) -> Sample {
        Sample { read: (read, 0.0), uploaded: (uploaded, 0.0), transactions: None }
    }

    #[test]
    fn reads_the_metrics_of_both_generations() {
        let database = Path::new("/data/device.db");
        let old =
            Sample { read: (1.0, 1_403_792.0), uploaded: (1.0, 135_992.0), transactions: None };
        assert_eq!(Sample::parse(OLD, database), Some(old));
        let new = Sample { transactions: Some(111.0), ..sample(12.0, 7.0) };
        assert_eq!(Sample::parse(NEW, database), Some(new));
        assert_eq!(Sample::parse(NEW, Path::new("/data/forgotten.db")), None);
        assert_eq!(Sample::parse("", database), None);
    }

    #[test]
    fn a_replica_that_moves_is_not_behind_and_one_that_stops_is() {
        let mut uploads = Uploads::new(Duration::from_secs(60));
        for second in (0..300).step_by(5) {
            uploads.beat(at(second));
            uploads.saw(sample(second as f64, second as f64), at(second + 1));
            assert!(!uploads.is_behind(at(second + 4)), "{second}");
        }
        assert_eq!(uploads.last_moved, Some(at(296)));
        // S3 is away: Litestream reads on.
        for second in (300..400).step_by(5) {
            uploads.beat(at(second));
            uploads.saw(sample(second as f64, 295.0), at(second + 1));
            assert_eq!(uploads.is_behind(at(second + 1)), second + 1 > 360, "{second}");
            assert!(!uploads.is_stuck(at(second + 1)));
        }
        assert_eq!(uploads.waiting_since(Duration::from_secs(30), at(400)), Some(at(300)));
        // It is restarted, and counts from none; then it uploads.
        uploads.saw(sample(0.0, 0.0), at(401));
        assert!(uploads.is_behind(at(401)));
        uploads.saw(sample(1.0, 3.0), at(402));
        assert!(!uploads.is_behind(at(402)));
        assert_eq!(uploads.waiting_since(Duration::ZERO, at(403)), None);
    }

    #[test]
    fn a_litestream_that_reads_no_more_is_stuck_whatever_it_uploads_of_others() {
        let mut uploads = Uploads::new(Duration::from_secs(60));
        uploads.saw(sample(5.0, 5.0), at(0));
        for second in (1..400).step_by(5) {
            uploads.beat(at(second));
            uploads.saw(sample(5.0, second as f64 + 10.0), at(second + 1));
            assert_eq!(uploads.is_stuck(at(second + 1)), second + 1 > 301, "{second}");
            assert_eq!(uploads.is_behind(at(second + 1)), second + 1 > 61, "{second}");
        }
        uploads.starts_anew(at(400));
        assert!(!uploads.is_stuck(at(1000)), "it has not been asked since");
    }

    #[test]
    fn another_database_s_uploads_are_missed_though_the_heartbeats_move() {
        let mut uploads = Uploads::new(Duration::from_secs(60));
        let of = |read: u64, uploaded: u64| Sample {
            transactions: Some(read as f64),
            ..sample(read as f64, uploaded as f64)
        };
        let mut owing = None;
        for second in 0..300 {
            uploads.beat(at(second));
            // Two databases; S3 refuses one from the hundredth second on, and a compaction comes
            // each half minute.
            let uploaded = 2 * second.min(100) + second.saturating_sub(100) + second / 30;
            uploads.saw(of(2 * second, uploaded), at(second));
            assert!(!uploads.is_behind(at(second)), "{second}");
            if uploads.owing_since(at(second)).is_some() {
                owing = owing.or(Some(second));
            }
        }
        assert!(owing.is_some_and(|second| (160..175).contains(&second)), "{owing:?}");
        uploads.starts_anew(at(300));
        assert_eq!(uploads.owing_since(at(400)), None);
    }

    #[test]
    fn a_litestream_that_answers_after_a_long_while_is_not_stuck() {
        let mut uploads = Uploads::new(Duration::from_secs(60));
        uploads.saw(sample(5.0, 5.0), at(0));
        uploads.beat(at(1));
        uploads.saw(sample(5.0, 5.0), at(900));
        assert!(!uploads.is_stuck(at(900)), "nobody looked in between");
        uploads.saw(sample(6.0, 5.0), at(930));
        assert!(!uploads.is_stuck(at(930)));
    }

    #[test]
    fn without_heartbeats_nothing_is_behind() {
        let mut uploads = Uploads::new(Duration::from_secs(60));
        for second in 0..500 {
            uploads.saw(sample(5.0, 5.0), at(second));
        }
        assert!(!uploads.is_behind(at(500)) && !uploads.is_stuck(at(500)));
    }
}
