//! How long a heartbeat takes beside a busy writer, with and without the guard.

use std::time::{Duration, Instant};

use chrono::Utc;
use edgerotate::{
    core::heartbeat::Ids,
    replica::{guard::transaction::Guard, heartbeat_store::HeartbeatStore},
    system::file_system::is_volatile,
};

use crate::{
    Effort, Part, Skipped,
    report::Figures,
    statistics::{Summary, quantile},
    support::{Process, SOON, Scratch, database, process::tied, wait_until},
};

pub const PART: Part = Part {
    name: "heartbeat",
    title: "A heartbeat, with and without the guard",
    needs: "python3 with sqlite3, for the other writer",
    counts: false,
    measure,
};

/// Between two heartbeats, so that the other writer has its turn.
const PAUSE: Duration = Duration::from_millis(20);

/// Another program: 200 rows a second by the clock, each a transaction, with SQLite's own
/// checkpoints.
const WRITER: &str = "
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
c.execute('PRAGMA synchronous = NORMAL')
c.execute('CREATE TABLE filling (id INTEGER PRIMARY KEY, filling BLOB)')
due = time.monotonic()
while True:
    c.execute('INSERT INTO filling (filling) VALUES (zeroblob(100))')
    due = max(due + 0.005, time.monotonic() - 1)
    time.sleep(max(0, due - time.monotonic()))
";

fn measure(effort: Effort) -> Result<Figures, Skipped> {
    let scratch = Scratch::new("bench-heartbeat");
    let path = scratch.join("device.db");
    let mut store = HeartbeatStore::open(&path, 0).expect("a database");
    let mut ids = Ids::starting_at(Utc::now());
    store.beat(&mut ids, 0).expect("a row");
    let _writer = Process::start(
        "the other writer",
        tied("python3").args(["-c", WRITER]).arg(&path),
        &scratch.join("writer.log"),
    );
    let look = database::open(&path).expect("the database");
    let written = || -> i64 {
        look.query_row("SELECT max(id) FROM filling", (), |row| row.get(0)).unwrap_or(0)
    };
    wait_until("the other writer", SOON, || written() > 200);

    let (pairs, beats) = (effort.pick(2, 10), effort.pick(40, 100));
    let [mut medians, mut tails] = [[vec![], vec![]], [vec![], vec![]]];
    let (begin, first) = (Instant::now(), written());
    for _ in 0..pairs {
        for guarded in [false, true] {
            let guard = guarded.then(|| pinning(&path, &mut store, &mut ids));
            let times: Vec<f64> = (0..beats)
                .map(|_| {
                    std::thread::sleep(PAUSE);
                    let begin = Instant::now();
                    store.beat(&mut ids, 0).expect("a row");
                    begin.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            drop(guard);
            medians[usize::from(guarded)].push(quantile(&times, 0.5));
            tails[usize::from(guarded)].push(quantile(&times, 0.95));
        }
    }
    let rate = (written() - first) as f64 / begin.elapsed().as_secs_f64();

    let mut figures = Figures::default();
    figures.add("guarded ÷ unguarded: median", Summary::of_ratios(&medians[1], &medians[0]), "×");
    figures.add(
        "guarded ÷ unguarded: one in twenty takes longer",
        Summary::of_ratios(&tails[1], &tails[0]),
        "×",
    );
    for (guarded, name) in ["unguarded", "guarded"].into_iter().enumerate() {
        figures.add(format!("{name}: median"), Summary::of(&medians[guarded]), "ms");
        figures.add(
            format!("{name}: one in twenty takes longer"),
            Summary::of(&tails[guarded]),
            "ms",
        );
    }
    figures.count("rows of the other writer", rate, "per second");
    figures.note(format!(
        "{pairs} times {beats} heartbeats without the guard and as many with it, in turn, by the \
         library's own code, each \
         a transaction with an fsync; the other writer is another process."
    ));
    if is_volatile(&path).unwrap_or(false) {
        figures.note("TMPDIR is in memory here, where an fsync costs nothing: set it to a disk.");
    }
    Ok(figures)
}

/// A guard that holds a slot which pins the WAL. Where all of it is copied already a row has to
/// come first.
fn pinning(path: &std::path::Path, store: &mut HeartbeatStore, ids: &mut Ids) -> Guard {
    store.beat(ids, 0).expect("a row");
    let mut guard = Guard::take(path).expect("a guard");
    let begin = Instant::now();
    while !guard.pins() {
        assert!(begin.elapsed() < SOON, "the guard pins nothing");
        store.beat(ids, 0).expect("a row");
        guard.renew().expect("a guard");
    }
    guard
}
