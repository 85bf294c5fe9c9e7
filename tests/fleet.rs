//! Ten thousand devices at one provider: how many ask in each second.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says so")]
#![allow(clippy::print_stderr, reason = "the figures are for docs/performance.md")]

#[path = "fleet/simulation.rs"]
mod simulation;

use simulation::{DEVICES, HOUR, MOST, Run, most};

#[test]
fn a_fleet_that_started_in_one_second_drifts_apart() {
    let apart = Run { hours: 12, jitter: true, outage: 0..0 }.requests();
    let together = Run { hours: 12, jitter: false, outage: 0..0 }.requests();
    let spans = [0..HOUR / 2, HOUR / 2..2 * HOUR, 11 * HOUR..12 * HOUR];
    let seen = [&apart, &together].map(|r| spans.clone().map(|span| most(r, span)));
    eprintln!(
        "most in a second, at power-up, at the first rotation, in the twelfth hour: {seen:?}"
    );
    assert!(seen[0][0] <= MOST && seen[0][1] < MOST / 2 && seen[0][2] < MOST / 4, "{seen:?}");
    assert_eq!(seen[1], [DEVICES; 3], "what the jitter prevents");
    // It costs no more than the tenth of a lifetime that it may.
    let [apart, together] = [apart, together].map(|requests| requests.iter().sum::<usize>());
    assert!(apart.abs_diff(together) < together / 10, "{apart} and {together} requests");
}

#[test]
fn an_outage_does_not_end_in_a_wave() {
    let outage = 9000..9000 + 20 * 60;
    let requests = Run { hours: 5, jitter: true, outage: outage.clone() }.requests();
    let seen = most(&requests, outage.end..5 * HOUR);
    eprintln!("most in a second after the outage: {seen}, in it: {}", most(&requests, outage));
    assert!(seen <= MOST, "{seen} requests in a second");
}
