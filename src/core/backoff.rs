//! How long to wait before the next try.

use std::time::Duration;

/// Exponential backoff with "full jitter": a random share of a ceiling that doubles with each
/// failure.
///
/// A fleet that failed together thus comes back spread out, not in waves. Source: "Exponential
/// Backoff And Jitter", AWS Architecture Blog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// No wait is shorter.
    pub floor: Duration,
    /// The ceiling after the first failure.
    pub first: Duration,
    /// The ceiling never exceeds this, and so does no wait.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after so many `failures` in a row (1 or more), for a `share` drawn from 0 to 1.
    pub fn delay(&self, failures: u32, share: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.cap);
        ceiling.mul_f64(share.clamp(0.0, 1.0)).clamp(self.floor, self.cap)
    }
}

/// A small generator (SplitMix64) whose seed is an argument, so that a run can be repeated.
///
/// Good enough to spread devices out; never used for anything secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, all 64 bits of it.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A share, at least 0 and less than 1.
    pub fn share(&mut self) -> f64 {
        share_of(self.next_u64())
    }
}

/// Maps a number of 64 bits to a share, at least 0 and less than 1.
pub fn share_of(bits: u64) -> f64 {
    // 53 bits are what a f64 holds exactly.
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        floor: Duration::from_secs(1),
        first: Duration::from_secs(2),
        cap: Duration::from_secs(60),
    };

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let ceilings: Vec<u64> = (1..=8).map(|n| BACKOFF.delay(n, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(BACKOFF.delay(u32::MAX, 1.0).as_secs(), 60);
    }

    #[test]
    fn the_share_is_of_the_ceiling_and_never_below_the_floor() {
        assert_eq!(BACKOFF.delay(4, 0.5).as_secs(), 8);
        assert_eq!(BACKOFF.delay(4, 0.0).as_secs(), 1);
    }

    #[test]
    fn shares_fill_the_interval() {
        let mut random = Random::new(7);
        let shares: Vec<f64> = (0..10_000).map(|_| random.share()).collect();
        assert!(shares.iter().all(|s| (0.0..1.0).contains(s)));
        let mean = shares.iter().sum::<f64>() / 10_000.0;
        assert!((0.49..0.51).contains(&mean), "{mean}");
    }
}
