//! What is said of a fault that stays: enough to be found, not so much that it hides the rest.

use std::time::Duration;

use crate::core::boottime::Boottime;

/// A fault that stays is said again after this, however often it came in between.
const AGAIN: Duration = Duration::from_secs(3600);

/// Counts the same fault in a row and decides when to say it: at its 1st, 2nd, 4th, 8th… time, and
/// once an hour.
#[derive(Clone, Debug)]
pub struct Repeats<T> {
    current: Option<(T, u64, Boottime)>,
}

impl<T> Default for Repeats<T> {
    fn default() -> Self {
        Self { current: None }
    }
}

impl<T: PartialEq> Repeats<T> {
    /// The fault came. How often in a row it has by now, if it is to be said.
    pub fn came(&mut self, fault: T, now: Boottime) -> Option<u64> {
        match &mut self.current {
            Some((same, times, said)) if *same == fault => {
                *times += 1;
                let say = times.is_power_of_two() || now.since(*said) >= AGAIN;
                say.then(|| {
                    *said = now;
                    *times
                })
            }
            other => {
                *other = Some((fault, 1, now));
                Some(1)
            }
        }
    }

    /// It went well. How often the last fault had come in a row.
    pub fn over(&mut self) -> Option<u64> {
        self.current.take().map(|(_, times, _)| times)
    }
}

/// ", 4 times in a row" behind a fault that came more than once.
pub fn in_a_row(times: u64) -> String {
    if times > 1 { format!(" ({times} times in a row)") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_said_ever_more_rarely_but_once_an_hour() {
        let mut repeats = Repeats::default();
        let at = |minutes: u64| Boottime::from_millis(minutes * 60_000);
        let said: Vec<u64> = (0..180).filter_map(|minute| repeats.came("x", at(minute))).collect();
        assert_eq!(said, [1, 2, 4, 8, 16, 32, 64, 124, 128]);
    }

    #[test]
    fn another_fault_is_said_at_once_and_an_end_is_counted() {
        let mut repeats = Repeats::default();
        let now = Boottime::from_millis(0);
        assert_eq!(repeats.came("x", now), Some(1));
        assert_eq!(repeats.came("y", now), Some(1));
        repeats.came("y", now);
        assert_eq!(repeats.over(), Some(2));
        assert_eq!(repeats.over(), None);
    }
}
