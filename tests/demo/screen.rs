//! The run while it runs: a few lines drawn again and again on a terminal, plain lines elsewhere.

use std::{
    env,
    io::{self, IsTerminal, Write},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    LIFETIME,
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
    /// Rotations told of, and the last second that was, where there is no terminal.
    told: usize,
    told_at: f64,
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
            told: 0,
            told_at: 0.0,
        }
    }

    pub fn show(&mut self, timeline: &Timeline, refused: usize) {
        match self.columns {
            Some(columns) => self.draw(timeline, refused, columns),
            None => self.tell(timeline, refused),
        }
    }

    fn draw(&mut self, timeline: &Timeline, refused: usize, columns: usize) {
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
        let refused_colour = if refused == 0 { Colour::Faint } else { Colour::Red };

        let rows = vec![
            self.line().add(Colour::Plain, &self.title).add(
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
        ];

        let mut out = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        self.drawn = rows.len();
        for line in rows {
            out += &format!("{}\x1b[K\n", line.text);
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush()).ok();
    }

    fn tell(&mut self, timeline: &Timeline, refused: usize) {
        let passed = timeline.seconds(timeline.now);
        // Told once uploads go on: that is what matters about a restart.
        let told = timeline.credentials.iter().zip(&timeline.starts).skip(1 + self.told);
        let ready: Vec<String> = told
            .map_while(|(credential, start)| {
                let recovery = timeline.upload_after(start)?;
                Some(format!(
                    "new credentials …{}, Litestream restarted, uploading again after {recovery:.1} s",
                    tail(&credential.access_key_id)
                ))
            })
            .collect();
        for text in ready {
            self.told += 1;
            println!("  {passed:>4.0} s  rotation {}: {text}", self.told);
        }
        if passed - self.told_at >= 10.0 {
            self.told_at = passed;
            let (rows, uploads) = (timeline.heartbeats.len(), timeline.uploads.len());
            println!(
                "  {passed:>4.0} s  {rows} rows on the device, {uploads} uploads, {refused} refused"
            );
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
