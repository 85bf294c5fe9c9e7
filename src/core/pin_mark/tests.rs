//! The two promises, for every order of what can happen to a device:
//!
//! - no more than two logins with a PIN that the token has refused;
//! - a right PIN is tried again within an hour of the moment at which the token would take it.

use std::time::Duration;

use super::*;

/// What can come of one try, or happen between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The module hangs or crashes before the login: in C_Initialize, or while slots are listed.
    DiesEarly,
    /// It does so in the login, and the token has not seen the PIN.
    DiesBefore,
    /// It does so in the login, after the token has looked at the PIN.
    DiesAfter,
    /// The power goes in the login, before and after the token has looked.
    CutBefore,
    CutAfter,
    /// The token says what it thinks of the PIN.
    Answers,
    /// The token is locked for a time: it does not look at the PIN.
    LockedForATime,
    /// The login fails by a fault of the bus.
    Fault,
    /// The daemon starts anew.
    Restart,
    /// The device does.
    Boot,
}

const EVENTS: [Event; 10] = [
    Event::DiesEarly,
    Event::DiesBefore,
    Event::DiesAfter,
    Event::CutBefore,
    Event::CutAfter,
    Event::Answers,
    Event::LockedForATime,
    Event::Fault,
    Event::Restart,
    Event::Boot,
];

/// A device and its token.
#[derive(Clone, Copy, Debug)]
struct World {
    pin_is_right: bool,
    /// Whether the token's flags tell of wrong PINs.
    flags_tell: bool,
    /// It has refused a PIN since it took one last.
    refused_lately: bool,
    /// Logins with the wrong PIN that the token has looked at.
    refusals: u32,
    memory: Memory,
    /// When the next try begins, at the latest.
    now: Duration,
}

/// The slowest that the daemon tries again after a failure that passes, and after any other
/// (src/core/rotation).
const SOON: Duration = Duration::from_secs(150);
const SLOWLY: Duration = Duration::from_secs(900);

impl World {
    fn new(pin_is_right: bool, flags_tell: bool) -> Self {
        let memory = Memory::default();
        let now = Duration::ZERO;
        Self { pin_is_right, flags_tell, refused_lately: false, refusals: 0, memory, now }
    }

    fn flags(&self) -> Flags {
        if self.flags_tell && self.refused_lately { Flags::RefusedLately } else { Flags::Silent }
    }

    /// A try as the fetch makes it, with this end. Whether a login began.
    fn happens(&mut self, event: Event) -> bool {
        match event {
            Event::Boot => self.memory.of_this_boot = None,
            Event::Restart => {}
            _ if self.memory.stop().is_some() => {}
            Event::DiesEarly => self.now += SOON,
            event => return self.logs_in(event),
        }
        false
    }

    fn logs_in(&mut self, event: Event) -> bool {
        let before = self.memory;
        let Ok(tentative) = before.begin(self.flags()) else { return false };
        match tentative.place {
            Place::Lasting => self.memory.lasting = Some(tentative.mark),
            Place::ThisBoot => self.memory.of_this_boot = Some(tentative.mark),
        }
        let (token_looks, answer, power_goes) = match event {
            Event::DiesBefore => (false, None, false),
            Event::DiesAfter => (true, None, false),
            Event::CutBefore => (false, None, true),
            Event::CutAfter => (true, None, true),
            Event::Answers if self.pin_is_right => (true, Some(Answer::Accepted), false),
            Event::Answers => (true, Some(Answer::Refused), false),
            _ => (false, Some(Answer::Otherwise), false),
        };
        if token_looks {
            self.refused_lately = !self.pin_is_right;
            self.refusals += u32::from(!self.pin_is_right);
        }
        match answer.map(|answer| before.end(answer)) {
            None => {}
            Some(Outcome::Accepted) => {
                self.memory = Memory { accepted: true, ..Memory::default() };
            }
            Some(Outcome::Refused { count }) => {
                let mark = Mark { kind: Kind::Refused, count, of_this_pin: true };
                self.memory = Memory { lasting: Some(mark), ..Memory::default() };
            }
            Some(Outcome::AsBefore) => self.memory = before,
        }
        if power_goes {
            self.memory.of_this_boot = None;
        }
        let is_slow = event == Event::LockedForATime || self.memory.is_doubtful();
        self.now += if is_slow { SLOWLY } else { SOON };
        true
    }

    /// Both promises, after these events.
    #[track_caller]
    fn assert_kept(&self, events: &[Event]) {
        assert!(self.refusals <= MOST, "{} refusals: {events:?} {self:?}", self.refusals);
        // A PIN that the token never took, and that twice had no answer, looks like one that it
        // refused twice. No device can tell the two apart; a person has to.
        let looks_refused = !self.memory.accepted && self.memory.unanswered() >= MOST;
        if self.pin_is_right && !looks_refused {
            let mut later = *self;
            assert!(later.happens(Event::Answers), "never tried again: {events:?} {self:?}");
            assert!(later.memory.accepted);
            assert!(later.now - self.now <= Duration::from_secs(3600));
        }
    }
}

fn go_on(world: World, events: &mut Vec<Event>, depth: usize) {
    world.assert_kept(events);
    if depth == 0 {
        return;
    }
    for event in EVENTS {
        let mut next = world;
        next.happens(event);
        events.push(event);
        go_on(next, events, depth - 1);
        events.pop();
    }
}

/// What can happen to a token: one whose flags tell shows a lock by its flag, and that is no lock
/// for a time.
const WORLDS: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

#[test]
fn every_order_of_five_events_keeps_both_promises() {
    for (pin_is_right, flags_tell) in WORLDS {
        go_on(World::new(pin_is_right, flags_tell), &mut Vec::new(), 5);
        let mut used = World::new(true, flags_tell);
        used.happens(Event::Answers);
        go_on(used, &mut Vec::new(), 5);
    }
}

#[test]
fn long_lives_keep_both_promises() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        // xorshift64: any order will do, as long as it is the same at each run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..2_000 {
        for (pin_is_right, flags_tell) in WORLDS {
            let mut world = World::new(pin_is_right, flags_tell);
            let mut events = Vec::new();
            for _ in 0..200 {
                let event = EVENTS[(random() % EVENTS.len() as u64) as usize];
                events.push(event);
                world.happens(event);
                world.assert_kept(&events);
            }
        }
    }
}

/// The fleet after a storm: a TPM counts each power cut as a wrong PIN, locks itself, and unlocks
/// itself.
#[test]
fn thirty_power_cuts_in_a_row_take_no_device_offline() {
    for was_accepted in [true, false] {
        let mut world = World::new(true, false);
        if was_accepted {
            world.happens(Event::Answers);
        }
        for cut in 0..30 {
            // What the token never took is tried for the first time while it is locked.
            let in_login = was_accepted && cut < 10;
            world.happens(if in_login { Event::CutAfter } else { Event::LockedForATime });
            world.happens(Event::Boot);
        }
        assert!(world.happens(Event::Answers) && world.memory.accepted);
    }
}

#[test]
fn a_pin_that_was_taken_is_left_alone_only_where_the_token_speaks_against_it() {
    let mut memory = Memory { accepted: true, ..Memory::default() };
    for count in 1..=5 {
        let tentative = memory.begin(Flags::Silent).unwrap();
        assert_eq!((tentative.mark.count, tentative.place), (count, Place::ThisBoot));
        memory.of_this_boot = Some(tentative.mark);
        assert_eq!(memory.stop(), None);
        assert_eq!(memory.is_doubtful(), count >= MOST);
        let told = memory.begin(Flags::RefusedLately).err();
        assert_eq!(told, (count >= MOST).then_some(Stop::Uncertain));
    }
    // Another PIN begins anew, whatever became of this one.
    let other = memory.of_this_boot.map(|mark| Mark { of_this_pin: false, ..mark });
    let memory = Memory { accepted: false, lasting: None, of_this_boot: other };
    assert_eq!(memory.begin(Flags::RefusedLately).unwrap().mark.count, 1);
}

#[test]
fn one_refusal_is_of_one_pin_and_two_are_of_all() {
    let refused = |count, of_this_pin| {
        let mark = Mark { kind: Kind::Refused, count, of_this_pin };
        Memory { lasting: Some(mark), ..Memory::default() }
    };
    assert_eq!(refused(1, true).stop(), Some(Stop::Refused));
    assert_eq!(refused(1, false).stop(), None);
    assert_eq!(refused(1, false).begin(Flags::Silent).unwrap().mark.count, 2);
    assert_eq!(refused(1, false).end(Answer::Refused), Outcome::Refused { count: 2 });
    assert_eq!(refused(2, false).stop(), Some(Stop::Refused));
}
