//! The lives that are played: calm ones, and others.

use super::{
    weather::{CALM, STORM},
    *,
};

#[test]
fn a_calm_year_has_no_gap_and_no_fetch_too_many() {
    let count = World::new(1, CALM).run(YEAR);
    // 899 s less the lead of 300 s and 5 % jitter: one fetch in about 554 s.
    let expected = YEAR.as_secs() / 554;
    assert_eq!(count.gaps, 0);
    // The last ones may still be under way.
    assert!(count.fetches - count.rotations <= 1, "{count:?}");
    assert!(count.rotations - count.restarts <= 1, "{count:?}");
    assert!(count.fetches.abs_diff(expected) < expected / 50, "{count:?}, expected {expected}");
}

/// SDKs ask again five minutes before expiry: whoever were given less would ask before each of its
/// requests.
#[test]
fn what_is_asked_for_in_a_calm_year_has_more_than_five_minutes_left_and_nothing_restarts() {
    let mut world = World::with(ENDPOINT, 1, CALM);
    let count = world.run(YEAR);
    assert!(count.rotations > 50_000 && count.gaps == 0, "{count:?}");
    assert_eq!(count.restarts, 1);
    assert!(world.lowest_left > Duration::from_secs(300), "{:?}", world.lowest_left);
}

#[test]
fn years_of_storms_hold_every_promise() {
    let mut all = Count::default();
    for seed in 0..4 {
        let policy = if seed == 3 { ENDPOINT } else { POLICY };
        let count = World::with(policy, seed, STORM).run(YEAR);
        all.fetches += count.fetches;
        all.rotations += count.rotations;
        all.restarts += count.restarts;
        all.restart_failures += count.restart_failures;
        all.retried += count.retried;
        all.gaps += count.gaps;
        all.pins += count.pins;
        all.pin_tries += count.pin_tries;
    }
    // The storms must have been real ones, or the checks along the way proved nothing.
    assert!(all.gaps > 1_000 && all.restart_failures > 10_000 && all.retried > 10_000, "{all:?}");
    assert!(all.pin_tries > 25 && all.pin_tries <= all.pins, "{all:?}");
    assert!(all.fetches > all.rotations && all.rotations > 50_000, "{all:?}");
}
