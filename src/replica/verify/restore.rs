//! A restore by Litestream's program, watched: ended where it gets nowhere, or where the room is
//! gone.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};
use zeroize::Zeroizing;

use super::workplace::{Progress, Workplace};
use crate::{
    litestream::run::{LitestreamCli, Run, credentials},
    problems::trouble::{CREDENTIALS_EXPIRED, Trouble},
    system::signals::Signals,
};

/// How often a restore is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How often a restore is begun again because files vanished under it.
const AGAIN: u32 = 4;

/// Restores the newest state of `database` into the workplace; `watch` is told how far it is. It is
/// ended where nothing has happened for `stall`.
///
/// A long restore can outlive its credentials. Where there are newer ones by then, it is begun
/// again, once. And Litestream's retention may delete a file that the restore has listed and not
/// read yet: what it was compacted into is in the next list.
///
/// # Errors
/// What Litestream said, or that it got nowhere and was ended.
pub async fn restore(
    litestream: &LitestreamCli<'_>,
    database: &Path,
    workplace: &Workplace,
    stall: Duration,
    signals: &mut Signals,
    watch: &mut dyn FnMut(&Progress),
) -> Result<(), Trouble> {
    let mut restore = Restore { litestream, database, workplace, stall, signals, watch };
    let first = credentials(litestream.environment_file)?;
    let mut restored = restore.with(&first).await;
    for _ in 0..AGAIN {
        if !restored.as_ref().is_err_and(Trouble::is_of_a_vanished_file) {
            break;
        }
        log::debug!("files of the replica vanished under the restore; it begins again");
        workplace.empty()?;
        restored = restore.with(&first).await;
    }
    if let Err(trouble) = restored {
        restored = Err(trouble.if_vanished());
    }
    if !restored.as_ref().is_err_and(|trouble| trouble.cause == CREDENTIALS_EXPIRED) {
        return restored;
    }
    let newer = credentials(litestream.environment_file)?;
    if newer == first {
        return restored;
    }
    workplace.empty()?;
    restore.with(&newer).await
}

struct Restore<'a> {
    litestream: &'a LitestreamCli<'a>,
    database: &'a Path,
    workplace: &'a Workplace,
    stall: Duration,
    signals: &'a mut Signals,
    watch: &'a mut dyn FnMut(&Progress),
}

impl Restore<'_> {
    async fn with(&mut self, credentials: &[(String, Zeroizing<String>)]) -> Result<(), Trouble> {
        let file = self.workplace.file();
        let mut command = self.litestream.program.command(credentials);
        command.args(["restore", "-config"]).arg(self.litestream.configuration);
        command.arg("-o").arg(&file).arg(self.database);
        let mut run =
            Run::start(command).map_err(|e| Trouble::not_run(self.litestream.program.file, &e))?;

        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = self.workplace.progress();
        let mut since = Instant::now();
        let answer = loop {
            let trouble = tokio::select! {
                answer = run.end() => break answer,
                _ = self.signals.next() => Trouble::interrupted(),
                _ = looks.tick() => {
                    let now = self.workplace.progress();
                    (self.watch)(&now);
                    if now != progress {
                        (progress, since) = (now, Instant::now());
                    }
                    match self.workplace.still_has_room() {
                        Err(trouble) => trouble,
                        Ok(()) if since.elapsed() > self.stall => {
                            Trouble::stalled(self.stall.as_secs(), progress.bytes)
                        }
                        Ok(()) => continue,
                    }
                }
            };
            run.kill().await;
            return Err(trouble);
        };
        let answer = self.litestream.started(answer)?;
        if answer.status.success() && file.exists() {
            return Ok(());
        }
        Err(answer.without(credentials).trouble())
    }
}
