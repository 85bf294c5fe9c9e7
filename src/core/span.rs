//! A length of time, as exact as a person wants it.

use std::time::Duration;

/// "42 s", "7 min", "3 h 20 min", "9 days".
pub fn span(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_exact_as_a_person_wants_it() {
        let said = |s| span(Duration::from_secs(s));
        assert_eq!(
            [said(0), said(119), said(420), said(12_000)],
            ["0 s", "119 s", "7 min", "3 h 20 min"]
        );
        assert_eq!(said(9 * 86_400), "9 days");
    }
}
