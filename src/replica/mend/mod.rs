//! `edgerotate mend`: a new snapshot of a suspect replica, at the only moment at which it can be
//! made.
//!
//! A hole in a replica is mended by a forced snapshot, and that needs a stopped Litestream. The
//! daemon may not stop it: it has the right to restart it, or not even that. But at each start
//! Litestream is by nature stopped. So whatever starts it runs this first (`ExecStartPre=`), as
//! Litestream's user and with its environment. This asks the daemon whether a snapshot is wanted,
//! makes it, and tells what came of it. The daemon keeps the databases guarded meanwhile, and
//! decides how often it is tried. Whatever goes wrong here, Litestream starts all the same.

pub(crate) mod socket;

use std::{
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    core::{own_files, span::span},
    litestream::{
        answer, place,
        run::{Program, QUICK},
    },
    settings,
    system::directory::Directory,
};

/// As long as the daemon may take: it asks Litestream for its version first, and may be seeking a
/// guard just then.
const ANSWER_WITHIN: Duration = QUICK.saturating_add(Duration::from_secs(15));

/// A line of the two sides is not longer than this.
const LONGEST_LINE: u64 = 256 * 1024;

/// What all but the snapshot may take. With it, this ends within TimeoutStartSec= of Litestream's
/// unit (90 s): systemd would count a start that takes longer as failed.
const BESIDE_THE_SNAPSHOT: Duration = Duration::from_secs(20);

/// What the daemon answers: the databases whose replicas want a new snapshot, none if nothing is to
/// be done.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub databases: Vec<PathBuf>,
    /// So many want one, and it is too early for another try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<Later>,
    /// Why nothing is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    pub suspect: usize,
    pub seconds: u64,
}

impl fmt::Display for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = span(Duration::from_secs(self.seconds));
        write!(f, "{} suspect; the next snapshot may be tried in {wait}", self.suspect)
    }
}

/// What the daemon is told in the end.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendOutcome {
    /// Their replicas have a new snapshot.
    pub mended: Vec<PathBuf>,
    /// Their replicas begin with a new snapshot when Litestream runs (0.3).
    #[serde(default)]
    pub begun: Vec<PathBuf>,
    /// Litestream does not replicate these: no snapshot mends them.
    pub unlisted: Vec<PathBuf>,
    pub failed: Option<String>,
}

impl MendOutcome {
    pub fn failed(why: impl Into<String>) -> Self {
        Self { failed: Some(why.into()), ..Self::default() }
    }
}

/// Asks, and mends. `program` is edgerotate itself. Whether nothing failed.
///
/// # Errors
/// As the system gives them when the runtime can't be had.
pub fn run(config: &settings::MendSettings, program: &Path) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(ask_and_mend(config, program)))
}

async fn ask_and_mend(config: &settings::MendSettings, edgerotate: &Path) -> bool {
    let deadline = Instant::now() + config.snapshot_timeout + BESIDE_THE_SNAPSHOT;
    let socket = config.runtime_directory.join(own_files::MEND_SOCKET);
    let mut stream = match UnixStream::connect(&socket).await {
        Ok(stream) => stream,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            log::warn!(
                "{}: {e}; let Litestream's user into the directory (RuntimeDirectoryMode=0711)",
                socket.display()
            );
            return false;
        }
        // A daemon that does not run wants nothing.
        Err(e) => {
            log::debug!("{}: {e}", socket.display());
            return true;
        }
    };
    let wanted = match timeout(ANSWER_WITHIN, receive::<Wanted>(&mut stream)).await {
        Ok(Ok(wanted)) => wanted,
        Ok(Err(e)) => {
            log::warn!("edgerotate gave no answer: {e}");
            return false;
        }
        Err(_) => {
            log::warn!("edgerotate gave no answer within {} s", ANSWER_WITHIN.as_secs());
            return false;
        }
    };
    if let Some(why) = &wanted.refused {
        log::warn!("edgerotate refused to answer: {why}");
        return false;
    }
    if let Some(later) = &wanted.later {
        log::warn!("{later}");
    }
    if wanted.databases.is_empty() {
        return true;
    }
    let outcome = match timeout_at(deadline, mend(config, edgerotate, &wanted.databases)).await {
        Ok(outcome) => outcome.unwrap_or_else(MendOutcome::failed),
        Err(_) => MendOutcome::failed(format!(
            "it took longer than EDGEROTATE_SNAPSHOT_TIMEOUT and {} s",
            BESIDE_THE_SNAPSHOT.as_secs()
        )),
    };
    match &outcome.failed {
        Some(why) => log::warn!("no new snapshot: {why}"),
        None if outcome.mended.is_empty() && outcome.begun.is_empty() => log::warn!(
            "no new snapshot: {} names none of the suspect databases by its path",
            config.configuration.display()
        ),
        None if outcome.begun.is_empty() => {
            log::info!("a new snapshot was made of {} suspect databases", outcome.mended.len());
        }
        None => log::info!("{} suspect databases begin anew", outcome.begun.len()),
    }
    if let Err(e) = send(&mut stream, &outcome).await {
        log::warn!("edgerotate could not be told: {e}");
    }
    outcome.failed.is_none()
}

async fn mend(
    config: &settings::MendSettings,
    edgerotate: &Path,
    wanted: &[PathBuf],
) -> Result<MendOutcome, String> {
    // It ends with this process: two Litestreams on one database must not be.
    let litestream = Program::in_its_unit(edgerotate, &config.program);
    let version = litestream.version(&[]).await.map_err(|e| not_run(&litestream, &e))?;
    if version.starts_with("0.5.5") {
        return Err("Litestream 0.5.5 can't make one: install 0.5.9 or later".to_owned());
    }
    let listed = databases(&litestream, &config.configuration).await?;
    let (mended, unlisted): (Vec<_>, Vec<_>) =
        wanted.iter().cloned().partition(|path| listed.contains(path));
    if version.starts_with("0.3.") {
        for database in &mended {
            begin_anew(database)?;
        }
        return Ok(MendOutcome { begun: mended, unlisted, ..MendOutcome::default() });
    }
    if !mended.is_empty() {
        force_snapshot(&litestream, &config.configuration, config.snapshot_timeout).await?;
    }
    Ok(MendOutcome { mended, unlisted, ..MendOutcome::default() })
}

/// Litestream 0.3 has no forced snapshot. Without its note of the generation it begins a new one,
/// with a snapshot.
fn begin_anew(database: &Path) -> Result<(), String> {
    let notes = notes_of_litestream(database);
    // As root this may stand beside a hostile user: what is a link, or becomes one, is not
    // followed.
    let remove = || -> io::Result<()> {
        let directory = Directory::open(database.parent().unwrap_or(Path::new("/")))?;
        let name = notes.file_name().unwrap_or_default();
        if directory.look(name)?.is_none() {
            return Ok(());
        }
        directory.open_below(name)?.remove_file(OsStr::new("generation"))
    };
    remove().map_err(|e| format!("{}: {e}", notes.join("generation").display()))
}

/// The directory in which Litestream keeps its notes.
fn notes_of_litestream(database: &Path) -> PathBuf {
    place::directory(database)
}

async fn force_snapshot(
    litestream: &Program<'_>,
    configuration: &Path,
    limit: Duration,
) -> Result<(), String> {
    let mut command = litestream.command(&[]);
    command.args(["replicate", "-once", "-force-snapshot", "-config"]).arg(configuration);
    // Dropped at the limit, it is killed.
    match timeout(limit, command.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!(
            "litestream replicate -once -force-snapshot failed ({status}); its own words are in \
             the log of Litestream's \
             unit"
        )),
        Ok(Err(e)) => Err(not_run(litestream, &e)),
        Err(_) => Err(format!(
            "litestream replicate -once -force-snapshot took more than {} s \
             (EDGEROTATE_SNAPSHOT_TIMEOUT)",
            limit.as_secs()
        )),
    }
}

/// The databases that litestream.yml names.
async fn databases(litestream: &Program<'_>, configuration: &Path) -> Result<Vec<PathBuf>, String> {
    let arguments = [OsStr::new("databases"), OsStr::new("-config"), configuration.as_os_str()];
    let answer = litestream.ask(&arguments, &[]).await.map_err(|e| not_run(litestream, &e))?;
    if !answer.status.success() {
        return Err(format!("litestream databases failed ({})", answer.status));
    }
    Ok(answer::databases(&answer.stdout))
}

fn not_run(litestream: &Program<'_>, e: &io::Error) -> String {
    format!("{}: {e}; look at EDGEROTATE_LITESTREAM", litestream.file.display())
}

/// One line of JSON.
///
/// # Errors
/// As the system gives them.
pub async fn send(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// The other side's line.
///
/// # Errors
/// As the system gives them; the other side has gone, or says what is not understood.
pub async fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_line(&mut line).await?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
    }
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_litestream_keeps_its_notes() {
        let notes = notes_of_litestream(Path::new("/data/app/orders.db"));
        assert_eq!(notes, Path::new("/data/app/.orders.db-litestream"));
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_up_is_said_as_it_is() {
        let (mut asker, daemon) = UnixStream::pair().unwrap();
        drop(daemon);
        let e = receive::<Wanted>(&mut asker).await.unwrap_err();
        assert_eq!(e.to_string(), "the connection was closed");
    }

    #[test]
    fn tells_when_the_next_try_may_be() {
        let later = Later { suspect: 2, seconds: 540 };
        assert_eq!(later.to_string(), "2 suspect; the next snapshot may be tried in 9 min");
    }
}
