//! Medians and spreads.

use std::fs;

/// Several measurements of the same thing.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub median: f64,
    /// A quarter of the measurements is below, and a quarter above these.
    pub quartiles: [f64; 2],
    pub count: usize,
}

impl Summary {
    pub fn of(values: &[f64]) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        Self {
            median: quantile(values, 0.5),
            quartiles: [quantile(values, 0.25), quantile(values, 0.75)],
            count: values.len(),
        }
    }

    /// Of what was measured in turn: each against the one beside it, so that a machine that slows
    /// down slows both.
    pub fn of_ratios(values: &[f64], against: &[f64]) -> Self {
        let ratios: Vec<f64> = values.iter().zip(against).map(|(a, b)| a / b).collect();
        Self::of(&ratios)
    }
}

/// With a straight line between two values; `share` from 0 to 1.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}
