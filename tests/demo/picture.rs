//! The run as a picture: time across, a lane for each thing that matters.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::{
    Delivery, HEARTBEAT, LIFETIME,
    summary::Summary,
    support::svg::{AMBER, BLUE, FAINT, GREEN, INK, PALE_AMBER, RED, RULE, Svg, VIOLET},
    timeline::Timeline,
};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 680.0;
/// Where the lanes begin and end; left of them stand their names, right of them their figures.
const LEFT: f64 = 216.0;
const RIGHT: f64 = 990.0;
const TOP: f64 = 116.0;
const BOTTOM: f64 = 534.0;

struct Picture<'a> {
    summary: &'a Summary,
    timeline: &'a Timeline,
    seconds: f64,
    svg: Svg,
}

/// One below the other, over the same time.
pub fn draw_all(summaries: &[Summary]) -> String {
    let height = HEIGHT * summaries.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\">\n"
    );
    for (number, summary) in summaries.iter().enumerate() {
        let y = HEIGHT * number as f64;
        let _ = write!(svg, "<g transform=\"translate(0 {y})\">\n{}</g>\n", draw(summary));
    }
    svg + "</svg>\n"
}

fn draw(summary: &Summary) -> String {
    let timeline = &summary.timeline;
    let last = timeline.heartbeats.last().copied().unwrap_or(timeline.now);
    let seconds = (timeline.seconds(last) + 1.0).max(1.0);
    let mut picture = Picture { summary, timeline, seconds, svg: Svg::new(WIDTH, HEIGHT) };
    picture.frame();
    picture.axis();
    picture.credentials(TOP + 14.0);
    picture.restarts(TOP + 178.0);
    picture.uploads(TOP + 262.0);
    picture.lag(TOP + 398.0);
    picture.verdict();
    picture.svg.end()
}

impl Picture<'_> {
    fn frame(&mut self) {
        let title = format!(
            "{} rotations, {} rows lost",
            self.timeline.rotations(),
            if self.summary.missing.is_empty() {
                "no".to_owned()
            } else {
                self.summary.missing.len().to_string()
            }
        );
        self.svg.text(40.0, 56.0, 28.0, INK, "start", true, &title);
        let what = match self.summary.delivery {
            Delivery::EnvironmentFile => "restarted at each rotation",
            Delivery::Endpoint => "asks the endpoint, and is not restarted",
        };
        let subtitle = format!(
            "{}: AWS credentials that live {} s, a heartbeat every {} s, Litestream {} {what}",
            self.summary.delivery.name(),
            LIFETIME.as_secs(),
            HEARTBEAT.as_secs_f64(),
            self.summary.generation.version()
        );
        self.svg.text(40.0, 84.0, 15.0, FAINT, "start", false, &subtitle);
    }

    fn axis(&mut self) {
        let step = if self.seconds > 90.0 { 30 } else { 10 };
        for second in (0..=self.seconds as usize).step_by(step) {
            let x = self.x_of(second as f64);
            self.svg.line(x, TOP, x, BOTTOM, RULE, 1.0);
            let label = if second == 0 { "0".to_owned() } else { format!("{second} s") };
            self.svg.text(x, BOTTOM + 22.0, 13.0, FAINT, "middle", false, &label);
        }
    }

    /// Three rows in turn, as one lifetime overlaps the next.
    fn credentials(&mut self, y: f64) {
        self.label(y + 40.0, "Credentials", "from issue to expiry");
        let credentials = &self.timeline.credentials;
        let handed_over: Vec<_> =
            credentials.iter().map(|c| self.in_use_from(&c.access_key_id)).collect();
        for (index, credential) in credentials.iter().enumerate() {
            let top = y + (index % 3) as f64 * 30.0;
            let x = self.x(credential.issued);
            let end = self.x(credential.expires).min(RIGHT);
            self.svg.rectangle(x, top, end - x, 20.0, PALE_AMBER, 4.0);
            let from = handed_over[index].map_or(x, |time| self.x(time));
            let to = handed_over.get(index + 1).copied().flatten().map_or(end, |time| self.x(time));
            self.svg.rectangle(from, top, to.min(RIGHT) - from, 20.0, AMBER, 4.0);
        }
        self.figure(y + 40.0, &credentials.len().to_string(), "issued");
        let y = y + 106.0;
        self.svg.rectangle(LEFT, y - 9.0, 18.0, 10.0, AMBER, 2.0);
        self.svg.text(LEFT + 24.0, y, 12.0, FAINT, "start", false, "Litestream works with them");
        self.svg.rectangle(LEFT + 222.0, y - 9.0, 18.0, 10.0, PALE_AMBER, 2.0);
        self.svg.text(
            LEFT + 246.0,
            y,
            12.0,
            FAINT,
            "start",
            false,
            "good for so long, had they been needed",
        );
    }

    /// Each with a thread through the uploads, to see what a restart does to them.
    fn restarts(&mut self, y: f64) {
        self.label(y, "Restarts", "until uploads go on");
        self.svg.line(LEFT, y, RIGHT, y, RULE, 1.0);
        let mut longest = 0.0_f64;
        for start in self.timeline.starts.iter().skip(1) {
            let x = self.x(start.asked);
            let _ = writeln!(
                self.svg.text,
                "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{BLUE}\" \
                 stroke-opacity=\"0.45\" stroke-dasharray=\"2 3\"/><circle cx=\"{x:.1}\" \
                  cy=\"{y:.1}\" r=\"7\" fill=\"{BLUE}\"/>",
                y + 104.0
            );
            if let Some(seconds) = self.timeline.upload_after(start) {
                longest = longest.max(seconds);
                self.svg.text(x, y - 14.0, 12.0, BLUE, "middle", false, &format!("{seconds:.1} s"));
            }
        }
        let at_most = match self.timeline.restarts() {
            0 => "none is needed".to_owned(),
            _ => format!("{longest:.1} s at most"),
        };
        self.figure(y, &self.timeline.restarts().to_string(), &at_most);
    }

    fn uploads(&mut self, y: f64) {
        self.label(y, "Uploads", "to S3, a tick each");
        self.svg.line(LEFT, y + 20.0, RIGHT, y + 20.0, RULE, 1.0);
        for (upload, _) in &self.timeline.uploads {
            let x = self.x(*upload);
            if x <= RIGHT {
                self.svg.line(x, y - 20.0, x, y + 20.0, GREEN, 1.6);
            }
        }
        let gap = format!("{:.1} s apart at most", self.summary.longest_upload_gap.as_secs_f64());
        self.figure(y, &self.timeline.uploads.len().to_string(), &gap);
        let refused = self.summary.expired_token_errors;
        let colour = if refused == 0 { FAINT } else { RED };
        self.svg.text(
            RIGHT + 28.0,
            y + 30.0,
            12.0,
            colour,
            "start",
            false,
            &format!("{refused} refused as expired"),
        );
    }

    /// Dots over a scale of its own, so that a late row would stand out.
    fn lag(&mut self, base: f64) {
        let lags = self.timeline.lags();
        let largest = lags.iter().map(|(_, lag)| *lag).fold(0.0, f64::max);
        let scale = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0]
            .into_iter()
            .find(|s| *s >= largest)
            .unwrap_or(60.0);
        let height = 56.0;
        self.label(base - height / 2.0, "Heartbeats", "how late each row was");
        self.svg.line(LEFT, base, RIGHT, base, RULE, 1.0);
        self.svg.line(LEFT, base - height, RIGHT, base - height, RULE, 1.0);
        self.svg.text(
            LEFT - 6.0,
            base - height + 4.0,
            11.0,
            FAINT,
            "end",
            false,
            &milliseconds(scale),
        );
        self.svg.text(LEFT - 6.0, base + 4.0, 11.0, FAINT, "end", false, "0");
        for (time, lag) in lags {
            let (x, y) = (self.x(time), base - lag / scale * height);
            let _ = writeln!(
                self.svg.text,
                "<line x1=\"{x:.1}\" y1=\"{base:.1}\" x2=\"{x:.1}\" y2=\"{y:.1}\" \
                 stroke=\"{VIOLET}\" stroke-opacity=\"0.35\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{VIOLET}\"/>"
            );
        }
        let at_most = format!("{} late at most", milliseconds(largest));
        self.figure(base - 32.0, &self.timeline.heartbeats.len().to_string(), &at_most);
    }

    fn verdict(&mut self) {
        let good = self.summary.is_good();
        let (colour, pale) = if good { (GREEN, "#e6f4ec") } else { (RED, "#fbe9e9") };
        self.svg.rectangle(40.0, 590.0, WIDTH - 80.0, 56.0, pale, 8.0);
        let sign = if self.summary.missing.is_empty() { "=" } else { "≠" };
        let rows = format!(
            "{} rows on the device {sign} {} rows restored from S3",
            self.summary.rows_device, self.summary.rows_restored
        );
        self.svg.text(64.0, 625.0, 19.0, colour, "start", true, &rows);
        let checks = format!(
            "integrity check: {} · rows missing: {} · ExpiredToken: {}",
            self.summary.integrity,
            self.summary.missing.len(),
            self.summary.expired_token_errors
        );
        self.svg.text(WIDTH - 64.0, 624.0, 14.0, colour, "end", false, &checks);
    }

    /// When Litestream first had these credentials: started with them, or seen to upload with them.
    fn in_use_from(&self, access_key_id: &str) -> Option<DateTime<Utc>> {
        if self.summary.delivery == Delivery::Endpoint {
            let first = self.timeline.uploads.iter().find(|(_, key)| key == access_key_id);
            return first.map(|(time, _)| *time);
        }
        self.timeline.starts.iter().find(|s| s.access_key_id == access_key_id).map(|s| s.started)
    }

    fn x(&self, time: DateTime<Utc>) -> f64 {
        self.x_of(self.timeline.seconds(time))
    }

    fn x_of(&self, seconds: f64) -> f64 {
        LEFT + seconds / self.seconds * (RIGHT - LEFT)
    }

    fn label(&mut self, y: f64, name: &str, what: &str) {
        self.svg.text(40.0, y - 2.0, 16.0, INK, "start", true, name);
        self.svg.text(40.0, y + 16.0, 12.0, FAINT, "start", false, what);
    }

    fn figure(&mut self, y: f64, figure: &str, what: &str) {
        self.svg.text(RIGHT + 28.0, y - 2.0, 20.0, INK, "start", true, figure);
        self.svg.text(RIGHT + 28.0, y + 15.0, 12.0, FAINT, "start", false, what);
    }
}

fn milliseconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") }
}
