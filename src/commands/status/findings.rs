//! What is wrong, as far as the daemon's record and the settings show it.

use std::time::Duration;

use super::{
    finding::{StatusFinding, row},
    seen::{DaemonLock, NoRecord, Seen},
    times::Times,
};
use crate::{
    core::{
        lifetime::{Skew, skew},
        own_files,
        rotation::HandingOver,
        span::span,
    },
    problems::{failure::Failure, kinds::Kind},
    record::{self, GuardState, Moment, Record},
};

/// A restart of Litestream takes some two seconds, and the guard before it a few more at most.
const USUAL_RESTART: Duration = Duration::from_secs(10);

/// Before the expiry: when Go's SDKs, both Litestreams' among them, ask the endpoint again, and go
/// on no longer without an answer.
const ASKS_AGAIN: Duration = Duration::from_secs(5 * 60);

/// A record is old so long after it should have been written anew.
const OLD: Duration = Duration::from_secs(15);

/// Neither written nor failed for so long beyond its interval, a heartbeat is stuck; the daemon's
/// watchdog thinks so too.
const SILENT: Duration = Duration::from_secs(60);

/// The whole in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusVerdict {
    pub word: &'static str,
    pub exit_code: u8,
}

/// All is well (`ok`), or something is worth knowing (`notice`); else `down`, `starting` or
/// `wrong`, and the worst finding's exit code.
pub fn verdict(findings: &[StatusFinding]) -> StatusVerdict {
    let worst = findings.iter().find(|finding| finding.exit_code != 0);
    match worst {
        None if findings.is_empty() => StatusVerdict { word: "ok", exit_code: 0 },
        None => StatusVerdict { word: "notice", exit_code: 0 },
        Some(worst) => StatusVerdict { word: word(worst), exit_code: worst.exit_code },
    }
}

fn word(worst: &StatusFinding) -> &'static str {
    let is = |kinds: &[Kind]| kinds.iter().any(|kind| kind.name() == worst.name);
    if is(&[Kind::NotRunning]) {
        "down"
    } else if is(&[Kind::NoCredentials, Kind::NotHandedOver, Kind::StateNotWritten]) {
        "starting"
    } else {
        "wrong"
    }
}

impl Seen {
    /// What is wrong, the worst first.
    pub fn findings(&self) -> Vec<StatusFinding> {
        of(self)
    }
}

/// Everything that is wrong, the worst first.
pub fn of(seen: &Seen) -> Vec<StatusFinding> {
    let mut findings = seen.settings.clone();
    if seen.is_full {
        let directory = seen.directory.display().to_string();
        findings.push(StatusFinding::new(Kind::DirectoryFull, &directory).about(&seen.directory));
    }
    let file = seen.directory.join(own_files::RECORD);
    let file = file.display();
    match &seen.lock {
        DaemonLock::Free => findings.push(not_running(seen)),
        DaemonLock::Unknown(_) if seen.record == Err(NoRecord::NotPermitted) => {}
        DaemonLock::Unknown(why) => findings.push(StatusFinding::new(Kind::RunningUnknown, why)),
        DaemonLock::Held(pid) => match &seen.record {
            Ok(record) if record.daemon.pid == *pid => {}
            Ok(_) => findings.push(StatusFinding::new(
                Kind::StateNotWritten,
                &format!("what is shown is what the one before process {pid} left"),
            )),
            Err(NoRecord::Missing) => {
                findings.push(StatusFinding::new(
                    Kind::StateNotWritten,
                    &format!("{file} is not there"),
                ));
            }
            Err(_) => {}
        },
    }
    match &seen.record {
        Err(NoRecord::NotPermitted) => {
            findings.push(StatusFinding::new(Kind::StateNotPermitted, &file.to_string()));
        }
        Err(NoRecord::Unreadable(why)) => {
            findings.push(StatusFinding::new(Kind::StateUnreadable, &format!("{file}: {why}")));
        }
        Err(NoRecord::Missing) => {}
        Ok(record) => {
            let times = Times::new(&record.clocks, &record.daemon.boot_id, &seen.now);
            let runs = matches!(&seen.lock, DaemonLock::Held(pid) if *pid == record.daemon.pid);
            match old(seen, record).filter(|_| runs && times.is_this_boot()) {
                // What it tells may long be over.
                Some(finding) => findings.push(finding),
                None => {
                    if runs {
                        of_a_running_daemon(record, &times, &mut findings);
                    }
                    of_any(record, &times, &mut findings);
                }
            }
        }
    }
    // A failed fetch, which has no place in the table, is the reason for what comes after it.
    let place = |name| Kind::ALL.iter().position(|kind| kind.name() == name);
    findings.sort_by_key(|finding| (finding.exit_code == 0, place(finding.name)));
    findings
}

/// A record that the daemon should long have written anew.
fn old(seen: &Seen, record: &Record) -> Option<StatusFinding> {
    let age = seen.now.boottime.since(record.clocks.boottime.at);
    // Without room it is not written anew at all.
    let limit = if seen.is_full { OLD } else { record::WRITTEN_EVERY + OLD };
    (age > limit)
        .then(|| StatusFinding::new(Kind::StateOld, &format!("it is of {} ago", span(age))))
}

fn not_running(seen: &Seen) -> StatusFinding {
    let record = match &seen.record {
        Ok(record) => record,
        Err(NoRecord::Missing) => {
            let nothing = format!("it has left nothing in {} since boot", seen.directory.display());
            return StatusFinding::new(Kind::NotRunning, &nothing);
        }
        Err(_) => return StatusFinding::new(Kind::NotRunning, ""),
    };
    let times = Times::new(&record.clocks, &record.daemon.boot_id, &seen.now);
    let last = record.clocks.boottime;
    if !times.is_this_boot() {
        let then = format!("it last ran before this boot, until {}", times.clock(last));
        return StatusFinding::new(Kind::NotRunning, &then);
    }
    let finding = match &record.daemon.stopped {
        Some(stopped) => StatusFinding::new(
            Kind::NotRunning,
            &format!("stopped by {} at {}", stopped.by, times.show(stopped.at)),
        ),
        None => StatusFinding::new(
            Kind::NotRunning,
            &format!("killed, or crashed; last seen at {}", times.show(last)),
        ),
    };
    let Some(held) = record.credentials else { return finding };
    // Who asks stops when nobody answers, though what it has is still good.
    let asks_early = Moment::from(held.expires.at.before(ASKS_AGAIN));
    match record.device.delivery.as_str() {
        "endpoint" if !times.is_over(asks_early) => finding.since(format!(
            "Litestream can upload until {}: then, five minutes before its credentials expire, it \
             asks for newer ones",
            times.show(asks_early)
        )),
        "environment-file" if !times.is_over(held.expires) => finding.since(format!(
            "Litestream can upload until its credentials expire at {}",
            times.show(held.expires)
        )),
        _ => finding,
    }
}

fn of_a_running_daemon(record: &Record, times: &Times, findings: &mut Vec<StatusFinding>) {
    let started = record.daemon.started;
    let is_good = record.credentials.is_some_and(|held| !times.is_over(held.expires));
    let failure = record.fetch.failure.as_ref().filter(|failure| failure.over.is_none());
    if record.credentials.is_some() && !is_good {
        findings.push(StatusFinding::new(Kind::CredentialsExpired, ""));
    } else if record.credentials.is_none() && failure.is_none() {
        let since = format!("since the start at {}", times.show(started));
        let turn = turn(record, times).map_or(String::new(), |turn| format!("edgerotate {turn}"));
        findings.push(StatusFinding::new(Kind::NoCredentials, &turn).since(since));
    }
    if let Some(failure) = failure {
        let what = Failure::new(failure.cause, failure.detail.as_str());
        // A fault that passes costs nothing while good credentials are left.
        let is_serious = !is_good || !what.class().may_pass();
        let finding = StatusFinding {
            name: failure.cause.name(),
            exit_code: if is_serious { what.exit_code() } else { 0 },
            what: what.without_remedy(),
            since: Some(row(failure.times, times, failure.since.at, failure.last.at)),
            remedy: failure.cause.remedy().to_owned(),
        };
        findings.push(finding);
    }
    if let Some(failing) = &record.hand_over.failing {
        findings.push(StatusFinding::failing(Kind::HandOverFails, failing, times));
    }
    findings.extend(of_hand_over(record, times));
    of_heartbeat(record, times, findings);
    of_guard(record, times, findings);
    if let Some(uploads) = &record.uploads {
        if uploads.behind {
            let since =
                uploads.waiting_since.map(|at| format!("rows wait since {}", times.show(at)));
            findings.push(StatusFinding { since, ..StatusFinding::new(Kind::ReplicaBehind, "") });
        }
        if let Some(failing) = &uploads.failing {
            findings.push(StatusFinding::failing(Kind::UploadsUnseen, failing, times));
        }
    }
    of_clock(record, times, findings);
    for consumer in record.consumers.iter().flatten().filter(|consumer| consumer.stays) {
        if consumer.expires.is_some_and(|at| times.is_over(at)) {
            let since = format!("it asked last at {}", times.show(consumer.last_request));
            findings.push(StatusFinding::new(Kind::ConsumerRanOut, &consumer.program).since(since));
        }
    }
}

fn of_hand_over(record: &Record, times: &Times) -> Option<StatusFinding> {
    let held = record.credentials?;
    let litestream = &record.litestream;
    let is_away = litestream.can_be_seen && litestream.start.is_none();
    match record.hand_over.state {
        HandingOver::Done => is_away.then(|| StatusFinding::new(Kind::LitestreamNotRunning, "")),
        HandingOver::Due | HandingOver::UnderWay if record.hand_over.failing.is_some() => None,
        HandingOver::Due | HandingOver::UnderWay => {
            if is_away && litestream.last_confirmed.is_none() {
                return Some(StatusFinding::new(Kind::NotHandedOver, ""));
            }
            // A daemon that found them has begun no earlier than it started.
            let since = held.fetched.max(record.daemon.started);
            let is_slow = times.age(since).is_some_and(|age| age > USUAL_RESTART);
            let words = || format!("since {}", times.show(since));
            is_slow.then(|| StatusFinding::new(Kind::HandOverSlow, "").since(words()))
        }
    }
}

fn of_heartbeat(record: &Record, times: &Times, findings: &mut Vec<StatusFinding>) {
    let heartbeat = &record.heartbeat;
    if let Some(failing) = &heartbeat.failing {
        findings.push(StatusFinding::failing(Kind::HeartbeatFails, failing, times));
        return;
    }
    let last = heartbeat.last.unwrap_or(record.daemon.started);
    let interval = Duration::from_millis(heartbeat.interval_ms);
    if times.age(last).is_some_and(|age| age > interval + SILENT) {
        let since = format!("since {}", times.show(last));
        findings.push(StatusFinding::new(Kind::HeartbeatSilent, "").since(since));
    }
}

fn of_guard(record: &Record, times: &Times, findings: &mut Vec<StatusFinding>) {
    for guarded in record.guard.iter().flatten() {
        let database = guarded.database.display().to_string();
        if let Some(since) = guarded.unread_since {
            let finding = StatusFinding::new(Kind::ReplicaStandsStill, &database);
            let since = format!("since {}", times.show(since));
            findings.push(finding.about(&guarded.database).since(since));
        }
        if guarded.is_large {
            let finding = StatusFinding::new(Kind::WalTooLarge, &database);
            findings.push(finding.about(&guarded.database));
        }
        let kind = match guarded.state {
            GuardState::NotNeeded | GuardState::Held => continue,
            GuardState::CouldNotBeHad => Kind::GuardNotHad,
            GuardState::GivenUp => Kind::GuardGivenUp,
        };
        let finding = StatusFinding::new(kind, guarded.why.as_ref().unwrap_or(&database));
        findings.push(finding.about(&guarded.database));
    }
}

fn of_clock(record: &Record, times: &Times, findings: &mut Vec<StatusFinding>) {
    if times.clock_is_wrong() {
        let says = format!("it says {}", times.now());
        findings.push(StatusFinding::new(Kind::ClockWrong, &says));
        return;
    }
    let Some(clock) = record.clock else { return };
    let kind = match skew(clock.ahead_s) {
        Skew::None => return,
        Skew::Off => Kind::ClockOff,
        Skew::TooMuch => Kind::ClockWrong,
    };
    let direction = if clock.ahead_s > 0 { "ahead of" } else { "behind" };
    let size = span(Duration::from_secs(clock.ahead_s.unsigned_abs()));
    let seen = format!("seen at the answer of {}", times.show(clock.seen));
    findings
        .push(StatusFinding::new(kind, &format!("{size} {direction} the provider's")).since(seen));
}

/// What stays true of a daemon that has ended.
fn of_any(record: &Record, times: &Times, findings: &mut Vec<StatusFinding>) {
    // Both are told by the guard's thread, the suspect first.
    if record.suspect.is_none() && record.guard.is_some() {
        let finding = StatusFinding::new(Kind::SuspectUnknown, "");
        let remedy = finding.remedy.replace("FILE", "`suspect` in EDGEROTATE_STATE_DIRECTORY");
        findings.push(StatusFinding { remedy, ..finding });
    }
    for (database, reasons) in record.suspect.iter().flat_map(|suspect| &suspect.databases) {
        let whats: Vec<_> = reasons.iter().map(|reason| reason.what.as_str()).collect();
        let detail = format!("{}: {}", database.display(), whats.join("; "));
        let mut finding = StatusFinding::new(Kind::Suspect, &detail);
        finding.since = reasons.first().map(|reason| format!("since {}", times.date(reason.since)));
        findings.push(finding);
    }
}

/// Why the first fetch of a fleet that boots at once does not begin at once.
pub(super) fn turn(record: &Record, times: &Times) -> Option<String> {
    let at = record.first_turn().filter(|at| !times.is_over(*at))?;
    Some(format!("waits for its turn until {}, EDGEROTATE_BOOT_SPREAD", times.show(at)))
}
