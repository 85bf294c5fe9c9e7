//! Ten thousand devices at one provider: how many ask in each second. The state machine is the real one; there are no
//! sockets, and the time is an argument.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says so")]
#![allow(clippy::print_stderr, reason = "the figures are for docs/performance.md")]

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, time::Duration};

use edgerotate::{
    backoff::Random,
    clock::Boottime,
    failure::Class,
    rotation::{Action, Delivery, Event, Fetch, Policy, Rotation},
};

const DEVICES: usize = 10_000;
/// So many may ask in one second: 2 % of the fleet.
const MOST: usize = DEVICES / 50;
const LIFETIME: Duration = Duration::from_secs(3600);
/// A fetch takes this long, and so does one that fails.
const FETCH: Duration = Duration::from_millis(500);
/// The setting's default.
const BOOT_SPREAD: Duration = Duration::from_secs(90);
const HOUR: u64 = 3600;
const START: Boottime = Boottime::from_millis(5_000);

/// What a fleet does in a span: its requests by the second.
struct Run {
    hours: u64,
    /// Whether the fleet is spread: at boot, and by each device's place in it, which is its own as its certificate is.
    jitter: bool,
    /// The seconds in which the provider is away.
    outage: Range<u64>,
}

/// What waits for its time: first in, first out, so that a run repeats itself.
type Queue = BinaryHeap<Reverse<(Boottime, usize, bool)>>;

struct Device {
    rotation: Rotation,
    under_way: Option<Fetch>,
}

impl Run {
    fn requests(&self) -> Vec<usize> {
        let mut places = Random::new(1);
        let mut devices: Vec<Device> = (0..DEVICES as u64)
            .map(|seed| {
                let place = places.share();
                let policy = Policy {
                    lead: Duration::from_secs(300),
                    jitter: if self.jitter { place } else { 0.5 },
                    boot_spread: if self.jitter { BOOT_SPREAD } else { Duration::ZERO },
                    delivery: Delivery::EachTime,
                };
                let rotation = Rotation::new(policy, seed, None, false, START);
                Device { rotation, under_way: None }
            })
            .collect();
        let mut requests = vec![0; (self.hours * HOUR) as usize];
        let first = |n: usize| devices[n].rotation.next_wake().expect("its first fetch");
        let mut queue: Queue = (0..DEVICES).map(|n| Reverse((first(n), n, false))).collect();
        while let Some(Reverse((now, n, ends))) = queue.pop() {
            let second = now.since(START).as_secs();
            let Some(count) = requests.get_mut(second as usize) else { break };
            let device = &mut devices[n];
            let event = match device.under_way.take() {
                Some(fetch) if ends => self.answer(fetch),
                // It woke for something that has come to its end meanwhile.
                under_way => {
                    device.under_way = under_way;
                    if device.rotation.next_wake().is_none_or(|wake| wake > now) {
                        continue;
                    }
                    Event::Woke
                }
            };
            let mut events = vec![event];
            while let Some(event) = events.pop() {
                for action in device.rotation.handle(event, now) {
                    match action {
                        Action::Fetch(fetch) => {
                            *count += 1;
                            device.under_way = Some(fetch);
                            queue.push(Reverse((now + FETCH, n, true)));
                        }
                        Action::Write(write) => events.push(Event::Written(write)),
                        Action::Restart(restart) => events.push(Event::Restarted(restart)),
                        Action::LookAtPin | Action::SayExpired => {}
                    }
                }
            }
            if let Some(wake) = device.rotation.next_wake() {
                queue.push(Reverse((wake.max(now), n, false)));
            }
        }
        requests
    }

    fn answer(&self, fetch: Fetch) -> Event {
        let second = fetch.begun().since(START).as_secs();
        if self.outage.contains(&second) {
            Event::FetchFailed { fetch, class: Class::Passing, retry_after: None }
        } else {
            Event::Fetched { fetch, lifetime: LIFETIME }
        }
    }
}

/// The most requests in one second of a span.
fn most(requests: &[usize], span: Range<u64>) -> usize {
    let most = requests[span.start as usize..span.end as usize].iter().max();
    most.copied().expect("a span that is not empty")
}

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
