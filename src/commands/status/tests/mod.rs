//! Whole screens, on a fake clock.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{
    DaemonLock, NoRecord, Seen, StatusFinding,
    findings::verdict,
    screen::{Paint, text},
    times::Now,
};
use crate::{
    core::{
        boottime::Boottime,
        rotation::{Acquiring, HandingOver},
        suspect::{Reason, Suspect},
    },
    problems::{failure::Cause, kinds::Kind},
    record::{
        Clock, Clocks, Consumer, CredentialsSection, DaemonSection, Device, FailedFetches, Failing,
        FetchFailure, FetchSection, GuardState, Guarded, HandOverSection, HeartbeatSection,
        LitestreamSection, Moment, Record, StoppedBy, UploadsSection, VERSION,
    },
};

mod machines;

/// Eight hours after boot, at 14:12:11 in the device's time zone.
const NOW: u64 = 8 * 3600;
const WALL: &str = "2026-11-22T14:12:11+01:00";
const PID: u32 = 4711;

/// So many seconds from now.
fn at(seconds: i64) -> Moment {
    Boottime::from_millis((NOW as i64 + seconds) as u64 * 1000).into()
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A device on which all is well.
pub(crate) fn record() -> Record {
    Record {
        version: VERSION,
        clocks: Clocks { boottime: at(-2), wall: utc("2026-11-22T13:12:09Z") },
        daemon: DaemonSection {
            pid: PID,
            version: "0.1.0".to_owned(),
            boot_id: "this".to_owned(),
            started: at(-6 * 3600),
            stopped: None,
        },
        device: Device {
            thing_name: Some("press-12".to_owned()),
            endpoint: "c1.credentials.iot.eu-west-1.amazonaws.com".to_owned(),
            role_alias: "litestream-replica".to_owned(),
            delivery: "environment-file".to_owned(),
        },
        credentials: Some(CredentialsSection { fetched: at(-480), expires: at(3120) }),
        fetch: FetchSection {
            state: Acquiring::Waiting,
            next: Some(at(2700)),
            succeeded: 7,
            last_success: Some(at(-479)),
            failed: FailedFetches::default(),
            failure: None,
        },
        hand_over: HandOverSection {
            state: HandingOver::Done,
            next: None,
            written: Some(at(-479)),
            failing: None,
        },
        litestream: LitestreamSection {
            can_be_seen: true,
            start: Some("process 4800".to_owned()),
            confirmed: 7,
            last_confirmed: Some(at(-477)),
        },
        heartbeat: HeartbeatSection {
            database: "/data/edgerotate/heartbeat.db".into(),
            interval_ms: 5000,
            last: Some(at(-2)),
            last_id: Some(1_795_352_400),
            failing: None,
        },
        guard: Some(vec![guarded(GuardState::NotNeeded, None)]),
        suspect: Some(Suspect::default()),
        clock: Some(Clock { ahead_s: 0, seen: at(-479) }),
        uploads: None,
        consumers: None,
    }
}

fn guarded(state: GuardState, why: Option<&str>) -> Guarded {
    let database = PathBuf::from("/data/edgerotate/heartbeat.db");
    Guarded { database, state, why: why.map(str::to_owned), unread_since: None, is_large: false }
}

fn failure(cause: Cause, detail: &str, times: u64, since: i64, last: i64) -> Option<FetchFailure> {
    let (since, last) = (at(since), at(last));
    Some(FetchFailure { cause, detail: detail.to_owned(), times, since, last, over: None })
}

fn seen(record: Record) -> Seen {
    Seen {
        settings: Vec::new(),
        directory: "/run/edgerotate".into(),
        lock: DaemonLock::Held(PID),
        record: Ok(record),
        now: Now { boottime: at(0).at, wall: WALL.parse().unwrap(), boot_id: "this".to_owned() },
        is_full: false,
    }
}

/// Compares with a text as it was read and found good; `UPDATE_SCREENS=1` writes it anew.
#[track_caller]
fn assert_text(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/status/screens").join(name);
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{name}");
}

#[track_caller]
fn assert_screen(name: &str, exit_code: u8, seen: &Seen) {
    let findings = seen.findings();
    let text = text(seen, &findings, Paint::new(false));
    assert_text(name, &text);
    assert_eq!(verdict(&findings).exit_code, exit_code, "{name}");
}

#[test]
fn all_is_well() {
    assert_screen("well", 0, &seen(record()));
}

/// With every section filled.
fn full() -> Record {
    let mut record = record();
    record.uploads = Some(UploadsSection {
        last_moved: Some(at(-3)),
        waiting_since: Some(at(-1)),
        behind: false,
        failing: None,
    });
    let program = "/usr/bin/collector".to_owned();
    record.consumers = Some(vec![Consumer {
        program,
        last_request: at(-200),
        served: "credentials".to_owned(),
        expires: Some(at(3120)),
        stays: true,
    }]);
    let mut over = failure(Cause::ServerError, "c1.…: HTTP 503, Slow down", 3, -4200, -4100);
    over.as_mut().unwrap().over = Some(at(-4090));
    record.fetch.failure = over;
    record.hand_over.next = Some(at(10));
    record
}

#[test]
fn everything_a_device_may_have() {
    assert_screen("all-sections", 0, &seen(full()));
}

#[test]
fn a_program_that_no_longer_asks_is_missed_if_it_used_to_stay() {
    let mut record = record();
    let consumer = |program: &str, stays| Consumer {
        program: program.to_owned(),
        last_request: at(-4000),
        served: "credentials".to_owned(),
        expires: Some(at(-400)),
        stays,
    };
    record.consumers = Some(vec![consumer("aws-sdk-go/1.44", true), consumer("aws-cli/2", false)]);
    assert_screen("ran-out", 0, &seen(record));
}

#[test]
fn what_passes_is_no_alarm_while_credentials_are_good() {
    let mut record = record();
    record.fetch.state = Acquiring::Retrying;
    record.fetch.next = Some(at(20));
    record.fetch.failure =
        failure(Cause::Dns, "c1.credentials.iot.eu-west-1.amazonaws.com", 4, -90, -10);
    assert_screen("retrying", 0, &seen(record.clone()));
    record.credentials = Some(CredentialsSection { fetched: at(-4000), expires: at(-400) });
    assert_screen("offline", 75, &seen(record));
}

#[test]
fn what_a_person_must_mend_is_one() {
    let mut record = record();
    record.fetch.state = Acquiring::Retrying;
    record.fetch.next = Some(at(500));
    let detail = "c1.credentials.iot.eu-west-1.amazonaws.com, role alias litestream-replica: HTTP \
     403, Access Denied";
    record.fetch.failure = failure(Cause::AccessDenied, detail, 12, -4200, -120);
    assert_screen("denied", 77, &seen(record.clone()));
    record.credentials = None;
    record.litestream.start = None;
    record.fetch.state = Acquiring::PinRefused;
    record.fetch.next = None;
    record.fetch.failure = failure(Cause::PinIncorrect, "/etc/edgerotate/pin", 1, -21_000, -21_000);
    assert_screen("pin", 77, &seen(record));
}

#[test]
fn the_way_to_litestream() {
    let mut record = record();
    record.hand_over.state = HandingOver::Due;
    record.hand_over.next = Some(at(32));
    let what = "/usr/bin/systemctl restart litestream.service failed (exit status: 1); its own \
     words stand before this line";
    record.hand_over.failing =
        Some(Failing { what: what.to_owned(), times: 6, since: at(-63), last: at(-1) });
    assert_screen("hand-over", 69, &seen(record.clone()));
    record.hand_over.failing = None;
    // It stops, and tries for as long as it is given to upload with what has expired.
    record.hand_over.state = HandingOver::UnderWay;
    record.credentials = Some(CredentialsSection { fetched: at(-25), expires: at(3575) });
    assert_screen("slow-hand-over", 75, &seen(record.clone()));
    record.litestream.start = None;
    assert_eq!(seen(record.clone()).findings()[0].name, "hand-over-slow");
    // So long it takes now and then.
    record.credentials = Some(CredentialsSection { fetched: at(-9), expires: at(3591) });
    assert_eq!(seen(record.clone()).findings(), []);

    record = self::record();
    record.litestream.start = None;
    record.guard = Some(vec![guarded(GuardState::Held, None)]);
    assert_screen("no-litestream", 69, &seen(record));
}

#[test]
fn heartbeat_guard_and_replica() {
    let mut record = record();
    let full = "/data/edgerotate/heartbeat.db: database or disk is full; make room on the file \
     system; nothing is lost but this row";
    record.heartbeat.last = Some(at(-400));
    record.heartbeat.failing =
        Some(Failing { what: full.to_owned(), times: 80, since: at(-395), last: at(-2) });
    let why =
        "/data/edgerotate/heartbeat.db: it can't be opened; let edgerotate's user write the file";
    record.guard = Some(vec![
        guarded(GuardState::CouldNotBeHad, Some(why)),
        guarded(GuardState::GivenUp, None),
    ]);
    let since = utc("2026-11-21T08:00:00Z");
    let reason = |what: &str| Reason { since, what: what.to_owned(), last: None };
    let reasons =
        vec![reason("Litestream started without a guard"), reason("its WAL reached the limit")];
    let suspect = Suspect { databases: [("/data/app.db".into(), reasons)].into() };
    record.suspect = Some(suspect);
    record.uploads = Some(UploadsSection {
        last_moved: Some(at(-4000)),
        waiting_since: Some(at(-3990)),
        behind: true,
        failing: None,
    });
    record.clock = Some(Clock { ahead_s: -40, seen: at(-479) });
    assert_screen("broken", 69, &seen(record.clone()));

    record = self::record();
    record.suspect = None;
    let findings = seen(record).findings();
    assert_eq!(findings[0].name, "suspect-unknown");
    assert_eq!(verdict(&findings).exit_code, 69);

    record = self::record();
    record.heartbeat.last = Some(at(-66));
    record.clock = Some(Clock { ahead_s: 7200, seen: at(-479) });
    assert_screen("silent", 69, &seen(record));
}

#[test]
fn a_clock_that_nobody_can_believe_is_not_shown() {
    let mut seen = seen(record());
    seen.now.wall = "1970-01-01T08:00:00Z".parse().unwrap();
    assert_screen("no-clock", 75, &seen);
}

#[test]
fn a_start() {
    let mut record = record();
    record.credentials = None;
    record.daemon.started = at(-1);
    record.fetch = FetchSection {
        state: Acquiring::Fetching,
        next: None,
        succeeded: 0,
        last_success: None,
        failed: FailedFetches::default(),
        failure: None,
    };
    record.litestream.start = None;
    record.litestream.last_confirmed = None;
    record.heartbeat.last = None;
    record.heartbeat.last_id = None;
    record.clock = None;
    assert_screen("starting", 75, &seen(record.clone()));
    let mut turn = record.clone();
    turn.fetch.state = Acquiring::Waiting;
    turn.fetch.next = Some(at(48));
    assert_screen("turn", 75, &seen(turn));
    record.credentials = Some(CredentialsSection { fetched: at(-1), expires: at(3599) });
    record.hand_over.state = HandingOver::UnderWay;
    assert_screen("first-hand-over", 75, &seen(record.clone()));
    // Another daemon holds the lock, and has written nothing yet.
    let mut seen = seen(record);
    seen.lock = DaemonLock::Held(PID + 1);
    assert_screen("not-written", 75, &seen);
    seen.record = Err(NoRecord::Missing);
    assert_screen("nothing-written", 75, &seen);
}

#[test]
fn a_record_that_is_old_is_said_and_not_believed() {
    let mut expired = record();
    expired.credentials = Some(CredentialsSection { fetched: at(-900), expires: at(-1) });
    expired.clocks.boottime = at(-40);
    let names = |seen: &Seen| seen.findings().iter().map(|f| f.name).collect::<Vec<_>>();
    assert!(names(&seen(expired.clone())).contains(&"credentials-expired"));
    expired.clocks.boottime = at(-46);
    assert_eq!(names(&seen(expired.clone())), ["state-old"]);
    // As when /run is full of a journal.
    let full = Seen { is_full: true, ..seen(expired) };
    assert_eq!(names(&full), ["directory-full", "state-old"]);
    assert!(full.findings()[0].remedy.contains("df /run/edgerotate"));
}

#[test]
fn a_daemon_that_is_down() {
    let mut killed = seen(record());
    killed.lock = DaemonLock::Free;
    assert_screen("killed", 69, &killed);

    let mut stopped = record();
    stopped.daemon.stopped = Some(StoppedBy { at: at(-600), by: "SIGTERM".to_owned() });
    let mut stopped = Seen { lock: DaemonLock::Free, ..seen(stopped) };
    assert_screen("stopped", 69, &stopped);

    // Who asks the endpoint stops earlier than who has the credentials in its environment.
    let mut asked = record();
    asked.device.delivery = "endpoint".to_owned();
    let asked = Seen { lock: DaemonLock::Free, ..seen(asked) };
    let finding = &asked.findings()[0];
    let since = finding.since.as_deref().unwrap();
    assert!(since.starts_with("Litestream can upload until 14:59:11 (in 47 min): "), "{since}");

    // Where the runtime directory is on a disk.
    stopped.now.boot_id = "another".to_owned();
    stopped.now.boottime = Boottime::from_millis(60_000);
    assert_screen("other-boot", 69, &stopped);

    stopped.record = Err(NoRecord::Missing);
    assert_screen("never", 69, &stopped);
}

#[test]
fn what_can_not_be_looked_at() {
    let mut seen = seen(record());
    seen.record = Err(NoRecord::NotPermitted);
    seen.lock = DaemonLock::Unknown("Permission denied (os error 13)".to_owned());
    assert_screen("not-permitted", 77, &seen);
    seen.record = Err(NoRecord::Unreadable("form 2, and not 1".to_owned()));
    seen.lock = DaemonLock::Held(PID);
    assert_screen("unreadable", 69, &seen);
}

/// A daemon that runs is shown as it is, whatever is in its files since.
#[test]
fn settings_that_are_wrong() {
    let mut seen = seen(record());
    let unknown = "/etc/edgerotate/edgerotate.env:3: EDGEROTATE_LITESTREAM_METRIC: is not a \
     setting; is \
                   EDGEROTATE_LITESTREAM_METRICS meant?";
    seen.settings = vec![StatusFinding::line(Kind::SettingIgnored, unknown.to_owned())];
    assert_screen("setting-ignored", 0, &seen);
    let wrong = "/data/edgerotate/device.env:1: EDGEROTATE_LOG: must be error, warn, info or debug \
     (got \"loud\")";
    seen.settings.push(StatusFinding::line(Kind::SettingWrong, wrong.to_owned()));
    assert_screen("setting-wrong", 78, &seen);
}

#[test]
fn colour_is_only_where_it_is_asked_for() {
    let seen = seen(record());
    assert!(text(&seen, &[], Paint::new(true)).contains("\u{1b}[1;32mall is well\u{1b}[0m"));
    assert!(!text(&seen, &[], Paint::new(false)).contains('\u{1b}'));
}
