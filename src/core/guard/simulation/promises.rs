//! What holds in every weather.

use super::{
    Count, HOUR, MINUTE, S3, live,
    weather::{BUSY, QUIET, Weather, Writes},
};
use crate::core::guard::look::Notes;

/// Each row is in the replica, or it is marked. Returns what was counted.
fn keeps_its_promise(name: &str, weather: Weather, seeds: u64, hours: u64) -> Count {
    let mut sum = Count::default();
    for seed in 0..seeds {
        let (count, marked) = live(seed, weather, hours, None);
        assert!(
            count.missing == 0 || marked.is_some(),
            "{name}, seed {seed}: {} rows are missing, and nothing is marked: {count:?}",
            count.missing
        );
        sum.rows += count.rows;
        sum.restarts += count.restarts;
        sum.looks += count.looks;
        sum.hand_overs += count.hand_overs;
        sum.marks += count.marks;
        sum.asked += count.asked;
        sum.missing += count.missing;
    }
    println!("{name}: {} h: {sum:?}", seeds * hours);
    sum
}

#[test]
fn nothing_is_marked_in_a_quiet_year() {
    for notes in [Notes::Ltx, Notes::Shadow] {
        let count = keeps_its_promise("quiet", Weather { notes, ..QUIET }, 12, 24 * 30);
        assert_eq!((count.marks, count.missing), (0, 0));
    }
}

/// All kinds of trouble, each with both generations.
#[test]
fn no_row_is_lost_without_a_mark() {
    let trouble = |s3| Weather {
        trouble: Some(s3),
        trouble_every: 10 * MINUTE,
        trouble_lasts: 5 * MINUTE,
        ..BUSY
    };
    let weathers = [
        ("busy", BUSY),
        ("bursts", Weather { writes: Writes::Bursts, ..BUSY }),
        ("refused", trouble(S3::Refuses(600))),
        ("refused at once", trouble(S3::Refuses(30))),
        ("slow", trouble(S3::Slow(3000))),
        ("away", Weather { trouble_lasts: 20 * MINUTE, trouble_every: HOUR, ..trouble(S3::Away) }),
        ("killed", Weather { kills: 3 * MINUTE, ..BUSY }),
        ("daemon killed", Weather { daemon_dies: 2 * MINUTE, ..BUSY }),
        ("suspended", Weather { suspends: 10 * MINUTE, ..trouble(S3::Refuses(600)) }),
        ("socket", Weather { socket: MINUTE, ..BUSY }),
        ("socket, late", Weather { socket: MINUTE, late: 4000, ..BUSY }),
        ("notes deleted", Weather { deletes: 30 * MINUTE, ..BUSY }),
        ("truncates", Weather { truncates: 20_000, ..BUSY }),
        ("exec", Weather { executes: true, readers: 3000, ..trouble(S3::Refuses(600)) }),
        ("no guard", Weather { not_taken: 0.3, ..trouble(S3::Refuses(600)) }),
        ("small limit", Weather { limit: 400, ..trouble(S3::Away) }),
        ("no barrier", Weather { has_barrier: false, interferes: 0.5, ..BUSY }),
        (
            "everything",
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
            },
        ),
    ];
    for (name, weather) in weathers {
        for notes in [Notes::Ltx, Notes::Shadow] {
            keeps_its_promise(&format!("{name}, {notes:?}"), Weather { notes, ..weather }, 10, 8);
        }
    }
}

/// Where Litestream's position can't be read, its lock has to do: that of one that is stopped by nobody but systemd.
#[test]
fn without_a_position_no_row_is_lost_without_a_mark_either() {
    let blind = Weather { blind: true, ..BUSY };
    let refused = Weather {
        trouble: Some(S3::Refuses(3000)),
        trouble_every: 10 * MINUTE,
        trouble_lasts: 5 * MINUTE,
        ..blind
    };
    for (name, weather) in [("blind", blind), ("blind and refused", refused)] {
        keeps_its_promise(name, weather, 10, 8);
    }
}
