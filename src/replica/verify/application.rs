//! An application's database: restored and compared as the heartbeat's is, but with no heartbeats
//! to tell the time by.
//!
//! So it is asked for what was there before the first restore began, and a row that looks lost is
//! looked for again. What settles it is a row in the replica that is newer than the doubt: then all
//! that is older must be there as well. Where no such row comes, the last restore must do for rows
//! that are missing between others; but a row that only differs may as well wait for its upload,
//! and is told as that.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    database::{self, RowsRead},
    meter::Meter,
    repeat::{LEAST_PAUSE, MOST_RESTORES, RestoreFigures, on_databases},
    report::{MarkOutcome, NOT_WHOLE},
    tables::{Newest, Table, Tables},
    workplace::Workplace,
};
use crate::{
    litestream::run::LitestreamCli,
    problems::{
        exit_code::{AWAY, DATA},
        trouble::Trouble,
    },
    replica::verify::restore::restore,
    settings::Config,
    system::signals::Signals,
};

/// Here nothing waits for a heartbeat.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What was found of one application's database.
#[derive(Clone, Debug)]
pub struct ApplicationReport {
    pub database: PathBuf,
    pub litestream: String,
    pub found: ApplicationFound,
    pub suspect: MarkOutcome,
}

#[derive(Clone, Debug)]
pub enum ApplicationFound {
    NoDatabase,
    Restored(Box<ApplicationRestored>),
}

#[derive(Clone, Debug)]
pub struct ApplicationRestored {
    pub restore: RestoreFigures,
    pub integrity: String,
    /// With what is in doubt of them after the last restore.
    pub tables: Tables,
    /// The newest rows before the first restore.
    pub then: Newest,
    /// Whether the replica has a row that is newer than the doubt.
    pub has_moved_on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationVerdict {
    Whole,
    RowsMissing,
    Damaged,
    TooEarly,
}

impl ApplicationVerdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::RowsMissing => "rows-missing",
            Self::Damaged => "damaged",
            Self::TooEarly => "too-early",
        }
    }

    pub fn exit_code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::RowsMissing | Self::Damaged => DATA,
            Self::TooEarly => AWAY,
        }
    }
}

impl ApplicationReport {
    pub fn verdict(&self) -> ApplicationVerdict {
        match &self.found {
            ApplicationFound::NoDatabase => ApplicationVerdict::TooEarly,
            ApplicationFound::Restored(restored) => restored.verdict(),
        }
    }

    /// Whether every table was compared, and nothing is missing; why not.
    pub fn proven(&self) -> Result<(), String> {
        match &self.found {
            ApplicationFound::Restored(restored)
                if restored.verdict() == ApplicationVerdict::Whole =>
            {
                restored.tables.unproven().map_or(Ok(()), Err)
            }
            _ => Err(NOT_WHOLE.to_owned()),
        }
    }
}

impl ApplicationRestored {
    fn is_behind(&self) -> bool {
        self.tables.behind(&self.then).next().is_some()
    }

    /// What must be there by now is not.
    fn is_lost(&self) -> bool {
        self.has_moved_on && (self.is_behind() || self.tables.lack_something())
    }

    fn is_settled(&self) -> bool {
        self.integrity != "ok" || self.is_lost() || !(self.is_behind() || self.tables.is_in_doubt())
    }

    pub fn verdict(&self) -> ApplicationVerdict {
        let is_missing = |table: &Table| !table.missing.is_empty() && !table.is_unsure;
        if self.integrity != "ok" {
            ApplicationVerdict::Damaged
        } else if !self.is_behind() && !self.tables.is_in_doubt() {
            ApplicationVerdict::Whole
        } else if self.is_lost()
            || (!self.is_behind() && self.tables.compared.iter().any(is_missing))
        {
            ApplicationVerdict::RowsMissing
        } else {
            ApplicationVerdict::TooEarly
        }
    }
}

/// Restores and compares until there is no doubt left, or for as long as it is worth it.
///
/// # Errors
/// Nothing could be compared, and why.
pub async fn look_and_compare(
    config: &Config,
    litestream: &LitestreamCli<'_>,
    live: &Path,
    signals: &mut Signals,
) -> Result<ApplicationFound, Trouble> {
    let path = live.to_owned();
    let look = on_databases(signals, move |interrupts| database::look_at_rows(&path, interrupts));
    let Some(then) = look.await? else { return Ok(ApplicationFound::NoDatabase) };
    let workplace = Workplace::new(&config.state_directory, live)?;
    let (restore, read) =
        restore_and_read(litestream, live, &workplace, config.verify.stall, signals).await?;
    let mut doubt = read.tables.clone();
    let mut found = ApplicationRestored {
        restore,
        integrity: read.integrity,
        tables: read.tables,
        then,
        has_moved_on: false,
    };
    let mut restores = 1;
    while !found.is_settled() && restores < MOST_RESTORES {
        restores += 1;
        tokio::select! {
            () = sleep(config.heartbeat.interval.clamp(LEAST_PAUSE, LONGEST_PAUSE)) => {}
            _ = signals.next() => return Err(Trouble::interrupted()),
        }
        workplace.empty()?;
        let (restore, read) =
            restore_and_read(litestream, live, &workplace, config.verify.stall, signals).await?;
        found = ApplicationRestored {
            restore,
            integrity: read.integrity,
            has_moved_on: read.tables.has_moved_on(&doubt),
            tables: read.tables.clone().still_in_doubt(&doubt),
            then: found.then,
        };
        if found.tables.are_unsure() {
            doubt = read.tables;
        }
    }
    Ok(ApplicationFound::Restored(Box::new(found)))
}

async fn restore_and_read(
    litestream: &LitestreamCli<'_>,
    live: &Path,
    workplace: &Workplace,
    stall: Duration,
    signals: &mut Signals,
) -> Result<(RestoreFigures, RowsRead), Trouble> {
    let mut meter = Meter::start();
    restore(litestream, live, workplace, stall, signals, &mut |progress| meter.show(progress))
        .await?;
    let restore = RestoreFigures { took: meter.elapsed(), bytes: workplace.progress().bytes };
    drop(meter);
    let (live, copy) = (live.to_owned(), workplace.file());
    let read =
        on_databases(signals, move |interrupts| database::read_rows(&live, &copy, interrupts));
    Ok((restore, read.await?))
}
