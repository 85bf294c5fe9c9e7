//! What holds in every weather.

use super::{
    HOUR, MINUTE, S3, live,
    weather::{BUSY, QUIET, Weather, Writes},
};
use crate::core::guard::{look::Notes, rules::Rule};

/// What a run broke, if it did: each row is in the replica or it is marked, the WAL has an end, and
/// a replica that stands still is seen to.
pub fn broken(weather: &Weather, seed: u64, hours: u64, without: Option<Rule>) -> Option<String> {
    let (count, marked) = live(seed, *weather, hours, without);
    if count.missing > 0 && marked.is_none() {
        return Some(format!("seed {seed}: rows are missing, and nothing is marked: {count:?}"));
    }
    if count.silent > MINUTE {
        return Some(format!("seed {seed}: rows are lost, and nothing is marked: {count:?}"));
    }
    if weather.spares && count.overwritten > 0 {
        return Some(format!("seed {seed}: rows were overwritten unread: {count:?}"));
    }
    if weather.spares && count.marks > 0 {
        return Some(format!("seed {seed}: {marked:?} is marked for nothing: {count:?}"));
    }
    if count.largest > weather.limit + ROOM {
        return Some(format!("seed {seed}: the WAL has no end: {count:?}"));
    }
    if count.longest > 2 * HOUR {
        return Some(format!("seed {seed}: the replica stands still: {count:?}"));
    }
    if std::env::var_os("GUARD_FIGURES").is_some() {
        eprintln!("{hours} h: {count:?}");
    }
    None
}

/// Litestream may hold its lock for two minutes while it waits for S3.
const ROOM: usize = 4000;

/// Runs the weather with both generations.
fn holds_in(name: &str, weather: Weather, seeds: u64, hours: u64) {
    for notes in [Notes::Ltx, Notes::Shadow] {
        for seed in 0..seeds {
            let broken = broken(&Weather { notes, ..weather }, seed, hours, None);
            assert_eq!(broken, None, "{name}, {notes:?}");
        }
    }
}

pub fn trouble(s3: S3) -> Weather {
    Weather { trouble: Some(s3), trouble_every: 10 * MINUTE, trouble_lasts: 5 * MINUTE, ..BUSY }
}

#[test]
fn nothing_is_marked_in_a_quiet_year() {
    assert_eq!(broken(&QUIET, 0, 24 * 365, None), None);
}

#[test]
fn nothing_is_marked_in_a_quiet_month_of_the_older_litestream() {
    assert_eq!(broken(&Weather { notes: Notes::Shadow, ..QUIET }, 0, 24 * 30, None), None);
}

/// Whatever S3 does, nothing is overwritten before it was read.
#[test]
fn no_row_is_overwritten_whatever_s3_answers() {
    let away = Weather { trouble_lasts: 20 * MINUTE, trouble_every: HOUR, ..trouble(S3::Away) };
    let long = Weather { trouble_lasts: 2 * HOUR, trouble_every: 3 * HOUR, ..BUSY };
    for (name, weather) in [
        ("busy", BUSY),
        ("refused", trouble(S3::Refuses(600))),
        ("refused for long", Weather { trouble: Some(S3::Refuses(600)), ..long }),
        ("slow", trouble(S3::Slow(3000))),
        ("away", away),
        ("suspended", Weather { suspends: 10 * MINUTE, ..trouble(S3::Refuses(600)) }),
        ("exec", Weather { executes: true, readers: 3000, ..trouble(S3::Refuses(600)) }),
        ("notes deleted", Weather { deletes: 30 * MINUTE, ..BUSY }),
    ] {
        holds_in(name, Weather { spares: true, ..weather }, 3, 6);
    }
}

/// What can't be kept from happening is found out.
#[test]
fn no_row_is_lost_without_a_mark() {
    for (name, weather) in [
        ("bursts", Weather { writes: Writes::Bursts, ..BUSY }),
        ("refused at once", trouble(S3::Refuses(30))),
        ("killed", Weather { kills: 3 * MINUTE, ..BUSY }),
        ("daemon killed", Weather { daemon_dies: 2 * MINUTE, ..BUSY }),
        ("socket", Weather { socket: MINUTE, ..BUSY }),
        ("socket, late", Weather { socket: MINUTE, late: 4000, ..BUSY }),
        ("truncates", Weather { truncates: 20_000, socket: MINUTE, ..BUSY }),
        ("no guard", Weather { not_taken: 0.3, ..trouble(S3::Refuses(600)) }),
        ("small limit", Weather { limit: 400, ..trouble(S3::Away) }),
        ("no barrier", Weather { has_barrier: false, interferes: 0.5, ..BUSY }),
        ("everything", everything()),
    ] {
        holds_in(name, weather, 3, 4);
    }
}

/// Where Litestream's position can't be read, its lock has to do: that of one that is stopped by
/// nobody but systemd.
#[test]
fn without_a_position_no_row_is_lost_without_a_mark_either() {
    let blind = Weather { blind: true, ..BUSY };
    holds_in("blind", blind, 3, 4);
    holds_in("blind and refused", Weather { blind: true, ..trouble(S3::Refuses(3000)) }, 3, 4);
}

pub fn everything() -> Weather {
    Weather {
        kills: 20 * MINUTE,
        daemon_dies: 15 * MINUTE,
        suspends: HOUR,
        socket: 10 * MINUTE,
        deletes: HOUR,
        truncates: 10 * MINUTE,
        not_taken: 0.05,
        late: 1000,
        ..trouble(S3::Refuses(600))
    }
}
