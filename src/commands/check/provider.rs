//! The network's part of a fetch, step by step, and the clock.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    cause,
    report::{Found, Line},
    step::Step,
    token,
};
use crate::{
    core::{
        credentials::Credentials,
        lifetime::{self, Skew, skew},
    },
    fetch::protocol::FetchReply,
    problems::{failure::Failure, finding::Finding},
    settings::Provider,
    system::clock,
};

const STEPS: [Step; 3] = [Step::Endpoint, Step::Tls, Step::RoleAlias];

/// What is known of the provider: asked now, or by the daemon.
pub struct Asked {
    pub result: Result<String, Failure>,
    /// How far this device's clock is ahead of the provider's.
    pub ahead_s: Option<i64>,
    /// It was asked, whatever came of it: an answer without a Date is one more thing to say.
    pub answered: bool,
}

impl Asked {
    pub fn of(reply: FetchReply, now: DateTime<Utc>) -> Self {
        let (result, date) = match reply {
            FetchReply::Credentials { credentials, date } => {
                let words = good_for(&credentials, date.as_deref());
                (Ok(words), date)
            }
            FetchReply::Failed { failure, date } => (Err(failure), date),
        };
        let answered = result.is_ok();
        let date = date.and_then(|date| lifetime::parse_date(&date));
        Self { result, ahead_s: date.map(|date| (now - date).num_seconds()), answered }
    }
}

fn good_for(credentials: &Credentials, date: Option<&str>) -> String {
    let date = date.and_then(lifetime::parse_date);
    let until = credentials.expiration.to_rfc3339_opts(SecondsFormat::Secs, true);
    match lifetime::lifetime(credentials.expiration, date, clock::wall(), clock::EARLIEST) {
        Some(lifetime) => format!("credentials for {} s came", lifetime.duration.as_secs()),
        None => format!("credentials came that expired at {until}"),
    }
}

/// The lines, where it was asked.
pub fn lines(provider: &Provider, asked: &Asked) -> Vec<Line> {
    let at = asked.result.as_ref().err().map(|failure| cause::step(failure.cause, provider));
    let Provider { host, port, role_alias, .. } = provider;
    let trusted = match &provider.ca_file {
        Some(path) => path.display().to_string(),
        None => "the system's authorities".to_owned(),
    };
    let came = asked.result.as_deref().unwrap_or_default();
    let mut lines: Vec<Line> = STEPS
        .into_iter()
        .map(|step| match (step, at, &asked.result) {
            (step, Some(at), Err(failure)) if step == at => token::line(failure, provider),
            (step, Some(at), _) if step > at => Line::not_reached(step, at),
            (Step::Endpoint, ..) => {
                let way = provider.proxy.as_ref();
                let way = way.map_or(String::new(), |proxy| format!(" by way of {}", proxy.url));
                Line::ok(step, format!("{host}:{port} can be reached{way}"))
            }
            (Step::Tls, ..) => Line::ok(step, format!("{host} proves itself by {trusted}")),
            _ => Line::ok(step, format!("{role_alias}: {came}")),
        })
        .collect();
    // A file, the token or the key, which was well a moment ago.
    if let (Some(at), Err(failure)) = (at, &asked.result) {
        if !STEPS.contains(&at) {
            lines.push(token::line(failure, provider));
        }
    }
    lines
}

/// The lines, where it could not be asked.
pub fn not_reached(after: Step) -> Vec<Line> {
    STEPS.map(|step| Line::not_reached(step, after)).into()
}

pub fn clock_line(asked: Option<&Asked>, now: DateTime<Utc>) -> Line {
    let step = Step::Clock;
    let shown = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    match asked.map(|asked| (asked.ahead_s, asked.answered)) {
        Some((Some(ahead), _)) => {
            let detail = match ahead {
                0.. => format!("{ahead} s ahead of the provider's"),
                _ => format!("{} s behind the provider's", -ahead),
            };
            let finding = match skew(ahead) {
                Skew::None => return Line::ok(step, format!("{shown}, as the provider's")),
                Skew::Off => Finding::ClockOff,
                Skew::TooMuch => Finding::ClockWrong,
            };
            Line::wrong(step, shown, Found::new(finding, detail))
        }
        _ if now < clock::EARLIEST => {
            let detail = format!("it says {shown}, before this program was written");
            Line::wrong(step, shown, Found::new(Finding::ClockWrong, detail))
        }
        Some((None, true)) => Line::wrong(step, shown, Found::new(Finding::NoDate, "")),
        _ => Line::not_reached(step, Step::Endpoint),
    }
}
