//! Single steps of the machine; whole lives are the simulation's.

use std::time::Duration;

use super::{
    look::{
        Awake, Before, LitestreamRun, Look, Notes, Position, Read, ReaderLock, Salts, Slot, Tail,
        Wal,
    },
    *,
};

const FRAME: u64 = 4120;

const LIMITS: Limits =
    Limits { time: Duration::from_secs(120), wal: 1000 * FRAME, still: Duration::from_secs(60) };

fn at(seconds: u64) -> Awake {
    Duration::from_secs(seconds)
}

/// Litestream runs, holds a lock and has read all of a small WAL.
fn well() -> Look {
    let salts = Salts(7, 70);
    let end = 32 + 20 * FRAME;
    Look {
        file: Some((1, 1)),
        wal: Some(Wal { salts: Some(salts), end, copied: false, changes: 20, commits: None }),
        position: Position::Read(Read {
            notes: Notes::Ltx,
            serial: 9,
            salts,
            end,
            whole: false,
            before: None,
        }),
        tail: Tail::Read,
        own: Some(Slot::Pins),
        run: LitestreamRun::Running(1),
        lock: Some(ReaderLock { pid: 42, slot: Slot::Pins }),
        was_replicated: true,
    }
}

/// The same when more was written and read.
fn further(look: Look, frames: u64) -> Look {
    let Position::Read(read) = look.position else { panic!("{look:?}") };
    let more = frames * FRAME;
    let wal = look.wal.map(|wal| Wal { end: wal.end + more, ..wal });
    let read = Read { serial: read.serial + 1, end: read.end + more, ..read };
    Look { wal, position: Position::Read(read), ..look }
}

fn guarded() -> Machine {
    let mut machine = Machine::new(LIMITS, false, None, at(0));
    assert_eq!(machine.handle(Event::Looked(well()), at(0)), [Action::Take]);
    assert_eq!(machine.handle(Event::Taken, at(0)), []);
    machine
}

fn handed_over() -> Machine {
    let mut machine = guarded();
    let actions = machine.handle(Event::Looked(further(well(), 1)), at(1));
    assert_eq!(actions, [Action::LetGo(Proof::Read)]);
    machine
}

#[test]
fn a_lock_alone_is_no_proof_and_a_litestream_with_nothing_to_read_is_given_something() {
    let mut machine = guarded();
    assert_eq!(machine.handle(Event::Looked(well()), at(1)), [Action::Nudge]);
    for second in 2..14 {
        assert_eq!(machine.handle(Event::Looked(well()), at(second)), [], "{second}");
    }
    let read = Look { lock: None, ..further(well(), 1) };
    assert_eq!(machine.handle(Event::Looked(read), at(15)), [], "what was read is no lock");
    let actions = machine.handle(Event::Looked(further(well(), 1)), at(16));
    assert_eq!(actions, [Action::LetGo(Proof::Read)]);
}

#[test]
fn a_lock_that_goes_is_replaced_by_the_guard() {
    let mut machine = handed_over();
    let look = Look { lock: None, own: None, ..further(well(), 1) };
    assert_eq!(machine.handle(Event::Looked(look), at(20)), [Action::Take]);
}

#[test]
fn another_file_is_marked_guarded_and_has_litestream_restarted_once() {
    let mut machine = handed_over();
    let look = Look { file: Some((1, 2)), wal: None, own: None, ..further(well(), 1) };
    let actions = machine.handle(Event::Looked(look), at(20));
    let ask = Action::AskForRestart(RestartCause::Exchanged);
    assert_eq!(actions, [Action::Mark(MarkReason::Exchanged), Action::Take, ask]);
    machine.handle(Event::Taken, at(20));
    assert!(!machine.handle(Event::Looked(look), at(30)).contains(&ask));
    assert!(machine.handle(Event::Looked(look), at(700)).contains(&ask), "and again, if it failed");
    let restarted = Look { run: LitestreamRun::Running(2), lock: None, ..look };
    assert!(!machine.handle(Event::Looked(restarted), at(5000)).contains(&ask));
}

#[test]
fn what_waits_to_be_read_for_too_long_is_said_and_litestream_restarted() {
    let mut machine = handed_over();
    let mut look = further(well(), 1);
    look.own = None;
    look.position = Position::Nothing;
    assert_eq!(machine.handle(Event::Looked(look), at(10)), []);
    assert_eq!(machine.stands_still(at(69)), None);
    assert_eq!(
        machine.handle(Event::Looked(look), at(70)),
        [Action::AskForRestart(RestartCause::StandsStill)]
    );
    assert_eq!(machine.stands_still(at(75)), Some(at(65)));
    assert_eq!(machine.handle(Event::Looked(look), at(200)), []);
}

#[test]
fn a_wal_that_stays_beyond_its_limit_is_said_once_while_litestream_keeps_it() {
    let mut machine = handed_over();
    let large = Look { own: None, ..further(well(), 1200) };
    assert_eq!(machine.handle(Event::Looked(large), at(10)), []);
    assert!(!machine.is_large());
    assert_eq!(machine.handle(Event::Looked(further(large, 1)), at(70)), [Action::SayLarge]);
    assert_eq!(machine.handle(Event::Looked(further(large, 2)), at(80)), []);
    assert!(machine.is_large());
    machine.handle(Event::Looked(Look { own: None, ..further(well(), 2) }), at(90));
    assert!(!machine.is_large());
}

#[test]
fn a_wal_that_litestream_let_grow_is_held_over_its_restart() {
    let mut machine = handed_over();
    let large = Look { own: None, ..further(well(), 1200) };
    machine.handle(Event::Looked(large), at(10));
    assert_eq!(machine.handle(Event::RestartBegins, at(11)), [Action::Take]);
    machine.handle(Event::Taken, at(11));
    let stopped = Look { run: LitestreamRun::Stopped, lock: None, own: Some(Slot::Pins), ..large };
    assert_eq!(machine.handle(Event::Looked(stopped), at(12)), []);
    let larger = Look { run: LitestreamRun::Stopped, lock: None, ..further(stopped, 250) };
    let actions = machine.handle(Event::Looked(larger), at(13));
    let [mark, copied] = [MarkReason::TooLarge, MarkReason::Copied].map(Action::Mark);
    assert_eq!(actions, [mark, Action::GiveUp, copied, Action::Checkpoint]);
}

/// The WAL began anew: what is marked, by what is left of the old one.
#[test]
fn a_wal_that_began_anew_is_judged_by_what_was_read_of_the_old_one() {
    for (tail, commits, whole, marked) in [
        (Tail::Read, None, false, None),
        (Tail::Unread, None, false, Some(MarkReason::Unread)),
        (Tail::Unread, None, true, None),
        (Tail::Gone, None, false, Some(MarkReason::Unproven)),
        // All transactions since the last look are in the new one.
        (Tail::Gone, Some(30), false, None),
        (Tail::Gone, Some(28), false, Some(MarkReason::Unproven)),
    ] {
        let mut machine = handed_over();
        let last = further(well(), 1);
        let Position::Read(read) = last.position else { panic!() };
        let salts = Salts(8, 80);
        let end = 32 + 30 * FRAME;
        let before = Some(Before { salts: read.salts, end: read.end, tail });
        let read = Read { salts, end, whole, before, serial: 12, ..read };
        let wal = Wal { salts: Some(salts), end, copied: false, changes: 50, commits };
        let position = Position::Read(read);
        let look = Look { wal: Some(wal), position, own: None, ..last };
        let marks: Vec<_> = marked.into_iter().map(Action::Mark).collect();
        assert_eq!(machine.handle(Event::Looked(look), at(20)), marks, "{tail:?} {commits:?}");
        assert_eq!(machine.handle(Event::Looked(look), at(30)), [], "once");
    }
}

#[test]
fn a_guard_that_can_t_be_had_marks_a_restart_and_not_a_database_that_is_missing() {
    for (missing, marks) in [(false, vec![Action::Mark(MarkReason::Unguarded)]), (true, vec![])] {
        let mut machine = Machine::new(LIMITS, false, None, at(0));
        assert_eq!(machine.handle(Event::RestartBegins, at(1)), [Action::Take]);
        assert_eq!(machine.handle(Event::NotTaken { missing }, at(1)), marks);
    }
}

#[test]
fn the_next_daemon_leaves_the_wal_to_the_litestream_that_kept_it() {
    let machine = handed_over();
    let look = Look { own: None, ..further(well(), 1) };
    let mut next = Machine::new(LIMITS, false, Some(machine.memory()), at(30));
    assert_eq!(next.handle(Event::Looked(look), at(30)), []);
    assert_eq!(next.keeper, Keeper::Litestream);
    let mut next = Machine::new(LIMITS, false, Some(machine.memory()), at(30));
    let look = Look { run: LitestreamRun::Running(2), ..look };
    assert_eq!(next.handle(Event::Looked(look), at(30)), [Action::Take]);
}
