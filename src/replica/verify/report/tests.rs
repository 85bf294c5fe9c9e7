//! Each verdict with its first line.

use super::*;
use crate::replica::verify::{comparison::compare, tables::Table};

const LIMIT: Duration = Duration::from_secs(300);

fn comparison(live: &[i64], restored: &[i64]) -> Comparison {
    let all = |ids: &[i64]| ids.iter().copied().map(Ok::<i64, ()>).collect::<Vec<_>>();
    compare(all(live).into_iter(), all(restored).into_iter()).unwrap()
}

fn restored(live: &[i64], copy: &[i64]) -> HeartbeatRestored {
    HeartbeatRestored {
        bytes: 1_234_567,
        took: Duration::from_millis(3100),
        integrity: "ok".to_owned(),
        comparison: comparison(live, copy),
        lag: Duration::from_secs(8),
        tables: Tables::default(),
        is_sure: true,
        has_newest: true,
    }
}

fn report(found: HeartbeatFound) -> HeartbeatReport {
    HeartbeatReport {
        database: "/data/heartbeat.db".into(),
        suspect: MarkOutcome::None,
        not_proven: vec!["/data/app.db".into()],
        not_replicated: Vec::new(),
        litestream: "0.5.17".to_owned(),
        max_lag: LIMIT,
        found,
    }
}

fn judged(restored: HeartbeatRestored) -> (HeartbeatVerdict, String) {
    let report = report(HeartbeatFound::Restored(Box::new(restored)));
    (report.verdict(), report.summary())
}

/// Rows 3 and 4 of a table that the replica lacks.
fn gap() -> Tables {
    let missing = comparison(&[1, 3, 4, 5], &[1, 5]).missing;
    let samples = Table { name: "samples".to_owned(), missing, ..Table::default() };
    Tables { compared: vec![samples], ..Tables::default() }
}

#[test]
fn each_find_has_its_verdict() {
    let (verdict, line) = judged(restored(&[1, 2, 3], &[1, 2]));
    assert_eq!(verdict, HeartbeatVerdict::Whole);
    assert_eq!(line, "whole: 2 heartbeats, up to id 2, none missing in the replica");

    let (verdict, line) = judged(restored(&[1, 2, 3], &[1, 3]));
    assert_eq!(verdict, HeartbeatVerdict::RowsMissing);
    assert_eq!(line, "ROWS MISSING: 1 of 3 heartbeats are not in the replica: 2");

    let (verdict, line) = judged(restored(&[1, 3], &[1, 2, 3]));
    assert_eq!(verdict, HeartbeatVerdict::OtherDatabase);
    assert!(line.ends_with("it has 1 heartbeat that this database does not have: 2"), "{line}");

    let damaged = "row 7 missing from index a".to_owned();
    let (verdict, line) = judged(HeartbeatRestored { integrity: damaged, ..restored(&[], &[]) });
    assert_eq!(verdict, HeartbeatVerdict::Damaged);
    assert!(line.ends_with("not sound: row 7 missing from index a"), "{line}");

    let late = HeartbeatRestored { lag: Duration::from_secs(301), ..restored(&[1, 2, 3], &[1]) };
    let (verdict, line) = judged(late);
    assert_eq!(verdict, HeartbeatVerdict::Behind);
    assert_eq!(
        line,
        "behind: 2 heartbeats not in the replica yet, the oldest for 5 min \
         (EDGEROTATE_VERIFY_MAX_LAG is 5 min)"
    );
}

#[test]
fn a_replica_without_any_live_row_proves_nothing() {
    // Empty; and one of a database that was made anew since.
    for copy in [&[][..], &[1, 2]] {
        let (verdict, line) = judged(restored(&[8, 9], copy));
        assert_eq!(verdict, HeartbeatVerdict::TooEarly);
        assert_eq!(line, "too early to tell: the replica has none of the 2 heartbeats yet");
    }
    let early = report(HeartbeatFound::NoReplica { rows: 2, lag: Duration::from_secs(10) });
    assert_eq!((early.verdict(), early.verdict().exit_code()), (HeartbeatVerdict::TooEarly, 75));
    let late = report(HeartbeatFound::NoReplica { rows: 2, lag: Duration::from_secs(3 * 86_400) });
    assert_eq!(late.verdict(), HeartbeatVerdict::Behind);
    assert!(late.summary().contains("2 heartbeats waited for 3 days"), "{}", late.summary());
}

#[test]
fn a_gap_in_another_table_is_a_doubt_until_the_replica_has_moved_on() {
    let first =
        || HeartbeatRestored { tables: gap(), is_sure: false, ..restored(&[1, 2, 3], &[1, 2]) };
    assert!(first().is_in_doubt());
    assert_eq!(judged(first()).0, HeartbeatVerdict::TooEarly);

    // Still the same heartbeats in the replica, while newer ones are written.
    let same = first().again(first(), Some(3));
    assert!(same.is_in_doubt());
    // It has moved on, and the rows are missing all the same.
    let later = || HeartbeatRestored {
        tables: gap(),
        is_sure: false,
        ..restored(&[1, 2, 3, 4], &[1, 2, 3, 4])
    };
    let (verdict, line) = judged(first().again(later(), Some(3)));
    assert_eq!(verdict, HeartbeatVerdict::RowsMissing);
    assert!(line.ends_with("and not 2 rows of samples: 3-4"), "{line}");
    // They came: nothing was missing.
    let healed = HeartbeatRestored { tables: Tables::default(), is_sure: true, ..later() };
    assert_eq!(judged(first().again(healed, Some(3))).0, HeartbeatVerdict::Whole);
    // Heartbeats have stopped, and the replica has them all.
    let stopped =
        || HeartbeatRestored { tables: gap(), is_sure: false, ..restored(&[1, 2], &[1, 2]) };
    assert_eq!(judged(stopped().again(stopped(), Some(2))).0, HeartbeatVerdict::RowsMissing);
    // A table that was made just now is no loss before the replica has moved on.
    let made = |heartbeats: &[i64]| {
        let mut tables = gap();
        tables.compared[0].is_absent = true;
        HeartbeatRestored { tables, is_sure: false, ..restored(heartbeats, heartbeats) }
    };
    let waits = made(&[1, 2]).again(made(&[1, 2]), Some(2));
    assert_eq!(judged(waits.clone()).0, HeartbeatVerdict::TooEarly);
    assert_eq!(judged(waits.again(made(&[1, 2, 3]), Some(2))).0, HeartbeatVerdict::RowsMissing);
}

#[test]
fn the_text_is_short_and_says_what_to_do() {
    let missing = restored(&[1, 2, 3, 4], &[1, 4]);
    assert_eq!(
        report(HeartbeatFound::Restored(Box::new(missing))).text(),
        "ROWS MISSING: 2 of 4 heartbeats are not in the replica: 2-3\n  \
           database      /data/heartbeat.db\n  \
           restored      2 heartbeats, ids 1-4; 1.2 MB in 3.1 s\n  \
           integrity     ok\n  \
           newer rows    none\n  \
           litestream    0.5.17\n  \
           not looked at /data/app.db\n  \
           what to do    stop Litestream, run `litestream replicate -once -force-snapshot` as its \
           unit would, start \
         it, and verify again\n"
    );
    let old =
        HeartbeatReport { litestream: "0.3.13".to_owned(), ..report(HeartbeatFound::NoHeartbeat) };
    assert!(
        new_snapshot(&old.litestream, &old.database).contains("/data/.heartbeat.db-litestream,")
    );
    assert!(report(HeartbeatFound::NoHeartbeat).remedy().is_some());
}
