//! The run while it runs: a few lines drawn again and again on a terminal, plain lines elsewhere.

use std::{
    env,
    io::{self, IsTerminal, Write},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    Delivery, LIFETIME,
    chart::{Chart, gauge},
    support::Generation,
    timeline::Timeline,
};

const LABEL: usize = 14;
/// What stands right of the chart: a number and a few words.
const NOTES: usize = 32;

pub struct Screen {
    title: String,
    length: f64,
    /// Columns; `None` where there is no terminal.
    columns: Option<usize>,
    colours: bool,
    /// Lines drawn last time, to go back over.
    drawn: usize,
    /// Rotations told of each, and the last second that was, where there is no terminal.
    told: [usize; 2],
    told_at: f64,
}

/// One of the devices, as it is now.
pub struct Seen {
    pub delivery: Delivery,
    pub timeline: Timeline,
    pub refused: usize,
}

/// One line, never wider than the terminal, or it would spoil the drawing over.
struct Line {
    text: String,
    room: usize,
    colours: bool,
}

#[derive(Clone, Copy)]
enum Colour {
    Plain,
    Faint,
    Amber,
    Blue,
    Green,
    Red,
}

impl Screen {
    pub fn new(generation: Generation, length: Duration) -> Self {
        let terminal =
            io::stdout().is_terminal() && env::var("TERM").is_ok_and(|term| term != "dumb");
        Self {
            title: format!(
                "Litestream {}, credentials of {} s",
                generation.version(),
                LIFETIME.as_secs()
            ),
            length: length.as_secs_f64(),
            columns: terminal.then(columns),
            colours: env::var_os("NO_COLOR").is_none(),
            drawn: 0,
            told: [0; 2],
            told_at: 0.0,
        }
    }

    pub fn show(&mut self, seen: &[Seen; 2]) {
        match self.columns {
            Some(columns) => self.draw(seen, columns),
            None => self.tell(seen),
        }
    }

    fn draw(&mut self, seen: &[Seen; 2], columns: usize) {
        let mut out = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        let rows: Vec<Line> = seen.iter().flat_map(|one| self.rows(one, columns)).collect();
        self.drawn = rows.len();
        for line in rows {
            out += &format!("{}\x1b[K\n", line.text);
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush()).ok();
    }

    fn rows(&self, seen: &Seen, columns: usize) -> Vec<Line> {
        let (timeline, refused) = (&seen.timeline, seen.refused);
        let passed = timeline.seconds(timeline.now);
        let cells = columns.saturating_sub(2 + LABEL + NOTES).clamp(10, 72);
        let chart = Chart { cells, total: self.length + 2.0, passed };
        let seconds = |times: &mut dyn Iterator<Item = chrono::DateTime<chrono::Utc>>| -> Vec<f64> {
            times.map(|time| timeline.seconds(time)).collect()
        };
        let rotations = seconds(&mut timeline.credentials.iter().skip(1).map(|c| c.issued));
        let restarts = seconds(&mut timeline.starts.iter().skip(1).map(|s| s.asked));
        let uploads = seconds(&mut timeline.uploads.iter().map(|(time, _)| *time));
        let heartbeats = seconds(&mut timeline.heartbeats.iter().copied());

        let remaining = timeline
            .credentials
            .last()
            .map_or(0.0, |c| (c.expires - timeline.now).as_seconds_f64());
        let key = timeline.credentials.last().map_or("", |c| &c.access_key_id);
        let since_upload =
            timeline.uploads.last().map(|(time, _)| (timeline.now - *time).as_seconds_f64());
        let recovery =
            timeline.starts.iter().skip(1).filter_map(|s| timeline.upload_after(s)).next_back();
        let recovery = match seen.delivery {
            Delivery::EnvironmentFile => recovery,
            Delivery::Endpoint => None,
        };
        let refused_colour = if refused == 0 { Colour::Faint } else { Colour::Red };

        vec![
            self.line()
                .add(Colour::Plain, &format!("{}: {}", seen.delivery.name(), self.title))
                .add(
                    Colour::Faint,
                    &format!("   {:.0} s of {:.0} s", passed.min(self.length), self.length),
                ),
            self.line(),
            self.lane("credentials")
                .add(Colour::Amber, &gauge(remaining / LIFETIME.as_secs_f64(), cells))
                .add(Colour::Plain, &format!("  {remaining:>4.0} s left"))
                .add(Colour::Faint, &format!("  …{}", tail(key))),
            self.lane("rotations")
                .add(Colour::Amber, &chart.marks(rotations.into_iter(), '◆'))
                .add(Colour::Plain, &format!("  {:>4}", timeline.rotations())),
            self.lane("restarts")
                .add(Colour::Blue, &chart.marks(restarts.into_iter(), '●'))
                .add(Colour::Plain, &format!("  {:>4}", timeline.restarts()))
                .add(
                    Colour::Faint,
                    &recovery.map_or(String::new(), |s| format!("  uploads again in {s:.1} s")),
                ),
            self.lane("uploads")
                .add(Colour::Green, &chart.bars(uploads.iter().copied(), 1.0))
                .add(Colour::Plain, &format!("  {:>4}", timeline.uploads.len()))
                .add(
                    Colour::Faint,
                    &since_upload.map_or(String::new(), |s| format!("  the last {s:.1} s ago")),
                ),
            self.lane("heartbeats")
                .add(
                    Colour::Green,
                    &chart.bars(heartbeats.iter().copied(), 1.0 / crate::HEARTBEAT.as_secs_f64()),
                )
                .add(Colour::Plain, &format!("  {:>4}", timeline.heartbeats.len()))
                .add(Colour::Faint, "  rows on the device"),
            self.lane("refused")
                .add(refused_colour, &" ".repeat(cells))
                .add(refused_colour, &format!("  {refused:>4}  ExpiredToken")),
            self.line(),
        ]
    }

    fn tell(&mut self, seen: &[Seen; 2]) {
        for (one, told) in seen.iter().zip(&mut self.told) {
            let timeline = &one.timeline;
            let passed = timeline.seconds(timeline.now);
            // Told once uploads go on: that is what matters about a rotation.
            for text in news(one, *told) {
                *told += 1;
                let name = one.delivery.name();
                println!("  {passed:>4.0} s  {name:<16}  rotation {told}: {text}");
            }
        }
        let passed = seen[0].timeline.seconds(seen[0].timeline.now);
        if passed - self.told_at >= 10.0 {
            self.told_at = passed;
            for Seen { delivery, timeline, refused } in seen {
                let (rows, uploads) = (timeline.heartbeats.len(), timeline.uploads.len());
                let name = delivery.name();
                println!(
                    "  {passed:>4.0} s  {name:<16}  {rows} rows on the device, {uploads} uploads, \
                     {refused} refused"
                );
            }
        }
    }

    fn line(&self) -> Line {
        let line = Line {
            text: String::new(),
            room: self.columns.unwrap_or(80) - 1,
            colours: self.colours,
        };
        line.add(Colour::Plain, "  ")
    }

    fn lane(&self, label: &str) -> Line {
        self.line().add(Colour::Faint, &format!("{label:<LABEL$}"))
    }
}

/// The rotations after those already told of.
fn news(seen: &Seen, told: usize) -> Vec<String> {
    let timeline = &seen.timeline;
    let credentials = timeline.credentials.iter().enumerate().skip(1 + told);
    credentials
        .map_while(|(number, credential)| {
            let key = tail(&credential.access_key_id);
            Some(match seen.delivery {
                Delivery::EnvironmentFile => {
                    let after = timeline.upload_after(timeline.starts.get(number)?)?;
                    format!("…{key}, Litestream restarted, uploading again after {after:.1} s")
                }
                Delivery::Endpoint => {
                    let after = timeline.upload_with(credential)?;
                    format!("…{key}, no restart, uploading with them after {after:.1} s")
                }
            })
        })
        .collect()
}

impl Line {
    fn add(mut self, colour: Colour, text: &str) -> Self {
        let text: String = text.chars().take(self.room).collect();
        self.room -= text.chars().count();
        let code = match colour {
            Colour::Plain => "",
            Colour::Faint => "2",
            Colour::Amber => "33",
            Colour::Blue => "36",
            Colour::Green => "32",
            Colour::Red => "1;31",
        };
        if self.colours && !code.is_empty() {
            self.text += &format!("\x1b[{code}m{text}\x1b[0m");
        } else {
            self.text += &text;
        }
        self
    }
}

/// The end of an access key id, enough to tell one from the next.
fn tail(key: &str) -> &str {
    &key[key.len().saturating_sub(4)..]
}

/// How wide the terminal is; stty knows, and needs no unsafe code of ours.
fn columns() -> usize {
    let size =
        Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output();
    let size =
        size.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    size.split_whitespace().nth(1).and_then(|c| c.parse().ok()).filter(|c| *c >= 40).unwrap_or(80)
}
