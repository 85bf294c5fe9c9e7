//! `edgerotate credential-process`: the credentials for a program whose AWS profile names this
//! command.
//!
//! The daemon's, where there is a daemon. Where there is none, the provider is asked, in a child as
//! always, and the answer kept in memory: SDKs run this at each of their starts, and not each of
//! them shall make the token sign.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    core::{
        credentials::Credentials,
        lifetime::{self, Lifetime},
        rotation::{Held, Resumed},
    },
    fetch::{parent::Launcher, protocol::FetchReply},
    outlets::state_file::{State, StateFile},
    problems::{
        exit_code,
        failure::{Cause, Failure},
    },
    settings::{ClientSettings, Config},
    system::{clock, instance},
};

mod kept;

use self::kept::Cache;

/// An SDK asks again only when what it has is said to have expired: so it is said to expire
/// earlier, by this or a tenth of its life.
const MARGIN: Duration = Duration::from_secs(60);

/// What has no more than this left is not given out. An SDK is told a time that is not over, in
/// whole seconds; so it would be told one after the expiry, and sign with expired credentials.
const SHORTEST: Duration = Duration::from_secs(2);

/// Why there are no credentials. Each is one line, with what to do.
#[derive(Debug)]
pub enum NoCredentials {
    Fetch(Failure),
    /// There are none now: a daemon runs and seeks some, or has to be started.
    Later(String),
    NotPermitted(String),
    NotWritten(io::Error),
}

impl NoCredentials {
    /// After sysexits, as everywhere.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Fetch(failure) => failure.exit_code(),
            Self::Later(_) => exit_code::AWAY,
            Self::NotPermitted(_) => exit_code::NOT_PERMITTED,
            Self::NotWritten(_) => exit_code::NOT_WRITTEN,
        }
    }
}

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(failure) => write!(f, "{failure} [{}]", failure.cause),
            Self::Later(what) | Self::NotPermitted(what) => f.write_str(what),
            Self::NotWritten(e) => e.fmt(f),
        }
    }
}

/// Prints what the daemon has on `out`, and nothing else. False where there is no daemon, and the
/// provider is to be asked.
///
/// # Errors
/// See [`NoCredentials`].
pub fn print_of_daemon(
    client: &ClientSettings,
    out: &mut dyn Write,
) -> Result<bool, NoCredentials> {
    let boot_id = clock::boot_id().map_err(NoCredentials::NotWritten)?;
    match of_daemon(client, &boot_id)? {
        Some(state) => print_state(&state, out).map(|()| true),
        None => Ok(false),
    }
}

/// Prints what the provider gives on `out`, and nothing else.
///
/// # Errors
/// See [`NoCredentials`].
pub async fn print_of_provider(
    config: &Config,
    program: PathBuf,
    out: &mut dyn Write,
) -> Result<(), NoCredentials> {
    let boot_id = clock::boot_id().map_err(NoCredentials::NotWritten)?;
    print_state(&of_provider(config, program, &boot_id).await?, out)
}

fn print_state(state: &State, out: &mut dyn Write) -> Result<(), NoCredentials> {
    let held = state.resumed().held;
    let (now, left) = (clock::wall(), held.expires.since(clock::boottime()));
    print(&state.credentials, told_expiration(now, left, held.lifetime), out)
        .map_err(NoCredentials::NotWritten)
}

/// What the daemon has; none where no daemon runs.
fn of_daemon(client: &ClientSettings, boot_id: &str) -> Result<Option<State>, NoCredentials> {
    let clients = client.client_directory.as_deref().map(StateFile::for_clients);
    let own = StateFile::in_directory(&client.runtime_directory);
    for file in clients.iter().chain([&own]) {
        let state = file.load(boot_id).unwrap_or_else(|e| {
            log::debug!("{e}");
            None
        });
        if let Some(state) = state.filter(|state| is_good(state, SHORTEST)) {
            return Ok(Some(state));
        }
    }
    let daemon = instance::holder(&client.runtime_directory, None);
    // A user in the clients' group is served by the daemon alone.
    let may_ask = !is_denied(&own.path) && (clients.is_none() || client.reads_all);
    if let (Ok(None), true) = (&daemon, may_ask) {
        return Ok(None);
    }
    // Whoever may look into the client directory has seen that there is nothing.
    let looked_at = clients.unwrap_or(own).path;
    if is_denied(&looked_at) {
        return Err(NoCredentials::NotPermitted(format!(
            "{}: permission denied; run it as edgerotate's user, or set \
             EDGEROTATE_CLIENT_DIRECTORY and be in that \
             directory's group",
            looked_at.display()
        )));
    }
    let what = match daemon {
        Ok(None) => "edgerotate does not run: systemctl start edgerotate".to_owned(),
        Ok(Some(_)) => {
            "edgerotate's daemon has no valid credentials now and tries to get some; its log says \
             why (journalctl -u \
             edgerotate)"
                .to_owned()
        }
        Err(e) => format!(
            "there are no valid credentials now, and whether edgerotate runs can't be seen ({}: \
             {e}): systemctl status \
             edgerotate",
            client.runtime_directory.display()
        ),
    };
    Err(NoCredentials::Later(what))
}

fn is_denied(path: &Path) -> bool {
    fs::File::open(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

/// What the provider gives, or gave lately.
async fn of_provider(
    config: &Config,
    program: PathBuf,
    boot_id: &str,
) -> Result<State, NoCredentials> {
    // Held to the end: whoever comes meanwhile finds what this one was given.
    let kept = Cache::open(config);
    let known = kept.as_ref().and_then(|kept| kept.load(boot_id));
    let is_fresh = known.as_ref().is_some_and(|known| {
        let margin = margin(known.resumed().held.lifetime);
        is_good(known, margin + Duration::from_secs(1))
    });
    if let (Some(known), true) = (&known, is_fresh) {
        return Ok(known.clone());
    }
    match fetch(config, program, boot_id).await {
        Ok(state) => {
            if let Some(kept) = &kept {
                kept.save(&state);
            }
            Ok(state)
        }
        Err(failure) => match known.filter(|known| is_good(known, SHORTEST)) {
            Some(known) => {
                log::warn!("{failure} [{}]; the credentials at hand are still good", failure.cause);
                Ok(known)
            }
            None => Err(NoCredentials::Fetch(failure)),
        },
    }
}

async fn fetch(config: &Config, program: PathBuf, boot_id: &str) -> Result<State, Failure> {
    let begun = clock::boottime();
    let launcher = Launcher::new(program, config);
    let (credentials, date) = match launcher.fetch(&config.provider, |_| {}).await {
        FetchReply::Credentials { credentials, date } => (credentials, date),
        FetchReply::Failed { failure, .. } => return Err(failure),
    };
    let date = date.as_deref().and_then(lifetime::parse_date);
    let lifetime = lifetime::lifetime(credentials.expiration, date, clock::wall(), clock::EARLIEST);
    let Some(Lifetime { duration, .. }) = lifetime else {
        let expired = format!("expiration {}", credentials.expiration.to_rfc3339());
        return Err(Failure::new(Cause::AlreadyExpired, expired));
    };
    let held = Held { expires: begun + duration, lifetime: duration };
    let resumed = Resumed { held, handed_over: false };
    Ok(State::new(boot_id.to_owned(), credentials, resumed))
}

/// Whether they are good for longer than this.
fn is_good(state: &State, longer_than: Duration) -> bool {
    state.resumed().held.expires.since(clock::boottime()) > longer_than
}

fn margin(lifetime: Duration) -> Duration {
    MARGIN.min(lifetime / 10)
}

/// Early enough for the SDK to ask again in time, by the device's clock; but never past, which an
/// SDK refuses.
fn told_expiration(now: DateTime<Utc>, left: Duration, lifetime: Duration) -> DateTime<Utc> {
    let early = (now + left.saturating_sub(margin(lifetime))).trunc_subsecs(0);
    // Rounded up: what is told has whole seconds.
    early.max((now + TimeDelta::milliseconds(1999)).trunc_subsecs(0))
}

/// What every SDK reads (SDKs and Tools Reference Guide, "Process credential provider").
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Printed<'a> {
    version: u8,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: String,
}

fn print(
    credentials: &Credentials,
    expiration: DateTime<Utc>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let printed = Printed {
        version: 1,
        access_key_id: &credentials.access_key_id,
        secret_access_key: credentials.secret_access_key.expose(),
        session_token: credentials.session_token.expose(),
        expiration: expiration.to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    // Allocated once: a buffer that grows leaves copies of the secrets behind.
    let mut text = Zeroizing::new(Vec::with_capacity(1024 + printed.session_token.len()));
    serde_json::to_writer(&mut *text, &printed)?;
    text.push(b'\n');
    out.write_all(&text)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_early_by_a_minute_or_a_tenth_and_never_past() {
        let told = |now: &str, left, lifetime| {
            let [left, lifetime] = [left, lifetime].map(Duration::from_secs);
            let expiration = told_expiration(now.parse().unwrap(), left, lifetime);
            expiration.to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        assert_eq!(told("2026-01-01T00:00:00Z", 3600, 3600), "2026-01-01T00:59:00Z");
        assert_eq!(told("2026-01-01T00:00:00Z", 600, 900), "2026-01-01T00:09:00Z");
        assert_eq!(told("2026-01-01T00:00:00.9Z", 20, 20), "2026-01-01T00:00:18Z");
        assert_eq!(told("2026-01-01T00:00:00Z", 60, 3600), "2026-01-01T00:00:01Z");
        assert_eq!(told("2026-01-01T00:00:00.5Z", 1, 3600), "2026-01-01T00:00:02Z");
    }

    #[test]
    fn nobody_is_told_a_time_after_the_expiry() {
        let begin: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        for moment in (0..1000).map(TimeDelta::milliseconds) {
            for left in (0..200).map(|tenths| SHORTEST + tenths * Duration::from_millis(100)) {
                for lifetime in [8, 20, 900, 3600].map(Duration::from_secs) {
                    let now = begin + moment;
                    let told = told_expiration(now, left, lifetime);
                    assert!(now < told && told <= now + left, "{told}");
                }
            }
        }
    }
}
