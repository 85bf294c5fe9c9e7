//! Whether rotations make the gaps between uploads longer, judged by what the same machine did at
//! the same time to Litestreams whose keys never change.
//!
//! The longest of some hundred gaps is longest because the machine had other things to do,
//! whoever's it is: to compare one with another is to toss a coin. So there are two lanes with
//! permanent keys for each generation. How much they differ is noise, and what rotations add has to
//! stand out of it:
//!
//! - *Each gap in its time.* A gap in which a new key takes over, less the longest gap of a
//!   permanent lane in the same time. The middle one of these must not be more than what one in a
//!   hundred gaps of the permanent lanes is longer than the other's: whatever holds up the machine
//!   holds up both. On a machine that does nothing else these hardly differ, and a tenth of their
//!   usual gap is allowed: an SDK that starts a process waits for it.
//! - *The longest.* If rotations make no difference, the gaps with a new key are any of the lane's.
//!   That so many of them are longer than each gap with permanent keys must not be too unlikely.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::cloud::Request;

/// How unlikely a finding must be to be no chance: there are four lanes in each run, and no run in
/// ten thousand shall fail by chance.
const CHANCE: f64 = 1e-6;

/// From one upload of a lane to the next.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    is_at_new_key: bool,
}

/// All gaps of one Litestream.
#[derive(Clone, Debug)]
pub struct Lane(Vec<Gap>);

/// What came of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The gaps with a new key: how many, and the longest.
    rotations: usize,
    longest: TimeDelta,
    /// How much longer than the permanent lanes' of the same time the middle gap with a new key is.
    added: TimeDelta,
    /// What one of a hundred gaps of the permanent lanes is longer than the other's.
    noise: TimeDelta,
    /// The middle one of their gaps.
    usual: TimeDelta,
    /// So many gaps with a new key are longer than all of the permanent lanes'.
    longer: usize,
    /// How likely that is, if rotations make no difference.
    chance: f64,
}

impl Gap {
    fn length(self) -> TimeDelta {
        self.to - self.from
    }
}

impl Lane {
    /// The gaps between these uploads, which are in their order.
    pub fn of<'a>(uploads: impl Iterator<Item = &'a Request>) -> Self {
        let uploads: Vec<_> = uploads.collect();
        let gap = |pair: &[&Request]| Gap {
            from: pair[0].time,
            to: pair[1].time,
            is_at_new_key: pair[0].access_key_id != pair[1].access_key_id,
        };
        Self(uploads.windows(2).map(gap).collect())
    }

    pub fn longest(&self) -> TimeDelta {
        self.0.iter().map(|gap| gap.length()).max().expect("two uploads")
    }

    fn at_new_keys(&self) -> Self {
        Self(self.0.iter().filter(|gap| gap.is_at_new_key).copied().collect())
    }

    /// How much longer each of these gaps is than the longest of the other lane's in the same time.
    fn longer_than<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = TimeDelta> + 'a {
        self.0.iter().filter_map(|gap| {
            let meanwhile = other.0.iter().filter(|o| o.from < gap.to && o.to > gap.from);
            Some(gap.length() - meanwhile.map(|o| o.length()).max()?)
        })
    }

    /// Compares the gaps with a new key with those of two lanes with permanent keys.
    pub fn compare(&self, permanent: [&Self; 2]) -> Comparison {
        let [one, other] = permanent;
        let rotations = self.at_new_keys();
        let added = permanent.iter().flat_map(|lane| rotations.longer_than(lane));
        let noise = one.longer_than(other).chain(other.longer_than(one));
        let longest = one.longest().max(other.longest());
        let longer = rotations.0.iter().filter(|gap| gap.length() > longest).count();
        // That the longest of all are each one of the rotations'.
        let all = rotations.0.len() + one.0.len() + other.0.len();
        let chances = (0..longer).map(|n| (rotations.0.len() - n) as f64 / (all - n) as f64);
        Comparison {
            rotations: rotations.0.len(),
            longest: rotations.longest(),
            added: share(added, 0.5),
            noise: share(noise, 0.99),
            usual: share(one.0.iter().chain(&other.0).map(|gap| gap.length()), 0.5),
            longer,
            chance: chances.product(),
        }
    }
}

impl Comparison {
    /// Whether rotations may make no difference.
    pub fn is_even(&self) -> bool {
        self.added <= self.noise.max(self.usual / 10) && self.chance >= CHANCE
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} gaps with a new key, the longest {:.2} s, the middle one {:+.0} ms (noise {:.0} \
             ms), {} longer than any permanent",
            self.rotations,
            self.longest.as_seconds_f64(),
            self.added.as_seconds_f64() * 1000.0,
            self.noise.as_seconds_f64() * 1000.0,
            self.longer
        )
    }
}

/// The value that this share of them is below.
fn share(values: impl Iterator<Item = TimeDelta>, share: f64) -> TimeDelta {
    let mut values: Vec<_> = values.collect();
    values.sort();
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// A lane that uploads once a second, give or take what `noise` says, and `delay` later with each
/// tenth upload's new key.
fn lane(seed: u64, delay: TimeDelta) -> Lane {
    let mut state = seed;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut from = DateTime::UNIX_EPOCH;
    let gap = |number: i64| {
        let is_at_new_key = number % 10 == 9;
        // Now and then the machine is busy.
        let busy = if number % 150 == 137 { 1500.0 } else { 60.0 };
        let length = TimeDelta::milliseconds(1000 + (busy * random()) as i64);
        let gap = Gap { from, to: from + length + delay * i32::from(is_at_new_key), is_at_new_key };
        from = gap.to;
        gap
    };
    Lane((0..300).map(gap).collect())
}

#[test]
fn what_a_rotation_adds_stands_out_and_chance_does_not() {
    for seed in 0..100 {
        let permanent =
            [&lane(seed + 1000, TimeDelta::zero()), &lane(seed + 2000, TimeDelta::zero())];
        let even = lane(seed, TimeDelta::zero()).compare(permanent);
        assert!(even.is_even(), "{even:?}");
        let late = lane(seed, TimeDelta::seconds(3)).compare(permanent);
        assert!(!late.is_even() && late.longer == 30, "{late:?}");
        // Shorter than a gap of a busy moment, so that the longest tell nothing: the middle one
        // does.
        let later = lane(seed, TimeDelta::milliseconds(300)).compare(permanent);
        assert!(!later.is_even(), "{later:?}");
    }
}
