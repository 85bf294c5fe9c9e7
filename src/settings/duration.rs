//! Lengths of time as systemd writes them: `500ms`, `5s`, `1min 30s`, `1.5h`; a bare number is
//! seconds.

use std::{ops::RangeInclusive, time::Duration};

const UNITS: [(&str, u64); 14] = [
    ("ms", 1),
    ("msec", 1),
    ("", 1000),
    ("s", 1000),
    ("sec", 1000),
    ("second", 1000),
    ("seconds", 1000),
    ("m", 60_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("hours", 3_600_000),
];

/// Parses a duration and holds it to the range its setting allows.
pub(super) fn parse_within(
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let duration = parse(text)?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    Err(format!("must be {} to {}", show(*range.start()), show(*range.end())))
}

fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "is not a duration such as 500ms, 5s, 1min 30s or 1h".to_owned();
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let after_number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - after_number.len()];
        let after_number = after_number.trim_start();
        let after_unit = after_number.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &after_number[..after_number.len() - after_unit.len()];
        let milliseconds =
            UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms).ok_or_else(wrong)?;
        let part = scaled(number, milliseconds).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after_unit.trim_start();
    }
    Ok(total)
}

/// A decimal number of units, such as 1.5 minutes.
fn scaled(number: &str, milliseconds: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let nanoseconds = milliseconds * 1_000_000;
    let whole = whole.parse::<u64>().ok()?.checked_mul(nanoseconds)?;
    let fraction =
        fraction.parse::<u64>().ok()?.checked_mul(nanoseconds)? / 10u64.pow(fraction.len() as u32);
    Some(Duration::from_nanos(whole.checked_add(fraction)?))
}

/// A duration in the largest unit that needs no fraction, as a message shows it.
pub(super) fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    for (unit, size) in [("h", 3_600_000), ("min", 60_000), ("s", 1000)] {
        if milliseconds >= size && milliseconds % size == 0 {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_systemd_reads() {
        for (text, milliseconds) in [
            ("5", 5_000),
            ("0", 0),
            ("500ms", 500),
            ("500 ms", 500),
            ("5s", 5_000),
            ("1min 30s", 90_000),
            ("1min30s", 90_000),
            ("  2 hours ", 7_200_000),
            ("1.5min", 90_000),
            ("0.25", 250),
            ("1h 1m 1sec 1msec", 3_661_001),
            ("90 10", 100_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            " ",
            "s",
            "-5s",
            "+5s",
            "5x",
            "5S",
            "1..5s",
            "1.s",
            ".5s",
            "1,5s",
            "infinity",
            "5s,",
            "1e3",
            "5d",
            "99999999999999999999s",
            "18446744073709551615h",
            "1.0000000001s",
            "５s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_them_in_the_largest_whole_unit() {
        for (milliseconds, text) in [
            (100, "100ms"),
            (1_500, "1500ms"),
            (5_000, "5s"),
            (90_000, "90s"),
            (600_000, "10min"),
            (3_600_000, "1h"),
        ] {
            assert_eq!(show(Duration::from_millis(milliseconds)), text);
        }
    }
}
