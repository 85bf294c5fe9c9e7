//! The device's own part of a fetch, step by step, from what the fetch child saw of it.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{
    cause, files,
    report::{Found, Line},
    step::Step,
};
use crate::{
    fetch::protocol::{CertificateFacts, KeyFacts, Looked},
    problems::{
        failure::{Cause, Failure},
        finding::Finding,
    },
    settings::{Pin, PrivateKey, Provider, Route},
};

/// Long enough for a certificate to be issued, sent out and installed.
const SOON: TimeDelta = TimeDelta::days(30);

/// What AWS writes into the certificates whose keys it makes.
const NO_NAME: &str = "AWS IoT Certificate";

/// The steps of a key, in their order.
pub fn steps(provider: &Provider) -> &'static [Step] {
    match provider.key {
        PrivateKey::File(_) => &[Step::Key, Step::Pair],
        PrivateKey::Token(_) => &[Step::Module, Step::Token, Step::Pin, Step::Key, Step::Pair],
    }
}

/// The lines of the key, from the child's answer.
pub fn lines(provider: &Provider, looked: &Looked, key: &Result<KeyFacts, Failure>) -> Vec<Line> {
    let mut lines = match key {
        Ok(facts) => fine(provider, &format!("{}; it signs", facts.kind)),
        Err(failure) => broken(provider, failure),
    };
    match &looked.without_pin {
        None => {}
        Some(Ok(())) => put(&mut lines, fine(provider, ""), &[Step::Module, Step::Token]),
        Some(Err(failure)) => {
            put(&mut lines, broken(provider, failure), &[Step::Module, Step::Token]);
        }
    }
    // Made by the key's failure, but certificate and key are both there.
    if let Some(Err(failure)) = &looked.pair {
        lines.retain(|line| line.step != Step::Pair);
        lines.push(line(failure, provider));
    } else if key.is_ok() && looked.pair.is_none() {
        lines.retain(|line| line.step != Step::Pair);
        lines.push(Line::not_reached(Step::Pair, Step::CertificateFile));
    }
    lines
}

/// The lines of a key that works.
pub fn fine(provider: &Provider, key: &str) -> Vec<Line> {
    let seen = |step: Step| match (step, &provider.key) {
        (Step::Module, PrivateKey::Token(token)) => {
            let route = match token.route {
                Route::Engine => "engine",
                Route::Provider => "provider",
            };
            format!("{}, through OpenSSL's {route}", token.module.display())
        }
        (Step::Token, PrivateKey::Token(token)) => token.uri.clone(),
        (Step::Pin, PrivateKey::Token(token)) if token.pin == Pin::None => {
            "none is set, and none was asked for".to_owned()
        }
        (Step::Pin, _) => "the token takes it".to_owned(),
        (Step::Key, _) => key.to_owned(),
        _ => "they belong together".to_owned(),
    };
    let lines = steps(provider).iter().map(|step| Line::ok(*step, seen(*step)));
    lines.map(|line| with_rights(line, provider)).collect()
}

/// The lines of a key that does not.
pub fn broken(provider: &Provider, failure: &Failure) -> Vec<Line> {
    let at = cause::step(failure.cause, provider);
    let mut lines: Vec<Line> = fine(provider, "")
        .into_iter()
        .map(|fine| match fine.step {
            step if step < at => fine,
            step if step == at => line(failure, provider),
            step => Line::not_reached(step, at),
        })
        .collect();
    // A file's step, which is not among these.
    if !lines.iter().any(|line| line.step == at) {
        lines.push(line(failure, provider));
    }
    lines
}

/// The line of a failed step.
pub fn line(failure: &Failure, provider: &Provider) -> Line {
    let step = cause::step(failure.cause, provider);
    Line::wrong(step, failure.detail.clone(), Found::failure(failure, cause::gate(failure.cause)))
}

fn with_rights(mut line: Line, provider: &Provider) -> Line {
    if let (Step::Module, PrivateKey::Token(token)) = (line.step, &provider.key) {
        line.add(files::program(&token.module));
    }
    line
}

/// Puts some steps of `better` in the place of those in `lines`.
fn put(lines: &mut Vec<Line>, better: Vec<Line>, steps: &[Step]) {
    lines.retain(|line| !steps.contains(&line.step));
    lines.extend(better.into_iter().filter(|line| steps.contains(&line.step)));
}

/// The certificate, and the thing in it. `now` is the provider's time where that is known.
pub fn certificate(
    provider: &Provider,
    looked: &Looked,
    now: DateTime<Utc>,
    thing_is_accepted: bool,
) -> Vec<Line> {
    let facts = match &looked.certificate {
        Some(Ok(facts)) => facts,
        Some(Err(failure)) => {
            let mut lines = vec![line(failure, provider)];
            let at = lines[0].step;
            if at != Step::Certificate {
                lines.push(Line::not_reached(Step::Certificate, at));
            }
            lines.push(Line::not_reached(Step::ThingName, at));
            return lines;
        }
        None => {
            let after = cause::step(Cause::FetchHung, provider);
            let steps = [Step::Certificate, Step::ThingName];
            return steps.map(|step| Line::not_reached(step, after)).into();
        }
    };
    vec![
        Line::new(Step::Certificate, words(facts, now), dates(provider, facts, now)),
        thing_name(provider, facts, thing_is_accepted),
    ]
}

fn words(facts: &CertificateFacts, now: DateTime<Utc>) -> String {
    let days = (facts.not_after - now).num_days();
    format!("{}, valid until {} ({days} days)", facts.subject, date(facts.not_after))
}

fn date(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn dates(provider: &Provider, facts: &CertificateFacts, now: DateTime<Utc>) -> Vec<Found> {
    let CertificateFacts { subject, not_before, not_after, .. } = facts;
    let (finding, detail) = if now < *not_before {
        let at = date(*not_before);
        (
            Finding::CertificateNotYetValid,
            format!("{subject}, before {at}; now it is {}", date(now)),
        )
    } else if now >= *not_after {
        let at = date(*not_after);
        (Finding::CertificateExpired, format!("{subject}, at {at}; now it is {}", date(now)))
    } else if *not_after - now < SOON {
        let days = (*not_after - now).num_days();
        let at = date(*not_after);
        (Finding::CertificateExpiresSoon, format!("{subject}, at {at}, in {days} days"))
    } else {
        return Vec::new();
    };
    vec![Found::new(finding, detail).about(&provider.certificate)]
}

/// What the provider accepted is right, whatever the certificate says of itself.
fn thing_name(provider: &Provider, facts: &CertificateFacts, is_accepted: bool) -> Line {
    let step = Step::ThingName;
    let in_certificate = facts.common_name.as_deref().filter(|name| *name != NO_NAME);
    match (&provider.thing_name, in_certificate) {
        (None, _) => {
            Line::ok(step, "none is set: in policies, ${credentials-iot:ThingName} has no value")
        }
        (Some(thing), _) if is_accepted => {
            Line::ok(step, format!("{thing}, which the provider accepts"))
        }
        (Some(thing), Some(name)) if name != thing => {
            let detail = format!("EDGEROTATE_THING_NAME={thing}, certificate {}", facts.subject);
            Line::wrong(step, thing.clone(), Found::new(Finding::ThingNameDiffers, detail))
        }
        (Some(thing), Some(_)) => Line::ok(step, format!("{thing}, as in the certificate")),
        (Some(thing), None) => Line::ok(step, format!("{thing}; the certificate names none")),
    }
}
