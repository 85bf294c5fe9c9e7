//! `edgerotate fetch`: what a person sees of a fetch.

use std::io::{self, Write};

use chrono::SecondsFormat;
use tokio::time::Instant;

use crate::{
    core::{
        credentials::Credentials,
        lifetime::{self, KnownBy, Lifetime, Skew},
    },
    fetch::{parent::Launcher, protocol::FetchReply},
    problems::failure::Failure,
    settings::Provider,
    system::clock,
};

/// `edgerotate fetch` for a person: one fetch, supervised as the daemon's, and a summary without
/// secrets.
///
/// # Errors
/// The failure of the fetch, or of the writing.
pub async fn by_hand(
    provider: &Provider,
    launcher: &Launcher,
    out: &mut dyn Write,
) -> Result<(), ByHandError> {
    let started = Instant::now();
    let on_unreapable = |id| {
        log::warn!("the fetch (process {id}) does not die: its PKCS#11 module hangs in the kernel")
    };
    let reply = launcher.fetch(provider, on_unreapable).await;
    let (credentials, date) = match reply {
        FetchReply::Credentials { credentials, date } => (credentials, date),
        FetchReply::Failed { failure, .. } => return Err(ByHandError::Fetch(failure)),
    };
    let write = |out: &mut dyn Write| -> io::Result<()> {
        let thing = provider.thing_name.as_deref().unwrap_or("none");
        writeln!(out, "endpoint       {}:{}", provider.host, provider.port)?;
        writeln!(out, "role alias     {}", provider.role_alias)?;
        writeln!(out, "thing name     {thing}")?;
        writeln!(out, "access key id  {}", credentials.access_key_id)?;
        writeln!(out, "good for       {}", good_for(&credentials, date.as_deref()))?;
        writeln!(out, "took           {:.2} s", started.elapsed().as_secs_f32())?;
        writeln!(out, "clock          {}", skew(date.as_deref()))
    };
    write(out).map_err(ByHandError::Write)
}

/// How long the credentials live, reckoned as the daemon does: not with this device's clock.
fn good_for(credentials: &Credentials, date: Option<&str>) -> String {
    let until = credentials.expiration.to_rfc3339_opts(SecondsFormat::Secs, true);
    let date = date.and_then(lifetime::parse_date);
    match lifetime::lifetime(credentials.expiration, date, clock::wall(), clock::EARLIEST) {
        Some(Lifetime { duration, known_by: KnownBy::Assumption }) => {
            format!("{} s at least, until {until}", duration.as_secs())
        }
        Some(Lifetime { duration, .. }) => format!("{} s, until {until}", duration.as_secs()),
        None => format!("nothing: they expired at {until}, before they came"),
    }
}

/// Why `edgerotate fetch` failed.
#[derive(Debug)]
pub enum ByHandError {
    Fetch(Failure),
    Write(io::Error),
}

/// What this device's clock says, against the provider's. The header has whole seconds and was
/// written some time ago.
fn skew(date: Option<&str>) -> String {
    let Some(date) = date.and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok()) else {
        return "the answer has no Date to compare with".to_owned();
    };
    let seconds = (clock::wall() - date.to_utc()).num_seconds();
    match seconds {
        -2..=2 => "agrees with the provider's".to_owned(),
        3.. => format!("{seconds} s ahead of the provider's{}", consequence(seconds)),
        _ => format!("{} s behind the provider's{}", -seconds, consequence(seconds)),
    }
}

fn consequence(seconds: i64) -> &'static str {
    match lifetime::skew(seconds) {
        Skew::None | Skew::Off => "; S3 refuses uploads from 15 min on",
        Skew::TooMuch => {
            "; S3 refuses what Litestream signs with it: look at the time synchronisation"
        }
    }
}
