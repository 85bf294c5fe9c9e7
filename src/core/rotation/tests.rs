//! The state machine, step by step.

use super::{held::*, machine::*, policy::*};
use crate::core::{boottime::Boottime, class::Class};
use std::time::Duration;

const POLICY: Policy = Policy {
    lead: Duration::from_secs(300),
    jitter: 0.0,
    boot_spread: Duration::ZERO,
    delivery: HandOverPolicy::EachTime,
};
const HOUR: Duration = Duration::from_secs(3600);

fn s(seconds: u64) -> Boottime {
    Boottime::from_millis(seconds * 1000)
}

fn fresh() -> Rotation {
    Rotation::new(POLICY, 1, Left::default(), s(0))
}

fn fetch(rotation: &mut Rotation, now: Boottime) -> Fetch {
    match rotation.handle(Event::Woke, now).pop() {
        Some(Action::Fetch(fetch)) => fetch,
        other => panic!("no fetch but {other:?}"),
    }
}

/// Brings a fresh machine to the point where Litestream runs with credentials of an hour.
fn running() -> Rotation {
    let mut rotation = fresh();
    let fetch = fetch(&mut rotation, s(0));
    let Some(Action::Write(write)) =
        rotation.handle(Event::Fetched { fetch, lifetime: HOUR }, s(1)).pop()
    else {
        panic!("no write")
    };
    let Some(Action::Restart(restart)) = rotation.handle(Event::Written(write), s(1)).pop() else {
        panic!("no restart")
    };
    assert_eq!(rotation.handle(Event::Restarted(restart), s(3)), []);
    rotation
}

#[test]
fn fetches_at_once_then_writes_then_restarts_then_waits_until_five_minutes_before_expiry() {
    assert_eq!(running().next_wake(), Some(s(3600 - 300)));
}

#[test]
fn a_restart_that_is_wanted_is_one_with_the_same_credentials() {
    let mut rotation = running();
    let actions = rotation.handle(Event::RestartWanted, s(10));
    assert!(matches!(actions[..], [Action::Write(_)]), "{actions:?}");
    assert_eq!(rotation.handle(Event::RestartWanted, s(11)), [], "one is under way");
    assert_eq!(rotation.next_fetch(), Some(s(3600 - 300)));
    // Expired ones would be of no use; nor without any.
    let mut rotation = running();
    let actions = rotation.handle(Event::RestartWanted, s(3600));
    assert!(!actions.iter().any(|action| matches!(action, Action::Write(_))), "{actions:?}");
    let actions = fresh().handle(Event::RestartWanted, s(0));
    assert!(matches!(actions[..], [Action::Fetch(_)]), "{actions:?}");
}

#[test]
fn short_credentials_rotate_at_half_their_life_and_jitter_makes_it_earlier() {
    let held = Held { expires: s(1000), lifetime: Duration::from_secs(20) };
    assert_eq!(POLICY.rotation_due(held), s(990));
    assert_eq!(Policy { jitter: 1.0, ..POLICY }.rotation_due(held), s(988));
}

#[test]
fn retries_come_closer_together_as_the_expiry_does() {
    let mut rotation = running();
    let mut now = s(3300);
    let mut waits = Vec::new();
    while now < s(3600) {
        let fetch = fetch(&mut rotation, now);
        let failed = Event::FetchFailed { fetch, class: Class::Passing, retry_after: None };
        assert_eq!(rotation.handle(failed, now), []);
        let next = rotation.next_fetch().unwrap();
        assert!(next >= now + Duration::from_secs(1));
        let left = s(3600).since(now);
        assert!(next.since(now) <= (left / 2).max(Duration::from_secs(1)), "{now:?} {next:?}");
        waits.push(next.since(now));
        now = next;
    }
    assert!(waits.len() > 8, "{waits:?}");
}

#[test]
fn a_setup_fault_is_retried_slowly_and_retry_after_is_obeyed_up_to_its_bound() {
    let mut rotation = running();
    let ticket = fetch(&mut rotation, s(3300));
    rotation.handle(
        Event::FetchFailed { fetch: ticket, class: Class::Setup, retry_after: None },
        s(3301),
    );
    assert!(rotation.next_fetch().unwrap() >= s(3331));

    let mut rotation = fresh();
    let ticket = fetch(&mut rotation, s(0));
    let retry_after = Some(Duration::from_secs(86_400));
    rotation.handle(Event::FetchFailed { fetch: ticket, class: Class::Passing, retry_after }, s(0));
    let next = rotation.next_fetch().unwrap();
    assert!(next >= s(300) && next <= s(331), "{next:?}");
}

/// A bus that is late is there in a moment; one that stays away must not be asked for ever as if it
/// came.
#[test]
fn a_device_that_does_not_answer_is_tried_soon_and_then_slowly() {
    let (mut rotation, mut now, mut waits) = (fresh(), s(0), Vec::new());
    for _ in 0..20 {
        let fetch = fetch(&mut rotation, now);
        rotation.handle(Event::FetchFailed { fetch, class: Class::Device, retry_after: None }, now);
        let next = rotation.next_fetch().unwrap();
        waits.push(next.since(now));
        now = next;
    }
    let (soon, slow) = waits.split_at(6);
    assert!(soon.iter().sum::<Duration>() <= Duration::from_secs(126), "{soon:?}");
    let range = Duration::from_secs(30)..=Duration::from_secs(900);
    assert!(slow.iter().all(|wait| range.contains(wait)), "{slow:?}");

    // But good credentials do not expire for it.
    let (mut rotation, mut now) = (running(), s(3300));
    while now < s(3590) {
        let fetch = fetch(&mut rotation, now);
        rotation.handle(Event::FetchFailed { fetch, class: Class::Device, retry_after: None }, now);
        let next = rotation.next_fetch().unwrap();
        let left = s(3600).since(now);
        assert!(next.since(now) <= (left / 2).max(Duration::from_secs(1)), "{now:?} {next:?}");
        now = next;
    }
}

#[test]
fn a_refused_pin_is_looked_at_but_not_tried_until_it_changes() {
    let mut rotation = fresh();
    let ticket = fetch(&mut rotation, s(0));
    rotation.handle(
        Event::FetchFailed { fetch: ticket, class: Class::PinRefused, retry_after: None },
        s(1),
    );
    for minute in 1..100 {
        assert_eq!(rotation.handle(Event::Woke, s(minute * 60)), [Action::LookAtPin]);
    }
    assert!(matches!(rotation.handle(Event::PinChanged, s(6000))[..], [Action::Fetch(_)]));
}

#[test]
fn a_failed_restart_is_tried_again_while_the_next_rotation_goes_on() {
    let mut rotation = running();
    let ticket = fetch(&mut rotation, s(3300));
    let Some(Action::Write(write)) =
        rotation.handle(Event::Fetched { fetch: ticket, lifetime: HOUR }, s(3301)).pop()
    else {
        panic!("no write")
    };
    let Some(Action::Restart(mut restart)) = rotation.handle(Event::Written(write), s(3301)).pop()
    else {
        panic!("no restart")
    };
    let mut now = s(3302);
    for failures in 1..10 {
        assert_eq!(rotation.handle(Event::RestartFailed(restart), now), []);
        now = rotation.next_wake().unwrap();
        match rotation.handle(Event::Woke, now).pop() {
            Some(Action::Restart(again)) => restart = again,
            other => panic!("no restart but {other:?}"),
        }
        assert_eq!(restart.failures(), failures);
    }
    // Newer credentials come while the restart hangs: they are written once it has ended.
    let ticket = fetch(&mut rotation, s(3300 + 3300));
    let fetched = Event::Fetched { fetch: ticket, lifetime: HOUR };
    assert_eq!(rotation.handle(fetched, s(6601)), []);
    let after = rotation.handle(Event::RestartFailed(restart), s(6602));
    assert!(matches!(after[..], [Action::Write(_)]), "{after:?}");
}

#[test]
fn expiry_is_said_once() {
    let mut rotation = running();
    // A fetch that does not end.
    let _ticket = fetch(&mut rotation, s(3300));
    assert_eq!(rotation.next_wake(), Some(s(3600)));
    assert_eq!(rotation.handle(Event::Woke, s(3600)), [Action::SayExpired]);
    assert_eq!(rotation.handle(Event::Woke, s(3700)), []);
}

#[test]
fn good_credentials_of_an_earlier_daemon_are_taken_up_again() {
    let held = Held { expires: s(3600), lifetime: HOUR };
    let resume = |handed_over, now| {
        let left = Left { resumed: Some(Resumed { held, handed_over }), ..Left::default() };
        let mut rotation = Rotation::new(POLICY, 1, left, now);
        (rotation.handle(Event::Woke, now), rotation)
    };
    let (actions, rotation) = resume(true, s(100));
    assert_eq!((actions, rotation.next_wake()), (vec![], Some(s(3300))));
    let (actions, _) = resume(false, s(100));
    assert!(matches!(actions[..], [Action::Write(_)]), "{actions:?}");
    let (actions, _) = resume(true, s(3600));
    assert!(matches!(actions[..], [Action::Fetch(_)]), "{actions:?}");
    // Overdue but unexpired: not all devices of the fleet at once.
    let (actions, rotation) = resume(true, s(3400));
    assert_eq!(actions, []);
    assert!(rotation.next_fetch().unwrap() <= s(3500));
}

#[test]
fn where_litestream_asks_itself_it_is_started_once_and_before_any_credentials() {
    let once = |done| Policy { delivery: HandOverPolicy::Once { done }, ..POLICY };
    let mut rotation = Rotation::new(once(false), 1, Left::default(), s(0));
    let mut actions = rotation.handle(Event::Woke, s(0));
    let (Some(Action::Write(write)), Some(Action::Fetch(ticket))) = (actions.pop(), actions.pop())
    else {
        panic!("no write and no fetch")
    };
    assert!(!rotation.is_handed_over());
    let Some(Action::Restart(restart)) = rotation.handle(Event::Written(write), s(0)).pop() else {
        panic!("no restart")
    };
    // Credentials that come meanwhile are served; there is nothing to write.
    assert_eq!(rotation.handle(Event::Fetched { fetch: ticket, lifetime: HOUR }, s(1)), []);
    assert_eq!(rotation.handle(Event::Restarted(restart), s(2)), []);
    assert!(rotation.is_handed_over());
    let ticket = fetch(&mut rotation, s(3300));
    assert_eq!(rotation.handle(Event::Fetched { fetch: ticket, lifetime: HOUR }, s(3301)), []);
    assert_eq!(rotation.next_wake(), Some(s(6600)));

    // The daemon alone was restarted; then nothing is done for Litestream, with credentials at hand
    // or without.
    let held = Held { expires: s(3600), lifetime: HOUR };
    let left = Left { resumed: Some(Resumed { held, handed_over: true }), ..Left::default() };
    let mut rotation = Rotation::new(once(true), 1, left, s(100));
    assert_eq!(rotation.handle(Event::Woke, s(100)), []);
    let mut rotation = Rotation::new(once(true), 1, Left::default(), s(100));
    assert!(matches!(rotation.handle(Event::Woke, s(100))[..], [Action::Fetch(_)]));
}

#[test]
fn what_the_boot_starts_asks_within_the_spread_and_a_later_start_at_once() {
    let spread = Duration::from_secs(90);
    let policy = Policy { boot_spread: spread, ..POLICY };
    let first = |seed, now| Rotation::new(policy, seed, Left::default(), now).next_fetch().unwrap();
    let waits: Vec<_> = (0..100).map(|seed| first(seed, s(20)).since(s(20))).collect();
    assert!(waits.iter().all(|wait| *wait <= spread), "{waits:?}");
    let [least, most] = [waits.iter().min().unwrap(), waits.iter().max().unwrap()];
    assert!(*least < spread / 10 && *most > spread * 9 / 10, "{least:?} {most:?}");
    assert_eq!(first(1, s(300)), s(300));
}

#[test]
fn a_daemon_that_starts_again_while_the_device_boots_does_not_wait_anew() {
    let spread = Duration::from_secs(90);
    let policy = Policy { boot_spread: spread, ..POLICY };
    let first = Rotation::new(policy, 1, Left::default(), s(20));
    let turn = first.turn();
    assert_eq!(turn, first.next_fetch());
    let again = |policy, now| {
        let rotation = Rotation::new(policy, 2, Left { turn, ..Left::default() }, now);
        (rotation.turn(), rotation.next_fetch().unwrap())
    };
    for now in 20..110 {
        let (kept, at) = again(policy, s(now));
        assert_eq!((kept, at), (turn, turn.unwrap().max(s(now))));
    }
    // Late, or by a setting that was made shorter since: it waits no longer than that.
    assert_eq!(again(policy, s(300)).1, s(300));
    assert_eq!(again(POLICY, s(20)).1, s(20));
    assert_eq!(again(Policy { boot_spread: Duration::from_secs(1), ..POLICY }, s(20)).1, s(21));
    // Where credentials are at hand, no turn is drawn that a later daemon would wait for.
    let resumed =
        Some(Resumed { held: Held { expires: s(3600), lifetime: HOUR }, handed_over: true });
    assert_eq!(Rotation::new(policy, 1, Left { resumed, ..Left::default() }, s(20)).turn(), None);
}

#[test]
fn a_program_that_wants_credentials_brings_a_retry_nearer_and_not_more_often_than_once_in_50_s() {
    let mut rotation = fresh();
    let mut now = s(0);
    // An outage, until the waits are at their longest.
    let mut failed_at = s(0);
    for _ in 0..12 {
        let fetch = fetch(&mut rotation, now);
        let failed = Event::FetchFailed { fetch, class: Class::Passing, retry_after: None };
        rotation.handle(failed, now);
        failed_at = now;
        now = rotation.next_fetch().unwrap();
    }
    let mut brought_nearer = 0;
    for _ in 0..40 {
        let planned = rotation.next_fetch().unwrap();
        assert_eq!(rotation.handle(Event::CredentialsWanted, failed_at), []);
        let wanted = rotation.next_fetch().unwrap();
        assert_eq!(wanted, planned.min(failed_at + WANTED_PAUSE));
        // Asking again changes nothing.
        rotation.handle(Event::CredentialsWanted, failed_at);
        assert_eq!(rotation.next_fetch(), Some(wanted));
        brought_nearer += u32::from(wanted < planned);
        let fetch = fetch(&mut rotation, wanted);
        let failed = Event::FetchFailed { fetch, class: Class::Passing, retry_after: None };
        rotation.handle(failed, wanted);
        failed_at = wanted;
    }
    assert!(brought_nearer > 10, "{brought_nearer} of 40");

    // What the provider asked for holds, and what a person must mend is not tried more often.
    for (class, retry_after) in
        [(Class::Passing, Some(Duration::from_secs(200))), (Class::Setup, None)]
    {
        let mut rotation = fresh();
        let fetch = fetch(&mut rotation, s(0));
        rotation.handle(Event::FetchFailed { fetch, class, retry_after }, s(0));
        let planned = rotation.next_fetch();
        rotation.handle(Event::CredentialsWanted, s(1));
        assert_eq!(rotation.next_fetch(), planned, "{class:?}");
    }
    // A boot's turn is not brought nearer, nor is a rotation.
    let mut rotation = running();
    rotation.handle(Event::CredentialsWanted, s(10));
    assert_eq!(rotation.next_fetch(), Some(s(3600 - 300)));
}
