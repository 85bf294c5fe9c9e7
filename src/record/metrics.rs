//! The record as Prometheus reads it: the text format that node_exporter's textfile collector takes
//! (exposition formats, version 0.0.4). Ages are given as timestamps, so that they are right
//! whenever they are read.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    path::Path,
};

use chrono::TimeDelta;

use crate::record::{Clocks, GuardState, Moment, Record};

/// A family's name, type and meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub kind: &'static str,
    pub help: &'static str,
}

macro_rules! families {
    ($($family:ident $name:literal $kind:literal $help:literal;)*) => {
        $(const $family: Family = Family { name: $name, kind: $kind, help: $help };)*

        /// Every family there may be, for the documentation.
        pub const FAMILIES: &[Family] = &[$($family),*];
    };
}

families! {
    BUILD "edgerotate_build_info" "gauge"
        "The version that runs, as a label; always 1.";
    RUNNING "edgerotate_running" "gauge"
        "1 while the daemon runs, 0 once it was stopped; a daemon that was killed leaves an old \
         file.";
    STARTED "edgerotate_start_timestamp_seconds" "gauge"
        "When the daemon started.";
    EXPIRES "edgerotate_credentials_expiry_timestamp_seconds" "gauge"
        "When the credentials that are held expire, or did.";
    NEXT "edgerotate_fetch_next_timestamp_seconds" "gauge"
        "When the next fetch begins; absent while one is under way, or none may be made.";
    LAST_SUCCESS "edgerotate_fetch_last_success_timestamp_seconds" "gauge"
        "When the credentials that are held were fetched.";
    SUCCESSES "edgerotate_fetch_successes_total" "counter"
        "Fetches that succeeded since the daemon's start.";
    FAILURES "edgerotate_fetch_failures_total" "counter"
        "Fetches that failed since the daemon's start, by how they are treated.";
    FAILING "edgerotate_fetch_failing" "gauge"
        "1 if the last fetch failed.";
    HAND_OVER_FAILING "edgerotate_hand_over_failing" "gauge"
        "1 if the last step of the hand-over to Litestream failed.";
    CONFIRMED "edgerotate_litestream_starts_total" "counter"
        "How often Litestream was seen to start with new credentials since the daemon's start.";
    LAST_CONFIRMED "edgerotate_litestream_last_start_timestamp_seconds" "gauge"
        "When Litestream was last seen to start with new credentials.";
    LITESTREAM "edgerotate_litestream_running" "gauge"
        "1 if Litestream runs; absent where that can't be seen.";
    BEAT "edgerotate_heartbeat_timestamp_seconds" "gauge"
        "When the last heartbeat was written.";
    BEAT_FAILING "edgerotate_heartbeat_failing" "gauge"
        "1 if the last heartbeat could not be written.";
    UNGUARDED "edgerotate_database_unguarded" "gauge"
        "1 if nobody keeps the database's WAL while Litestream restarts.";
    SUSPECT "edgerotate_replica_suspect" "gauge"
        "1 if the database's replica may lack rows.";
    MOVED "edgerotate_replica_moved_timestamp_seconds" "gauge"
        "When the replica was last seen to move; absent where uploads are not watched.";
    BEHIND "edgerotate_replica_behind" "gauge"
        "1 if the replica has not moved for longer than EDGEROTATE_VERIFY_MAX_LAG.";
    SKEW "edgerotate_clock_skew_seconds" "gauge"
        "How far this device's clock was ahead of the provider's at the last answer.";
}

/// The text, for a record that is looked at when the clocks are these.
pub fn text(record: &Record, clocks: &Clocks) -> String {
    let mut metrics = Metrics { text: String::new(), clocks };
    let flag = u8::from;
    metrics.labelled(BUILD, [(("version", record.daemon.version.as_str()), 1)]);
    metrics.value(RUNNING, flag(record.daemon.stopped.is_none()));
    metrics.moment(STARTED, Some(record.daemon.started));

    metrics.moment(EXPIRES, record.credentials.map(|held| held.expires));
    metrics.moment(NEXT, record.fetch.next);
    metrics.moment(LAST_SUCCESS, record.credentials.map(|held| held.fetched));
    metrics.value(SUCCESSES, record.fetch.succeeded);
    let failed = record.fetch.failed;
    metrics.labelled(
        FAILURES,
        [
            (("class", "passing"), failed.passing),
            (("class", "setup"), failed.setup),
            (("class", "pin-refused"), failed.pin_refused),
        ],
    );
    let fails = record.fetch.failure.as_ref().is_some_and(|failure| failure.over.is_none());
    metrics.value(FAILING, flag(fails));

    metrics.value(HAND_OVER_FAILING, flag(record.hand_over.failing.is_some()));
    metrics.value(CONFIRMED, record.litestream.confirmed);
    metrics.moment(LAST_CONFIRMED, record.litestream.last_confirmed);
    if record.litestream.can_be_seen {
        metrics.value(LITESTREAM, flag(record.litestream.start.is_some()));
    }

    metrics.moment(BEAT, record.heartbeat.last);
    metrics.value(BEAT_FAILING, flag(record.heartbeat.failing.is_some()));

    let guarded = record.guard.iter().flatten();
    let unguarded = guarded.map(|guarded| {
        let is_bad = matches!(guarded.state, GuardState::CouldNotBeHad | GuardState::GivenUp);
        (("database", name(&guarded.database)), flag(is_bad))
    });
    metrics.labelled(UNGUARDED, unguarded);
    metrics.labelled(SUSPECT, suspect(record));
    if let Some(uploads) = &record.uploads {
        metrics.moment(MOVED, uploads.last_moved);
        metrics.value(BEHIND, flag(uploads.behind));
    }
    if let Some(clock) = record.clock {
        metrics.value(SKEW, clock.ahead_s);
    }
    metrics.text
}

/// What an alarm may hang on: without what moves all the time.
pub fn steady(text: &str) -> impl Iterator<Item = &str> {
    let moves = |line: &&str| {
        ["_timestamp_seconds ", "_total", SKEW.name].iter().any(|part| line.contains(part))
    };
    text.lines().filter(move |line| !moves(line))
}

/// Each guarded database, and those that are suspect.
fn suspect(record: &Record) -> Vec<((&'static str, String), u8)> {
    let Some(suspect) = &record.suspect else { return Vec::new() };
    let mut databases: BTreeMap<String, u8> =
        record.guard.iter().flatten().map(|guarded| (name(&guarded.database), 0)).collect();
    databases.extend(suspect.databases.keys().map(|path| (name(path), 1)));
    databases.into_iter().map(|(path, flag)| (("database", path), flag)).collect()
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

struct Metrics<'a> {
    text: String,
    clocks: &'a Clocks,
}

impl Metrics<'_> {
    fn family(&mut self, family: Family) {
        let Family { name, kind, help } = family;
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, family: Family, value: impl fmt::Display) {
        self.family(family);
        let _ = writeln!(self.text, "{} {value}", family.name);
    }

    fn moment(&mut self, family: Family, moment: Option<Moment>) {
        let Some(moment) = moment else { return };
        let Clocks { boottime, wall } = *self.clocks;
        let ahead = TimeDelta::from_std(moment.at.since(boottime.at)).unwrap_or_default();
        let ago = TimeDelta::from_std(boottime.at.since(moment.at)).unwrap_or_default();
        let at = wall.checked_add_signed(ahead - ago).unwrap_or(wall);
        let millis = at.timestamp_millis();
        self.value(family, format_args!("{}.{:03}", millis / 1000, millis.rem_euclid(1000)));
    }

    fn labelled<L: AsRef<str>, V: fmt::Display>(
        &mut self,
        family: Family,
        samples: impl IntoIterator<Item = ((&'static str, L), V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.family(family);
        for ((label, text), value) in samples {
            let text = escaped(text.as_ref());
            let _ = writeln!(self.text, "{}{{{label}=\"{text}\"}} {value}", family.name);
        }
    }
}

/// As the format wants a label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
