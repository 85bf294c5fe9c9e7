//! How long credentials live, on a device whose wall clock is not to be trusted.
//!
//! `expiration` is a time on the provider's clock. A device without an RTC boots years in the past,
//! so the difference to the device's clock means nothing; the difference to the answer's own `Date`
//! does.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The longest life that a role session can have (AWS STS: DurationSeconds ≤ 43,200).
const LONGEST: TimeDelta = TimeDelta::hours(12);

/// The shortest life that a role alias can ask for (AWS IoT: credentialDurationSeconds ≥ 900): what
/// is assumed when neither clock can be used.
const SHORTEST: Duration = Duration::from_secs(900);

/// `Date` and `expiration` are whole seconds: either may be up to a second older than what it
/// states.
const ROUNDING: TimeDelta = TimeDelta::seconds(1);

/// A clock that is further off than this is reported. `Date` has whole seconds and is some time
/// under way.
pub const SKEW: TimeDelta = TimeDelta::seconds(30);

/// S3 refuses requests whose time is further off (error RequestTimeTooSkewed).
pub const SKEW_OF_S3: TimeDelta = TimeDelta::minutes(15);

/// What comes of a difference between this device's clock and the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// Nothing.
    None,
    /// It is told.
    Off,
    /// S3 refuses what is signed.
    TooMuch,
}

/// `ahead_s`: so many seconds is this device's clock ahead; or behind, if negative.
pub fn skew(ahead_s: i64) -> Skew {
    let off = TimeDelta::try_seconds(ahead_s.saturating_abs()).unwrap_or(TimeDelta::MAX);
    if off <= SKEW {
        Skew::None
    } else if off <= SKEW_OF_S3 {
        Skew::Off
    } else {
        Skew::TooMuch
    }
}

/// How long credentials live from the moment the request for them was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub duration: Duration,
    pub known_by: KnownBy,
}

/// What a [`Lifetime`] was reckoned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// `expiration` less the answer's `Date`.
    Date,
    /// `expiration` less the device's clock: there was no usable `Date`, and the clock is
    /// plausible.
    WallClock,
    /// Neither was usable: the shortest life there is.
    Assumption,
}

/// Reckons the life of credentials with this `expiration`.
///
/// `date` is the answer's `Date` header, `wall` the device's clock when the answer came, `built`
/// the time this program was built: a clock before it is wrong for certain.
///
/// `None` when they had expired before they came.
pub fn lifetime(
    expiration: DateTime<Utc>,
    date: Option<DateTime<Utc>>,
    wall: DateTime<Utc>,
    built: DateTime<Utc>,
) -> Option<Lifetime> {
    if let Some(date) = date {
        let left = expiration - date - ROUNDING;
        if left <= LONGEST {
            let duration = left.to_std().ok().filter(|d| !d.is_zero())?;
            return Some(Lifetime { duration, known_by: KnownBy::Date });
        }
    }
    let left = expiration - wall - ROUNDING;
    if wall > built && left > TimeDelta::zero() && left <= LONGEST {
        let duration = left.to_std().unwrap_or(SHORTEST);
        return Some(Lifetime { duration, known_by: KnownBy::WallClock });
    }
    Some(Lifetime { duration: SHORTEST, known_by: KnownBy::Assumption })
}

/// Reads a `Date` header (RFC 9110, IMF-fixdate; the obsolete forms are not sent by any AWS
/// service).
pub fn parse_date(header: &str) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc2822(header.trim()).ok()?;
    Some(date.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn reckon(date: Option<&str>, wall: &str) -> Option<(u64, KnownBy)> {
        lifetime(at("2026-01-01T01:00:00Z"), date.map(at), at(wall), at("2025-06-01T00:00:00Z"))
            .map(|l| (l.duration.as_secs(), l.known_by))
    }

    #[test]
    fn the_date_of_the_answer_decides_whatever_the_wall_clock_says() {
        for wall in ["1970-01-01T00:00:05Z", "2026-01-01T00:00:00Z", "2038-01-01T00:00:00Z"] {
            assert_eq!(reckon(Some("2026-01-01T00:00:00Z"), wall), Some((3599, KnownBy::Date)));
        }
    }

    #[test]
    fn without_a_date_a_plausible_wall_clock_does() {
        assert_eq!(reckon(None, "2026-01-01T00:30:00Z"), Some((1799, KnownBy::WallClock)));
    }

    #[test]
    fn a_wall_clock_before_the_build_or_too_far_away_is_not_believed() {
        for wall in ["1970-01-01T00:00:05Z", "2025-12-31T00:00:00Z", "2026-01-01T02:00:00Z"] {
            assert_eq!(reckon(None, wall), Some((900, KnownBy::Assumption)), "{wall}");
        }
    }

    #[test]
    fn a_date_that_would_mean_more_than_twelve_hours_is_not_believed() {
        let reckoned = reckon(Some("2025-12-30T00:00:00Z"), "2026-01-01T00:30:00Z");
        assert_eq!(reckoned, Some((1799, KnownBy::WallClock)));
    }

    #[test]
    fn expired_on_arrival_is_said() {
        assert_eq!(reckon(Some("2026-01-01T01:00:00Z"), "2026-01-01T00:00:00Z"), None);
        assert_eq!(reckon(Some("2026-01-01T00:59:59Z"), "2026-01-01T00:00:00Z"), None);
    }

    #[test]
    fn a_clock_is_judged_alike_ahead_and_behind() {
        for (seconds, expected) in [
            (30, Skew::None),
            (31, Skew::Off),
            (900, Skew::Off),
            (901, Skew::TooMuch),
            (i64::MAX, Skew::TooMuch),
        ] {
            assert_eq!(skew(seconds), expected, "{seconds}");
            assert_eq!(skew(-seconds), expected, "-{seconds}");
        }
        assert_eq!(skew(i64::MIN), Skew::TooMuch);
    }

    #[test]
    fn reads_the_date_header() {
        assert_eq!(parse_date("Thu, 18 Jan 2018 09:18:06 GMT"), Some(at("2018-01-18T09:18:06Z")));
        assert_eq!(parse_date("yesterday"), None);
    }
}
