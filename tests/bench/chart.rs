//! Plots of the figures.

use std::fmt::Write;

use crate::support::svg::{FAINT, INK, PALE_AMBER, RED, RULE, Svg};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 870.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 320.0;

/// Lines over something that goes on.
pub struct Lines<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// Where the axis across begins and ends, and what it is.
    pub across: (f64, f64, &'a str),
    /// Where the axis up ends, at least; and what it is.
    pub up: (f64, &'a str),
    /// Decades are of one height, and it begins at 1.
    pub logarithmic: bool,
    /// A span in which something is the matter.
    pub band: Option<(f64, f64, &'a str)>,
    /// A height that is not to be passed.
    pub limit: Option<(f64, &'a str)>,
    pub series: Vec<Series<'a>>,
}

pub struct Series<'a> {
    pub name: &'a str,
    pub colour: &'a str,
    pub points: Vec<(f64, f64)>,
}

impl Lines<'_> {
    pub fn draw(&self) -> String {
        let mut svg = frame(self.title, self.subtitle, HEIGHT);
        let highest = self.series.iter().flat_map(|series| &series.points).map(|(_, y)| *y);
        let top = highest.fold(self.up.0, f64::max);
        let (begin, end, across) = self.across;
        let x = |value: f64| LEFT + (value - begin) / (end - begin) * (RIGHT - LEFT);
        let share = |value: f64| {
            if self.logarithmic { value.max(1.0).ln() / top.ln() } else { value / top }
        };
        let y = |value: f64| BOTTOM - share(value) * (BOTTOM - TOP);
        if let Some((from, to, what)) = self.band {
            svg.rectangle(x(from), TOP, x(to) - x(from), BOTTOM - TOP, PALE_AMBER, 0.0);
            svg.text(x(from) + 6.0, TOP + 16.0, 12.0, INK, "start", false, what);
        }
        let steps = if self.logarithmic { decades(top) } else { marks(0.0, top) };
        for mark in steps {
            svg.line(LEFT, y(mark), RIGHT, y(mark), RULE, 1.0);
            svg.text(LEFT - 8.0, y(mark) + 4.0, 12.0, FAINT, "end", false, &grouped(mark));
        }
        for mark in marks(begin, end) {
            svg.text(x(mark), BOTTOM + 20.0, 12.0, FAINT, "middle", false, &grouped(mark));
        }
        svg.text(RIGHT, BOTTOM + 42.0, 12.0, FAINT, "end", false, across);
        svg.text(LEFT, TOP - 10.0, 12.0, FAINT, "start", false, self.up.1);
        let mut right = RIGHT;
        for Series { name, colour, points } in &self.series {
            let points = points.iter().fold(String::new(), |mut text, (across, up)| {
                let _ = write!(text, "{:.1},{:.1} ", x(*across), y(*up));
                text
            });
            let _ = writeln!(
                svg.text,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
                points.trim_end()
            );
            svg.text(right, TOP - 10.0, 12.0, colour, "end", true, name);
            right -= 8.0 * name.chars().count() as f64 + 16.0;
        }
        if let Some((limit, what)) = self.limit {
            svg.line(LEFT, y(limit), RIGHT, y(limit), RED, 1.0);
            svg.text(RIGHT - 4.0, y(limit) - 5.0, 12.0, RED, "end", false, what);
        }
        svg.end()
    }
}

/// A bar for each of several things, in groups.
pub struct Bars<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// Name, length and colour, in the order of reading.
    pub bars: Vec<(String, f64, &'a str)>,
    pub unit: &'a str,
}

impl Bars<'_> {
    pub fn draw(&self) -> String {
        const STEP: f64 = 26.0;
        let names = 330.0;
        let height = TOP + STEP * self.bars.len() as f64 + 20.0;
        let mut svg = frame(self.title, self.subtitle, height);
        let longest =
            self.bars.iter().map(|(_, length, _)| *length).fold(f64::MIN_POSITIVE, f64::max);
        for (number, (name, length, colour)) in self.bars.iter().enumerate() {
            let y = TOP + STEP * number as f64;
            let width = length / longest * (RIGHT - names - 90.0);
            svg.text(names - 10.0, y + 13.0, 13.0, INK, "end", false, name);
            svg.rectangle(names, y, width, 17.0, colour, 2.0);
            let figure = format!("{length:.1} {}", self.unit);
            svg.text(names + width + 8.0, y + 13.0, 13.0, FAINT, "start", false, &figure);
        }
        svg.end()
    }
}

fn frame(title: &str, subtitle: &str, height: f64) -> Svg {
    let mut svg = Svg::new(WIDTH, height);
    svg.text(30.0, 32.0, 18.0, INK, "start", true, title);
    svg.text(30.0, 54.0, 13.0, FAINT, "start", false, subtitle);
    svg
}

/// About six round values between two.
fn marks(begin: f64, end: f64) -> Vec<f64> {
    let rough = (end - begin) / 6.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * decade).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let first = (begin / step).ceil();
    (0..).map(|n| (first + f64::from(n)) * step).take_while(|mark| *mark <= end).collect()
}

fn decades(top: f64) -> Vec<f64> {
    (0..).map(|n| 10_f64.powi(n)).take_while(|mark| *mark <= top).collect()
}

/// With a comma at each thousand.
fn grouped(value: f64) -> String {
    if value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let grouped: Vec<String> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
        .collect();
    grouped.join(",")
}
