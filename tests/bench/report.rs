//! What was measured, for people and for programs.

use std::{fmt::Write, fs, thread};

use serde_json::{Value, json};

use crate::{Effort, statistics::Summary, support::root};

/// What came of one part.
pub struct Section {
    pub name: &'static str,
    pub title: &'static str,
    pub needs: &'static str,
    /// The load average before and after.
    pub load: [f64; 2],
    pub seconds: u64,
    pub outcome: Outcome,
}

pub enum Outcome {
    Measured(Figures),
    Skipped(String),
    Failed(String),
}

/// The figures of one part, with what is to be known to read them.
#[derive(Default)]
pub struct Figures {
    figures: Vec<Figure>,
    notes: Vec<String>,
    /// A file's name, and the picture.
    plots: Vec<(String, String)>,
}

struct Figure {
    what: String,
    summary: Summary,
    unit: &'static str,
    /// It is to be no more than this.
    goal: Option<f64>,
}

impl Figures {
    pub fn add(&mut self, what: impl Into<String>, summary: Summary, unit: &'static str) {
        self.figures.push(Figure { what: what.into(), summary, unit, goal: None });
    }

    /// A figure that is to be no more than `goal`.
    pub fn add_with_goal(
        &mut self,
        what: impl Into<String>,
        summary: Summary,
        unit: &'static str,
        goal: f64,
    ) {
        self.figures.push(Figure { what: what.into(), summary, unit, goal: Some(goal) });
    }

    /// Something that was counted once.
    pub fn count(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.add(what, Summary::of(&[value]), unit);
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub fn plot(&mut self, name: &str, picture: String) {
        self.plots.push((format!("{name}.svg"), picture));
    }
}

impl Outcome {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Measured(_) => "measured",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
        }
    }
}

/// Writes target/bench.
pub fn write(sections: &[Section], effort: Effort) {
    let directory = root().join("target/bench");
    fs::create_dir_all(&directory).expect("target/bench");
    for section in sections {
        if let Outcome::Measured(figures) = &section.outcome {
            for (name, picture) in &figures.plots {
                fs::write(directory.join(name), picture).expect("a plot");
            }
        }
    }
    fs::write(directory.join("report.md"), markdown(sections, effort)).expect("report.md");
    let json = serde_json::to_string_pretty(&to_json(sections, effort)).expect("JSON");
    fs::write(directory.join("report.json"), json + "\n").expect("report.json");
}

fn markdown(sections: &[Section], effort: Effort) -> String {
    let mut text = String::from("# What edgerotate costs\n\n");
    let _ = writeln!(
        text,
        "{} with {} cores. Each figure is a median, beside it the middle half of what was \
         measured. docs/performance.md \
         explains them.",
        std::env::consts::ARCH,
        cores()
    );
    if effort.quick {
        text +=
            "\n**A quick run: it shows that all of it works, and its figures are worth little.**\n";
    }
    for section in sections {
        let _ = writeln!(text, "\n## {}\n", section.title);
        match &section.outcome {
            Outcome::Measured(figures) => figures.write(&mut text),
            Outcome::Skipped(why) => {
                let _ = writeln!(text, "skipped: {why}");
            }
            Outcome::Failed(why) => {
                let _ = writeln!(text, "**failed**: {why}");
            }
        }
        let [before, after] = section.load;
        let _ = writeln!(
            text,
            "\n`make bench PART={}` took {} s, with a load average of {before} before and {after} \
             after. It needs {}.",
            section.name, section.seconds, section.needs
        );
    }
    text
}

impl Figures {
    fn write(&self, text: &mut String) {
        *text += "| | median | middle half | of | goal |\n|---|---|---|---|---|\n";
        for Figure { what, summary, unit, goal } in &self.figures {
            let [low, high] = summary.quartiles.map(rounded);
            let spread = if summary.count > 1 { format!("{low} to {high}") } else { String::new() };
            let goal = goal.map_or(String::new(), |goal| {
                let verdict = if summary.median <= goal { "met" } else { "**missed**" };
                format!("≤ {}: {verdict}", rounded(goal))
            });
            let _ = writeln!(
                text,
                "| {what} | {} {unit} | {spread} | {} | {goal} |",
                rounded(summary.median),
                summary.count
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        for (name, _) in &self.plots {
            let _ = writeln!(text, "\n![{}]({name})", name.trim_end_matches(".svg"));
        }
    }

    fn to_json(&self) -> Value {
        let figure = |Figure { what, summary, unit, goal }: &Figure| {
            json!({
                "what": what,
                "median": summary.median,
                "quartiles": summary.quartiles,
                "count": summary.count,
                "unit": unit,
                "goal": goal,
                "met": goal.map(|goal| summary.median <= goal),
            })
        };
        json!({
            "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
            "notes": self.notes,
            "plots": self.plots.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        })
    }
}

fn to_json(sections: &[Section], effort: Effort) -> Value {
    let section = |section: &Section| {
        let mut value = match &section.outcome {
            Outcome::Measured(figures) => figures.to_json(),
            Outcome::Skipped(why) | Outcome::Failed(why) => json!({"why": why}),
        };
        value["name"] = json!(section.name);
        value["needs"] = json!(section.needs);
        value["outcome"] = json!(section.outcome.word());
        value["load_average"] = json!(section.load);
        value["seconds"] = json!(section.seconds);
        value
    };
    json!({
        "machine": {"architecture": std::env::consts::ARCH, "cores": cores()},
        "quick": effort.quick,
        "parts": sections.iter().map(section).collect::<Vec<_>>(),
    })
}

fn cores() -> usize {
    thread::available_parallelism().map_or(0, usize::from)
}

/// Three digits that count, as more would claim too much.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
