//! Time across in characters: one cell for each slice of the run.

/// Low to high, for how much happened in a cell.
const BARS: [char; 5] = ['▁', '▂', '▄', '▆', '█'];

/// The part of a run that has passed, in `cells` cells for `total` seconds.
pub struct Chart {
    pub cells: usize,
    pub total: f64,
    pub passed: f64,
}

impl Chart {
    /// A mark in each cell that something happened in.
    pub fn marks(&self, times: impl Iterator<Item = f64>, mark: char) -> String {
        self.draw(&self.count(times), |count| if count > 0 { mark } else { '·' })
    }

    /// A bar for each cell, as high as things happened often, against `usual` of them in a second.
    pub fn bars(&self, times: impl Iterator<Item = f64>, usual: f64) -> String {
        let full = (usual * self.total / self.cells as f64).max(1.0);
        self.draw(&self.count(times), |count| match count {
            0 => ' ',
            n => BARS[((n as f64 / full * 3.0) as usize).min(BARS.len() - 1)],
        })
    }

    fn count(&self, times: impl Iterator<Item = f64>) -> Vec<usize> {
        let mut counts = vec![0; self.cells];
        for time in times.filter(|time| (0.0..=self.total).contains(time)) {
            counts[self.cell(time)] += 1;
        }
        counts
    }

    fn draw(&self, counts: &[usize], of: impl Fn(usize) -> char) -> String {
        let now = self.cell(self.passed);
        counts
            .iter()
            .enumerate()
            .map(|(cell, count)| if cell <= now { of(*count) } else { ' ' })
            .collect()
    }

    fn cell(&self, time: f64) -> usize {
        ((time / self.total * self.cells as f64).max(0.0) as usize).min(self.cells - 1)
    }
}

/// A bar that is full at 1 and empty at 0.
pub fn gauge(share: f64, cells: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    "█".repeat(full) + &"░".repeat(cells - full)
}
