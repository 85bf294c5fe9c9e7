//! What `check` says: one line for each step, and the exit code.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use super::step::Step;
use crate::problems::{
    failure::{Cause, Failure},
    finding::{Finding, Gate, Level},
};

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub code: &'static str,
    pub exit_code: u8,
    pub gate: Gate,
    what: &'static str,
    /// What was found here; never a secret.
    detail: String,
    remedy: String,
}

impl Found {
    pub fn new(finding: Finding, detail: impl Into<String>) -> Self {
        Self {
            code: finding.name(),
            exit_code: finding.code_of_check(),
            gate: finding.gate(),
            what: finding.what(),
            detail: detail.into(),
            remedy: finding.remedy().to_owned(),
        }
    }

    /// Where the detail says it all by itself.
    pub fn line(finding: Finding, line: String) -> Self {
        Self { what: "", ..Self::new(finding, line) }
    }

    /// About a file, which the remedy names.
    pub fn file(finding: Finding, path: &Path, more: &str) -> Self {
        let shown = path.display();
        let detail = if more.is_empty() { shown.to_string() } else { format!("{shown} {more}") };
        Self::new(finding, detail).about(path)
    }

    pub fn failure(failure: &Failure, gate: Gate) -> Self {
        let cause = failure.cause;
        Self {
            code: cause.name(),
            exit_code: cause.exit_code(),
            gate,
            what: cause.what(),
            detail: failure.detail.clone(),
            remedy: cause.remedy().to_owned(),
        }
    }

    /// The file that the remedy is about.
    pub fn about(mut self, path: &Path) -> Self {
        self.remedy = self.remedy.replace("FILE", &path.display().to_string());
        self
    }

    /// The user that the remedy is about.
    pub fn by(mut self, user: &str) -> Self {
        self.remedy = self.remedy.replace("USER", user);
        self
    }

    /// The same, but no reason to give an image back.
    pub fn not_of_image(mut self) -> Self {
        self.gate = Gate::Warns;
        self
    }

    /// The same, but it can wait.
    pub fn softened(mut self) -> Self {
        self.exit_code = 0;
        self
    }

    fn level(&self) -> Level {
        Level::of(self.exit_code)
    }

    fn text(&self) -> String {
        // A detail may quote a peer: whatever it sends, the line stays one line.
        let detail: String =
            self.detail.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match (self.what, detail.is_empty()) {
            ("", _) => detail,
            (what, true) => what.to_owned(),
            (what, false) => format!("{what}: {detail}"),
        }
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    Looked(Vec<Found>),
    /// It needs what went wrong there.
    NotReached(Step),
}

/// A step, done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub step: Step,
    /// What was looked at, and what was seen.
    pub seen: String,
    pub outcome: StepOutcome,
}

impl Line {
    pub fn ok(step: Step, seen: impl Into<String>) -> Self {
        Self::new(step, seen, Vec::new())
    }

    pub fn new(step: Step, seen: impl Into<String>, found: Vec<Found>) -> Self {
        Self { step, seen: seen.into(), outcome: StepOutcome::Looked(found) }
    }

    pub fn wrong(step: Step, seen: impl Into<String>, found: Found) -> Self {
        Self::new(step, seen, vec![found])
    }

    pub fn not_reached(step: Step, after: Step) -> Self {
        Self { step, seen: String::new(), outcome: StepOutcome::NotReached(after) }
    }

    /// Adds what else was found.
    pub fn add(&mut self, more: impl IntoIterator<Item = Found>) {
        match &mut self.outcome {
            StepOutcome::Looked(found) => found.extend(more),
            StepOutcome::NotReached(_) => {}
        }
    }

    fn merge(&mut self, other: Self) {
        match (&mut self.outcome, other.outcome) {
            (StepOutcome::Looked(all), StepOutcome::Looked(more)) => {
                for found in more {
                    if !all.iter().any(|known| known.code == found.code) {
                        all.push(found);
                    }
                }
            }
            (here @ StepOutcome::NotReached(_), StepOutcome::Looked(found)) => {
                self.seen = other.seen;
                *here = StepOutcome::Looked(found);
            }
            (StepOutcome::Looked(_) | StepOutcome::NotReached(_), StepOutcome::NotReached(_)) => {}
        }
    }

    /// Adds where it is known from.
    pub fn say(&mut self, source: &str) {
        if let StepOutcome::Looked(found) = &mut self.outcome {
            self.seen = format!("{} {source}", self.seen);
            for found in found {
                found.detail = format!("{} {source}", found.detail);
            }
        }
    }

    pub fn found(&self) -> &[Found] {
        match &self.outcome {
            StepOutcome::Looked(found) => found,
            StepOutcome::NotReached(_) => &[],
        }
    }

    pub fn is_wrong(&self) -> bool {
        self.found().iter().any(|found| found.level() == Level::Error)
    }
}

/// All steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    pub lines: Vec<Line>,
    /// Only what an image can break is wrong.
    pub gate: bool,
}

/// Which exit code counts where several would: settings first, as whoever corrects them changes all
/// the rest.
const WORST_FIRST: [u8; 4] = [78, 69, 77, 75];

impl CheckReport {
    /// Adds lines. Where a step has one already, as a file's has from a look at its rights, what
    /// went wrong stays, and each finding is told once.
    pub fn add(&mut self, lines: impl IntoIterator<Item = Line>) {
        for line in lines {
            let one_for_each = matches!(line.step, Step::Guard);
            match self.lines.iter_mut().find(|other| other.step == line.step && !one_for_each) {
                Some(other) => other.merge(line),
                None => self.lines.push(line),
            }
        }
    }

    /// Puts the lines in their order; in that of looking, where a step has several.
    pub fn sort(&mut self) {
        self.lines.sort_by_key(|line| line.step);
    }

    /// What was said of these steps is not so: they need settings that are not there.
    pub fn withdraw(&mut self, steps: &[Step]) {
        for line in self.lines.iter_mut().filter(|line| steps.contains(&line.step)) {
            *line = Line::not_reached(line.step, Step::Settings);
        }
    }

    pub fn is_wrong(&self, step: Step) -> bool {
        self.lines.iter().any(|line| line.step == step && line.is_wrong())
    }

    pub fn has(&self, step: Step, findings: &[Finding]) -> bool {
        let lines = self.lines.iter().filter(|line| line.step == step);
        lines.flat_map(Line::found).any(|found| findings.iter().any(|f| f.name() == found.code))
    }

    pub fn failed(&self, step: Step, cause: Cause) -> bool {
        let lines = self.lines.iter().filter(|line| line.step == step);
        lines.flat_map(Line::found).any(|found| found.code == cause.name())
    }

    /// Another image would meet these on this device as well.
    pub fn expect(&mut self, causes: &[Cause]) {
        for line in &mut self.lines {
            if let StepOutcome::Looked(all) = &mut line.outcome {
                let expected = |found: &&mut Found| causes.iter().any(|c| c.name() == found.code);
                all.iter_mut().filter(expected).for_each(|found| found.gate = Gate::Warns);
            }
        }
    }

    /// Whether something speaks against the image that no time mends.
    pub fn is_decided(&self) -> bool {
        let found = self.lines.iter().flat_map(Line::found);
        self.gate && found.filter(|f| f.level() == Level::Error).any(|f| f.gate == Gate::Fails)
    }

    /// Whether all that speaks against the image may only be late.
    pub fn may_mend_itself(&self) -> bool {
        let found = self.lines.iter().flat_map(Line::found);
        let mut wrong = found.filter(|found| self.level(found) == Level::Error).peekable();
        self.gate && wrong.peek().is_some() && wrong.all(|found| found.gate == Gate::FailsAtLast)
    }

    fn level(&self, found: &Found) -> Level {
        if self.gate && found.gate == Gate::Warns { Level::Warning } else { found.level() }
    }

    fn result(&self, line: &Line) -> &'static str {
        match &line.outcome {
            StepOutcome::NotReached(_) => "not-reached",
            StepOutcome::Looked(found) => match found.iter().map(|found| self.level(found)).max() {
                None => "ok",
                Some(level) => level.name(),
            },
        }
    }

    pub fn exit_code(&self) -> u8 {
        let all = self.lines.iter().flat_map(Line::found);
        let codes: Vec<u8> = all
            .filter(|found| self.level(found) == Level::Error)
            .map(|found| found.exit_code)
            .collect();
        let worst = WORST_FIRST.into_iter().find(|code| codes.contains(code));
        worst.or_else(|| codes.first().copied()).unwrap_or(0)
    }

    fn summary(&self) -> String {
        let found = || self.lines.iter().flat_map(Line::found);
        let count = |level| found().filter(|found| self.level(found) == level).count();
        let wrong = count(Level::Error);
        let not_reached = self
            .lines
            .iter()
            .filter(|line| matches!(line.outcome, StepOutcome::NotReached(_)))
            .count();
        let counts: Vec<String> =
            [(wrong, "wrong"), (count(Level::Warning), "to look at"), (not_reached, "not reached")]
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
        let counts = counts.join(", ");
        match (self.gate, wrong) {
            (false, _) if counts.is_empty() => "all is well".to_owned(),
            (false, _) => counts,
            (true, 0) if counts.is_empty() => "this image is good for this device".to_owned(),
            (true, 0) => format!("this image is good for this device: {counts}"),
            (true, _) => format!("this image is not good for this device: {counts}"),
        }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self.lines.iter().map(|line| line.step.label().len()).max().unwrap_or(0);
        for line in &self.lines {
            let label = line.step.label();
            // Writing to a String does not fail.
            let _ = match &line.outcome {
                StepOutcome::NotReached(after) => {
                    writeln!(
                        text,
                        "{:<11}  {label:<width$}  needs: {}",
                        "not reached",
                        after.label()
                    )
                }
                StepOutcome::Looked(found) if found.is_empty() => {
                    writeln!(text, "{:<11}  {label:<width$}  {}", "ok", line.seen)
                }
                StepOutcome::Looked(all) => {
                    for (at, found) in all.iter().enumerate() {
                        let result = match self.level(found) {
                            Level::Warning => "warning",
                            Level::Error => "WRONG",
                        };
                        let _ = writeln!(
                            text,
                            "{result:<11}  {label:<width$}  {} [{}]",
                            found.text(),
                            found.code
                        );
                        // Several of a kind have one remedy, after the last of them.
                        if all.get(at + 1).is_none_or(|next| next.remedy != found.remedy) {
                            let _ =
                                writeln!(text, "{:<11}  {:<width$}  -> {}", "", "", found.remedy);
                        }
                    }
                    Ok(())
                }
            };
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self.lines.iter().map(|line| self.json_of(line)).collect();
        json!({
            "result": if self.exit_code() == 0 { "ok" } else { "wrong" },
            "exit_code": self.exit_code(),
            "summary": self.summary(),
            "steps": steps,
        })
    }

    fn json_of(&self, line: &Line) -> Value {
        let found: Vec<Value> = line
            .found()
            .iter()
            .map(|found| {
                json!({
                    "code": found.code,
                    "level": self.level(found).name(),
                    "exit_code": found.exit_code,
                    "found": found.text(),
                    "remedy": found.remedy,
                })
            })
            .collect();
        json!({
            "step": line.step.name(),
            "result": self.result(line),
            "seen": line.seen,
            "findings": found,
            "needs": match &line.outcome {
                StepOutcome::NotReached(after) => Some(after.name()),
                StepOutcome::Looked(_) => None,
            },
        })
    }
}
