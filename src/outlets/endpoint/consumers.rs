//! The programs that ask the endpoint: by which name, when last, and how long what they got is
//! good.
//!
//! A program goes by its `User-Agent` and by the user that it runs as: two of one kind of one user
//! can't be told apart, and count as one. Nothing is read or written here; time is an argument.

use nix::unistd::Uid;

use crate::core::boottime::Boottime;

/// More kinds of programs than a device has; beyond it the one that asked longest ago is forgotten.
const MOST: usize = 16;

/// Enough of a name to tell one SDK from another.
const NAME_CHARACTERS: usize = 80;

/// What one of them is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    pub program: String,
    /// None where the kernel does not tell.
    pub user: Option<Uid>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    asker: Asker,
    /// For people; found out once, when it asks for the first time.
    pub name: String,
    pub asked: Boottime,
    pub times: u64,
    /// Until when the credentials are good that it got last; none if there were none yet.
    pub served_until: Option<Boottime>,
    /// It asked again for newer credentials before the last ones ran out: so it stays, and is
    /// missed if it does not ask.
    pub stays: bool,
    missed: bool,
}

impl Consumer {
    /// Whether what it got must have run out, or it never got any.
    pub fn has_run_out(&self, now: Boottime) -> bool {
        self.served_until.is_none_or(|until| until <= now)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Consumers(Vec<Consumer>);

impl Consumers {
    /// A program asked and got credentials that are good for so long, or none. Returns its name if
    /// it is a new one.
    pub fn asked(
        &mut self,
        asker: &Asker,
        now: Boottime,
        served_until: Option<Boottime>,
        name_of: impl FnOnce(Uid) -> String,
    ) -> Option<String> {
        let at = self.0.iter().position(|known| known.asker == *asker);
        let known = at.map(|at| self.0.remove(at));
        let new_name = known.is_none().then(|| asker.name(name_of));
        let in_time = known.as_ref().is_some_and(|known| !known.has_run_out(now));
        let newer = known.as_ref().is_some_and(|known| known.served_until != served_until);
        let stayed = known.as_ref().is_some_and(|known| known.stays && in_time);
        let times = known.as_ref().map_or(0, |known| known.times).saturating_add(1);
        let name = known.map(|known| known.name).or_else(|| new_name.clone()).unwrap_or_default();
        self.0.insert(
            0,
            Consumer {
                asker: asker.clone(),
                name,
                asked: now,
                times,
                served_until,
                stays: stayed || (in_time && newer),
                missed: false,
            },
        );
        self.0.truncate(MOST);
        new_name
    }

    /// Those who stayed, and whose credentials have run out since this was last asked.
    pub fn ran_out(&mut self, now: Boottime) -> Vec<Consumer> {
        let mut found = Vec::new();
        for consumer in &mut self.0 {
            let served = consumer.served_until.is_some();
            if served && consumer.stays && !consumer.missed && consumer.has_run_out(now) {
                consumer.missed = true;
                found.push(consumer.clone());
            }
        }
        found
    }

    /// All, the one that asked last first.
    pub fn all(&self) -> Vec<Consumer> {
        self.0.clone()
    }
}

impl Asker {
    /// The program's name with its user's, since many programs are of one kind: `Go-http-client/1.1
    /// (litestream)`.
    fn name(&self, name_of: impl FnOnce(Uid) -> String) -> String {
        match self.user {
            Some(user) => format!("{} ({})", self.program, name_of(user)),
            None => self.program.clone(),
        }
    }
}

/// The name in a `User-Agent`, as far as it can stand in a log.
pub fn name(user_agent: &[u8]) -> String {
    let text = String::from_utf8_lossy(user_agent);
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(NAME_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Boottime {
        Boottime::from_millis(seconds * 1000)
    }

    /// Asks at `now` and gets what is good until `until`.
    fn ask(consumers: &mut Consumers, name: &str, now: u64, until: Option<u64>) -> bool {
        let asker = Asker { program: name.to_owned(), user: None };
        consumers.asked(&asker, s(now), until.map(s), |_| unreachable!()).is_some()
    }

    #[test]
    fn a_user_is_named_once_and_two_users_are_two_programs() {
        let mut consumers = Consumers::default();
        let mut ask = |user: u32, name: &'static str| {
            let asker = Asker { program: "sdk".to_owned(), user: Some(Uid::from_raw(user)) };
            consumers.asked(&asker, s(0), None, |_| name.to_owned())
        };
        assert_eq!(ask(990, "one").as_deref(), Some("sdk (one)"));
        assert_eq!(ask(991, "two").as_deref(), Some("sdk (two)"));
        assert_eq!(ask(990, "renamed"), None);
        let names: Vec<_> = consumers.all().into_iter().map(|one| (one.name, one.times)).collect();
        assert_eq!(names, [("sdk (one)".to_owned(), 2), ("sdk (two)".to_owned(), 1)]);
    }

    #[test]
    fn one_that_stays_is_missed_once() {
        let mut consumers = Consumers::default();
        assert!(ask(&mut consumers, "litestream", 0, Some(900)));
        assert!(!ask(&mut consumers, "litestream", 600, Some(1500)));
        assert_eq!(consumers.ran_out(s(1499)), []);
        let missed = consumers.ran_out(s(1500));
        assert_eq!(missed.len(), 1);
        assert_eq!((missed[0].name.as_str(), missed[0].times), ("litestream", 2));
        assert_eq!(consumers.ran_out(s(1501)), []);
        // It is back, too late to count as staying; then in time again.
        ask(&mut consumers, "litestream", 1600, Some(2500));
        assert_eq!(consumers.ran_out(s(2500)), []);
        ask(&mut consumers, "litestream", 2501, Some(3400));
        ask(&mut consumers, "litestream", 3300, Some(4200));
        assert_eq!(consumers.ran_out(s(4200)).len(), 1);
    }

    #[test]
    fn one_that_asks_once_and_ends_is_not_missed() {
        let mut consumers = Consumers::default();
        ask(&mut consumers, "aws-cli", 0, Some(900));
        // Twice within one rotation: the same credentials.
        ask(&mut consumers, "aws-cli", 10, Some(900));
        ask(&mut consumers, "nothing for it", 0, None);
        assert_eq!(consumers.ran_out(s(10_000)), []);
        assert!(consumers.all().iter().all(|consumer| consumer.has_run_out(s(10_000))));
    }

    #[test]
    fn there_are_not_more_than_fit_and_the_last_comes_first() {
        let mut consumers = Consumers::default();
        for number in 0..100 {
            ask(&mut consumers, &format!("program {number}"), number, Some(900));
        }
        let all = consumers.all();
        assert_eq!(all.len(), MOST);
        assert_eq!(all[0].name, "program 99");
    }

    #[test]
    fn a_name_is_short_and_can_stand_in_a_log() {
        assert_eq!(name(b"aws-sdk-go/1.44 (go1.21)\r\nx\x1b[2J"), "aws-sdk-go/1.44 (go1.21)x[2J");
        assert_eq!(name(&[b'a'; 1000]).len(), NAME_CHARACTERS);
    }
}
