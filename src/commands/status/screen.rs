//! The screen: what is wrong and what to do first, then the state, one line each.

use std::fmt::Write;

use super::{
    finding::StatusFinding,
    findings::{turn, verdict},
    seen::{DaemonLock, Seen},
    times::Times,
};
use crate::{
    core::{
        lifetime::{Skew, skew},
        rotation::{Acquiring, HandingOver},
        span::span,
    },
    problems::failure::Failure,
    record::{Failing, FetchFailure, GuardState, Record},
};

/// Colours, on a terminal that shows them.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;

impl Paint {
    pub fn new(on: bool) -> Self {
        Self { on }
    }

    fn paint(self, color: u8, text: &str) -> String {
        if self.on { format!("\u{1b}[1;{color}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

pub fn text(seen: &Seen, findings: &[StatusFinding], paint: Paint) -> String {
    let mut text = heading(seen, findings, paint);
    for finding in findings {
        describe(finding, &mut text, paint);
    }
    if let Ok(record) = &seen.record {
        if !findings.is_empty() {
            text.push('\n');
        }
        let times = Times::new(&record.clocks, &record.daemon.boot_id, &seen.now);
        for (name, value) in lines(record, &times, &seen.lock) {
            // Writing to a String does not fail.
            let _ = writeln!(text, "  {name:<12} {value}");
        }
    }
    text
}

fn heading(seen: &Seen, findings: &[StatusFinding], paint: Paint) -> String {
    let wrong = findings.iter().filter(|finding| finding.exit_code != 0).count();
    let words = match (verdict(findings).word, wrong) {
        ("ok", _) => paint.paint(GREEN, "all is well"),
        ("notice", _) => paint.paint(YELLOW, "works; something to know"),
        ("starting", 1) => paint.paint(YELLOW, "starting"),
        ("down", 1) => paint.paint(RED, "NOT RUNNING"),
        ("down", more) => {
            paint.paint(RED, &format!("NOT RUNNING, and {} more", things(more - 1, "finding")))
        }
        (_, wrong) => paint.paint(RED, &format!("WRONG, {}", things(wrong, "finding"))),
    };
    let device = seen.record.as_ref().ok().and_then(|record| record.device.thing_name.as_deref());
    let on = device.map_or(String::new(), |name| format!(" on {name}"));
    format!("edgerotate{on}: {words}\n")
}

fn describe(finding: &StatusFinding, text: &mut String, paint: Paint) {
    let color = if finding.exit_code == 0 { YELLOW } else { RED };
    let name = paint.paint(color, finding.name);
    let _ = writeln!(text, "\n! {name}: {}", finding.what);
    if let Some(since) = &finding.since {
        let _ = writeln!(text, "    {since}");
    }
    let _ = writeln!(text, "    what to do: {}", finding.remedy);
}

fn lines(record: &Record, times: &Times, lock: &DaemonLock) -> Vec<(&'static str, String)> {
    let runs = matches!(lock, DaemonLock::Held(_));
    let mut lines =
        vec![("daemon", daemon(record, times, lock)), ("credentials", credentials(record, times))];
    if runs {
        lines.push(("next fetch", next_fetch(record, times)));
    }
    lines.push(("last error", last_error(record, times)));
    lines.push(("litestream", litestream(record, times, runs)));
    lines.push(("heartbeat", heartbeat(record, times)));
    for guarded in record.guard.iter().flatten().filter(|_| runs) {
        let state = match guarded.state {
            GuardState::NotNeeded => "not needed, Litestream holds its own lock",
            GuardState::Held => "held until Litestream holds its own lock",
            GuardState::CouldNotBeHad => "COULD NOT BE HAD",
            GuardState::GivenUp => "GIVEN UP",
        };
        lines.push(("guard", format!("{state}; {}", guarded.database.display())));
    }
    lines.push(("replica", replica(record, times)));
    if let Some(delta) = record.clock {
        lines.push(("clock", clock(delta.ahead_s, &times.show(delta.seen))));
    }
    for consumer in record.consumers.iter().flatten() {
        let expires = consumer.expires.map_or(String::new(), |at| {
            let word = if times.is_over(at) { "run out since" } else { "good until" };
            format!(", {word} {}", times.show(at))
        });
        let (program, served) = (&consumer.program, &consumer.served);
        let asked = times.show(consumer.last_request);
        lines.push(("consumer", format!("{program} asked at {asked}; it got {served}{expires}")));
    }
    lines
}

fn daemon(record: &Record, times: &Times, lock: &DaemonLock) -> String {
    let version = &record.daemon.version;
    match (lock, &record.daemon.stopped) {
        (DaemonLock::Held(pid), _) if *pid == record.daemon.pid => {
            let since = times.show(record.daemon.started);
            format!("process {pid} since {since}; version {version}")
        }
        (DaemonLock::Held(pid), _) => format!("process {pid}"),
        (_, Some(stopped)) => {
            format!("stopped by {} at {}; version {version}", stopped.by, times.show(stopped.at))
        }
        (_, None) => {
            format!("last seen at {}; version {version}", times.show(record.clocks.boottime))
        }
    }
}

fn credentials(record: &Record, times: &Times) -> String {
    match record.credentials {
        None => "none".to_owned(),
        Some(held) if !times.is_this_boot() => {
            format!("of an earlier boot, good until {} then", times.clock(held.expires))
        }
        Some(held) if times.is_over(held.expires) => {
            format!("EXPIRED at {}", times.show(held.expires))
        }
        Some(held) => format!(
            "good until {}; fetched at {}",
            times.show(held.expires),
            times.show(held.fetched)
        ),
    }
}

fn next_fetch(record: &Record, times: &Times) -> String {
    if let Some(turn) = turn(record, times) {
        return turn;
    }
    let at = record.fetch.next.map_or(String::new(), |at| times.show(at));
    match record.fetch.state {
        Acquiring::Waiting if record.credentials.is_none() => at,
        Acquiring::Waiting => format!("{at}, the next rotation"),
        Acquiring::Retrying => format!("{at}, the next try"),
        Acquiring::Fetching => "under way".to_owned(),
        Acquiring::PinRefused => "none until the PIN is changed".to_owned(),
    }
}

fn last_error(record: &Record, times: &Times) -> String {
    let Some(failure) = &record.fetch.failure else {
        return "none since the start".to_owned();
    };
    let FetchFailure { cause, detail, times: count, since, .. } = failure;
    let what = Failure::new(*cause, detail.as_str()).without_remedy();
    let count = if *count > 1 {
        format!("{count} times from {}", times.clock(*since))
    } else {
        format!("once at {}", times.clock(*since))
    };
    match failure.over {
        None => format!("{cause}, {count}; goes on"),
        Some(over) => format!("{cause}, {count}; over since {}: {what}", times.show(over)),
    }
}

fn litestream(record: &Record, times: &Times, daemon_runs: bool) -> String {
    let litestream = &record.litestream;
    let runs = match &litestream.start {
        Some(start) if daemon_runs => format!("runs ({start})"),
        Some(start) => format!("ran when edgerotate ended ({start})"),
        None if litestream.can_be_seen => "does not run".to_owned(),
        None => "can't be seen here".to_owned(),
    };
    let next = record.hand_over.next.map_or(String::new(), |at| format!(" at {}", times.show(at)));
    let has = match record.hand_over.state {
        _ if record.credentials.is_none() => String::new(),
        HandingOver::Done => match litestream.last_confirmed {
            Some(at) => format!("; has the newest credentials since {}", times.show(at)),
            None => "; has the newest credentials".to_owned(),
        },
        HandingOver::Due => format!("; gets the newest credentials{next}"),
        HandingOver::UnderWay => "; gets the newest credentials now".to_owned(),
    };
    runs + &has
}

fn heartbeat(record: &Record, times: &Times) -> String {
    let heartbeat = &record.heartbeat;
    let database = heartbeat.database.display();
    let last = match (heartbeat.last, heartbeat.last_id) {
        (Some(at), Some(id)) => format!("{}, id {id}", times.show(at)),
        _ => "none yet".to_owned(),
    };
    let fails = heartbeat.failing.as_ref().map_or("", |Failing { .. }| "; FAILS");
    format!("{last}{fails}; {database}")
}

fn replica(record: &Record, times: &Times) -> String {
    let suspect = match &record.suspect {
        Some(suspect) if suspect.databases.is_empty() => "not suspect",
        Some(_) => "SUSPECT",
        None => "not known whether it is suspect",
    };
    let Some(uploads) = &record.uploads else { return suspect.to_owned() };
    let moved = match uploads.last_moved {
        Some(at) => format!("; moved at {}", times.show(at)),
        None => "; not seen to move yet".to_owned(),
    };
    let waiting = match uploads.waiting_since {
        Some(at) => format!("; rows wait since {}", times.show(at)),
        None => String::new(),
    };
    format!("{suspect}{moved}{waiting}")
}

fn clock(ahead_s: i64, seen: &str) -> String {
    let off = span(std::time::Duration::from_secs(ahead_s.unsigned_abs()));
    match skew(ahead_s) {
        Skew::None => format!("agrees with the provider's; compared at {seen}"),
        _ if ahead_s > 0 => format!("{off} AHEAD of the provider's; compared at {seen}"),
        _ => format!("{off} BEHIND the provider's; compared at {seen}"),
    }
}

fn things(count: usize, name: &str) -> String {
    if count == 1 { format!("1 {name}") } else { format!("{count} {name}s") }
}
