//! `edgerotate verify`: is what is in S3 what is on the device?
//!
//! The only proof is a restore. So the real Litestream restores the replica, with the credentials
//! it always has: first the heartbeat's database, whose ids are compared with the live ones, then
//! those of the applications (`application`). The order matters: restored first, read afterwards,
//! so that a row that is in neither later state can't look like a loss. What "missing", "newer" and
//! "behind" mean is in `comparison` and `lag`; this file does one step after the other and tidies
//! up, however it ends.

mod application;
mod application_report;
mod comparison;
mod database;
mod json;
mod keyed;
mod lag;
mod meter;
mod repeat;
pub(crate) mod report;
mod restore;
mod row;
mod rows;
mod tables;
pub(crate) mod workplace;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tokio::time::sleep;

use self::{
    database::{DatabasesRead, LiveBefore},
    lag::LagClocks,
    meter::Meter,
    repeat::{LEAST_PAUSE, MOST_RESTORES, on_databases},
    report::{HeartbeatFound, HeartbeatReport, HeartbeatRestored, MarkOutcome},
    restore::restore,
    workplace::Workplace,
};
use crate::{
    core::{boottime::Boottime, suspect::Suspect},
    litestream::run::LitestreamCli,
    problems::{
        exit_code::{AWAY, DATA, DEVICE},
        trouble::{INTERRUPTED, NO_REPLICA, Trouble},
    },
    replica::suspect::SuspectFile,
    settings::Config,
    system::{clock, signals::Signals},
};

/// What was found of each database: the heartbeat's, and those of the applications.
struct Verified {
    heartbeat: Result<HeartbeatReport, Trouble>,
    applications: Vec<(PathBuf, Result<application::ApplicationReport, Trouble>)>,
}

impl Verified {
    /// The worst of all.
    fn exit_code(&self) -> u8 {
        let heartbeat = match &self.heartbeat {
            Ok(report) => report.verdict().exit_code(),
            Err(trouble) => trouble.exit_code,
        };
        let applications = self.applications.iter().map(|(_, found)| match found {
            Ok(report) => report.verdict().exit_code(),
            Err(trouble) => trouble.exit_code,
        });
        let badness = |code: &u8| match *code {
            0 => 0,
            AWAY => 1,
            DATA => 3,
            _ => 2,
        };
        // The first of those that are as bad.
        let worse = |a: u8, b: u8| if badness(&b) > badness(&a) { b } else { a };
        applications.fold(heartbeat, worse)
    }

    fn text(&self, database: &Path) -> String {
        let heartbeat = match &self.heartbeat {
            Ok(report) => report.text(),
            Err(trouble) => text_of_trouble(database, trouble),
        };
        self.applications.iter().fold(heartbeat, |text, (path, found)| {
            let block = match found {
                Ok(report) => report.text(),
                Err(trouble) => text_of_trouble(path, trouble),
            };
            text + "\n" + &block
        })
    }

    fn json(&self, database: &Path) -> Value {
        let mut value = match &self.heartbeat {
            Ok(report) => report.json(),
            Err(trouble) => json::of_trouble(database, trouble),
        };
        let applications = self.applications.iter().map(|(path, found)| match found {
            Ok(report) => report.json(),
            Err(trouble) => json::of_trouble(path, trouble),
        });
        value["databases"] = applications.collect();
        value["exit_code"] = self.exit_code().into();
        value
    }
}

fn text_of_trouble(database: &Path, trouble: &Trouble) -> String {
    format!(
        "cannot tell: {}\n  {:<13} {}\n  {:<13} {}\n",
        trouble.what,
        "database",
        database.display(),
        "what to do",
        trouble.remedy
    )
}

/// Restores, compares, and writes what came of it; answers with the exit code. `program` is
/// edgerotate itself.
///
/// # Errors
/// The answer could not be written.
pub fn run(config: &Config, program: &Path, as_json: bool, out: &mut dyn Write) -> io::Result<u8> {
    let verified = prepare().and_then(|runtime| runtime.block_on(verify(config, program)));
    let verified = verified
        .unwrap_or_else(|trouble| Verified { heartbeat: Err(trouble), applications: Vec::new() });
    let database = &config.heartbeat.database;
    if as_json {
        writeln!(out, "{:#}", verified.json(database))
    } else {
        out.write_all(verified.text(database).as_bytes())
    }?;
    out.flush()?;
    Ok(verified.exit_code())
}

fn prepare() -> Result<tokio::runtime::Runtime, Trouble> {
    let told = |e: io::Error| Trouble {
        cause: "device",
        exit_code: DEVICE,
        what: e.to_string(),
        remedy: "look at this device's limits",
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(told)
}

async fn verify(config: &Config, program: &Path) -> Result<Verified, Trouble> {
    let mut signals = Signals::new().map_err(|e| Trouble {
        cause: "device",
        exit_code: DEVICE,
        what: e.to_string(),
        remedy: "look at this device's limits",
    })?;
    let live = &config.heartbeat.database;
    let suspect_file = SuspectFile::in_directory(&config.state_directory);
    // Before all else: what is marked from now on stays.
    let suspect = suspect_file.load();
    let mark = |database: &Path, proven| take_back(&suspect_file, &suspect, database, proven);
    let litestream = LitestreamCli::new(program, &config.litestream);
    let version = litestream.version(&mut signals).await?;
    let replicated = litestream.databases(&mut signals).await?;
    let guarded = config.guard.databases.iter().filter(|path| *path != live);
    let (applications, not_replicated): (Vec<_>, Vec<_>) =
        guarded.cloned().partition(|path| replicated.contains(path));
    let is_looked_at = |path: &PathBuf| path == live || applications.contains(path);
    let not_proven = replicated.into_iter().filter(|path| !is_looked_at(path)).collect();

    let is_marked = suspect.as_ref().map_or(true, |suspect| suspect.databases.contains_key(live));
    let found = look_and_compare(config, &litestream, is_marked, &mut signals).await;
    let heartbeat = found.map(|found| {
        let mut report = HeartbeatReport {
            database: live.clone(),
            not_proven,
            not_replicated,
            litestream: version.clone(),
            max_lag: config.verify.max_lag,
            found,
            suspect: MarkOutcome::None,
        };
        report.suspect = mark(live, report.proven());
        report
    });
    let mut verified = Verified { heartbeat, applications: Vec::new() };
    if verified.heartbeat.as_ref().is_err_and(|trouble| trouble.cause == INTERRUPTED) {
        return Ok(verified);
    }
    // One after the other: there is one workplace, and room for one.
    for database in applications {
        let found =
            application::look_and_compare(config, &litestream, &database, &mut signals).await;
        let is_interrupted = found.as_ref().is_err_and(|trouble| trouble.cause == INTERRUPTED);
        let found = found.map(|found| {
            let mut report = application::ApplicationReport {
                database: database.clone(),
                litestream: version.clone(),
                found,
                suspect: MarkOutcome::None,
            };
            report.suspect = mark(&database, report.proven());
            report
        });
        verified.applications.push((database, found));
        if is_interrupted {
            break;
        }
    }
    Ok(verified)
}

/// Takes the mark of a suspect replica back, if there is one and it was proven whole.
fn take_back(
    file: &SuspectFile,
    seen: &io::Result<Suspect>,
    database: &Path,
    proven: Result<(), String>,
) -> MarkOutcome {
    match (seen, proven) {
        (Ok(suspect), _) if !suspect.databases.contains_key(database) => MarkOutcome::None,
        (Ok(suspect), Ok(())) => match file.clear(database, suspect) {
            Ok(()) => MarkOutcome::TakenBack,
            Err(e) => MarkOutcome::Stays(e.to_string()),
        },
        (Ok(_), Err(why)) => MarkOutcome::Stays(why),
        (Err(e), _) => MarkOutcome::Stays(e.to_string()),
    }
}

async fn look_and_compare(
    config: &Config,
    litestream: &LitestreamCli<'_>,
    is_marked: bool,
    signals: &mut Signals,
) -> Result<HeartbeatFound, Trouble> {
    let live = &config.heartbeat.database;
    let interval = config.heartbeat.interval;
    // The clocks and the newest row belong together: what is written during a long restore is not
    // late.
    let now = LagClocks {
        wall: clock::wall(),
        uptime: clock::boottime().since(Boottime::from_millis(0)),
    };
    let path = live.clone();
    let look = on_databases(signals, move |interrupts| database::look(&path, interrupts));
    let Some(before) = look.await? else { return Ok(HeartbeatFound::NoHeartbeat) };

    let workplace = Workplace::new(&config.state_directory, live)?;
    let first = match restore_and_read(config, litestream, &workplace, &before, signals).await {
        Ok(restored) => restored,
        Err(trouble) if trouble.cause == NO_REPLICA => {
            let path = live.clone();
            let waiting = on_databases(signals, move |interrupts| {
                database::all_waiting(&path, &before, interval, interrupts)
            })
            .await?;
            return Ok(HeartbeatFound::NoReplica { rows: waiting.rows(), lag: waiting.until(now) });
        }
        Err(trouble) => return Err(trouble),
    };
    let mut found = HeartbeatRestored::new(first, now);
    let mut newest = found.comparison.newest_live;
    let mut restores = 1;
    // Of a suspect replica it is asked whether the mark may go.
    while (found.is_in_doubt() || (is_marked && found.waits_for_newest()))
        && restores < MOST_RESTORES
    {
        restores += 1;
        tokio::select! {
            () = sleep(interval.max(LEAST_PAUSE)) => {}
            _ = signals.next() => return Err(Trouble::interrupted()),
        }
        workplace.empty()?;
        let next = restore_and_read(config, litestream, &workplace, &before, signals).await?;
        found = found.again(HeartbeatRestored::new(next, now), newest);
        if found.tables.are_unsure() {
            newest = found.comparison.newest_live;
        }
    }
    Ok(HeartbeatFound::Restored(Box::new(found)))
}

/// A restore, how long it took, its size, and what was read.
async fn restore_and_read(
    config: &Config,
    litestream: &LitestreamCli<'_>,
    workplace: &Workplace,
    before: &LiveBefore,
    signals: &mut Signals,
) -> Result<(Duration, u64, DatabasesRead), Trouble> {
    let live = config.heartbeat.database.clone();
    let interval = config.heartbeat.interval;
    let mut meter = Meter::start();
    let stall = config.verify.stall;
    restore(litestream, &live, workplace, stall, signals, &mut |progress| meter.show(progress))
        .await?;
    let took = meter.elapsed();
    drop(meter);
    let bytes = workplace.progress().bytes;
    let copy = workplace.file();
    let before = before.clone();
    let read = on_databases(signals, move |interrupts| {
        database::read(&live, &copy, &before, interval, interrupts)
    })
    .await?;
    Ok((took, bytes, read))
}
