//! A fleet without sockets: the state machine is the real one, and the time is an argument.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, time::Duration};

use edgerotate::core::{
    backoff::Random,
    boottime::Boottime,
    class::Class,
    rotation::{Action, Event, Fetch, HandOverPolicy, Left, Policy, Rotation},
};

pub const DEVICES: usize = 10_000;
/// So many may ask in one second: 2 % of the fleet.
pub const MOST: usize = DEVICES / 50;
const LIFETIME: Duration = Duration::from_secs(3600);
/// A fetch takes this long, and so does one that fails.
const FETCH: Duration = Duration::from_millis(500);
/// The setting's default.
const BOOT_SPREAD: Duration = Duration::from_secs(90);
pub const HOUR: u64 = 3600;
const START: Boottime = Boottime::from_millis(5_000);

/// What a fleet does in a span: its requests by the second.
pub struct Run {
    pub hours: u64,
    /// Whether the fleet is spread: at boot, and by each device's place in it, which is its own as
    /// its certificate is.
    pub jitter: bool,
    /// The seconds in which the provider is away.
    pub outage: Range<u64>,
}

/// What waits for its time: first in, first out, so that a run repeats itself.
type Queue = BinaryHeap<Reverse<(Boottime, usize, bool)>>;

struct Device {
    rotation: Rotation,
    under_way: Option<Fetch>,
}

impl Run {
    /// How many asked, by the second.
    pub fn requests(&self) -> Vec<usize> {
        let mut places = Random::new(1);
        let mut devices: Vec<Device> = (0..DEVICES as u64)
            .map(|seed| {
                let place = places.share();
                let policy = Policy {
                    lead: Duration::from_secs(300),
                    jitter: if self.jitter { place } else { 0.5 },
                    boot_spread: if self.jitter { BOOT_SPREAD } else { Duration::ZERO },
                    delivery: HandOverPolicy::EachTime,
                };
                let rotation = Rotation::new(policy, seed, Left::default(), START);
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
pub fn most(requests: &[usize], span: Range<u64>) -> usize {
    let most = requests[span.start as usize..span.end as usize].iter().max();
    most.copied().expect("a span that is not empty")
}
