//! `edgerotate verify`: is what is in S3 what is on the device?
//!
//! The only proof is a restore. So the real Litestream restores the replica, with the credentials it always has, and the
//! heartbeat's ids in it are compared with the live ones. The order matters: restored first, read afterwards, so that a
//! row that is in neither later state can't look like a loss. What "missing", "newer" and "behind" mean is in
//! `comparison` and `lag`; this file does one step after the other and tidies up, however it ends.

mod answer;
mod comparison;
mod database;
mod json;
mod lag;
mod meter;
pub(crate) mod process;
mod report;
pub mod signals;
mod tables;
pub mod tied;
pub(crate) mod trouble;
mod workplace;

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

pub use self::answer::databases as databases_in;
use self::{
    database::{Before, Interrupts, Read},
    lag::Now,
    meter::Meter,
    process::Litestream,
    report::{Found, Mark, Report, Restored},
    signals::Signals,
    trouble::{DEVICE, NO_REPLICA, Trouble},
    workplace::Workplace,
};
use crate::{clock, config::Config, suspect::SuspectFile};

/// A doubt about another table is looked into so often, in all.
const MOST_RESTORES: u32 = 4;

/// Between two restores, Litestream gets at least this long to upload.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// Restores, compares, and writes what came of it; answers with the exit code. `program` is edgerotate itself.
///
/// # Errors
/// The answer could not be written.
pub fn run(config: &Config, program: &Path, as_json: bool, out: &mut dyn Write) -> io::Result<u8> {
    let verified = prepare().and_then(|runtime| runtime.block_on(verify(config, program)));
    let database = &config.heartbeat.database;
    let (text, json, exit_code) = match &verified {
        Ok(report) => (report.text(), report.json(), report.verdict().exit_code()),
        Err(trouble) => {
            let text = format!(
                "cannot tell: {}\n  {:<13} {}\n  {:<13} {}\n",
                trouble.what,
                "database",
                database.display(),
                "what to do",
                trouble.remedy
            );
            (text, json::of_trouble(database, trouble), trouble.exit_code)
        }
    };
    if as_json { writeln!(out, "{json:#}") } else { out.write_all(text.as_bytes()) }?;
    out.flush()?;
    Ok(exit_code)
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

async fn verify(config: &Config, program: &Path) -> Result<Report, Trouble> {
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
    let litestream = Litestream::new(program, &config.litestream, config.verify.stall);
    let version = litestream.version(&mut signals).await?;
    let mut not_proven = litestream.databases(&mut signals).await?;
    let guarded = config.guard.databases.iter().filter(|path| *path != live);
    let not_replicated =
        guarded.filter(|path| !not_proven.contains(path)).cloned().collect::<Vec<_>>();
    not_proven.retain(|path| path != live);
    let found = look_and_compare(config, &litestream, &mut signals).await?;
    let mut report = Report {
        database: live.clone(),
        not_proven,
        not_replicated,
        litestream: version,
        max_lag: config.verify.max_lag,
        found,
        suspect: Mark::None,
    };
    report.suspect = match suspect {
        Ok(suspect) if !suspect.databases.contains_key(live) => Mark::None,
        Ok(suspect) if report.proves_all() => match suspect_file.clear(live, &suspect) {
            Ok(()) => Mark::TakenBack,
            Err(e) => Mark::Stays(e.to_string()),
        },
        Ok(_) => Mark::Stays("not all of the database was found whole".to_owned()),
        Err(e) => Mark::Stays(e.to_string()),
    };
    Ok(report)
}

async fn look_and_compare(
    config: &Config,
    litestream: &Litestream<'_>,
    signals: &mut Signals,
) -> Result<Found, Trouble> {
    let live = &config.heartbeat.database;
    let interval = config.heartbeat.interval;
    // The clocks and the newest row belong together: what is written during a long restore is not late.
    let now = Now {
        wall: clock::wall(),
        uptime: clock::boottime().since(clock::Boottime::from_millis(0)),
    };
    let path = live.clone();
    let look = on_databases(signals, move |interrupts| database::look(&path, interrupts));
    let Some(before) = look.await? else { return Ok(Found::NoHeartbeat) };

    let workplace = Workplace::new(&config.state_directory, live)?;
    let first = match restore_and_read(config, litestream, &workplace, before, signals).await {
        Ok(restored) => restored,
        Err(trouble) if trouble.cause == NO_REPLICA => {
            let path = live.clone();
            let waiting = on_databases(signals, move |interrupts| {
                database::all_waiting(&path, before, interval, interrupts)
            })
            .await?;
            return Ok(Found::NoReplica { rows: waiting.rows(), lag: waiting.until(now) });
        }
        Err(trouble) => return Err(trouble),
    };
    let mut found = Restored::new(first, now);
    let newest = found.comparison.newest_live;
    let mut restores = 1;
    while found.is_in_doubt() && restores < MOST_RESTORES {
        restores += 1;
        tokio::select! {
            () = sleep(interval.max(LEAST_PAUSE)) => {}
            () = signals.next() => return Err(Trouble::interrupted()),
        }
        workplace.empty()?;
        let next = restore_and_read(config, litestream, &workplace, before, signals).await?;
        found = found.again(Restored::new(next, now), newest);
    }
    Ok(Found::Restored(Box::new(found)))
}

/// A restore, how long it took, its size, and what was read.
async fn restore_and_read(
    config: &Config,
    litestream: &Litestream<'_>,
    workplace: &Workplace,
    before: Before,
    signals: &mut Signals,
) -> Result<(Duration, u64, Read), Trouble> {
    let live = config.heartbeat.database.clone();
    let interval = config.heartbeat.interval;
    let mut meter = Meter::start();
    litestream.restore(&live, workplace, signals, &mut |progress| meter.show(progress)).await?;
    let took = meter.elapsed();
    drop(meter);
    let bytes = workplace.progress().bytes;
    let copy = workplace.file();
    let read = on_databases(signals, move |interrupts| {
        database::read(&live, &copy, before, interval, interrupts)
    })
    .await?;
    Ok((took, bytes, read))
}

/// Lets SQLite work where it may wait, and ends it when a signal comes.
async fn on_databases<T: Send + 'static>(
    signals: &mut Signals,
    work: impl FnOnce(&Interrupts) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let interrupts = Arc::new(Interrupts::default());
    let mut task = spawn_blocking({
        let interrupts = Arc::clone(&interrupts);
        move || work(&interrupts)
    });
    let ended = tokio::select! {
        ended = &mut task => ended,
        () = signals.next() => {
            interrupts.interrupt();
            let _ = task.await;
            return Err(Trouble::interrupted());
        }
    };
    ended.unwrap_or_else(|e| {
        Err(Trouble {
            cause: "device",
            exit_code: DEVICE,
            what: e.to_string(),
            remedy: "report it",
        })
    })
}
