//! `edgerotate check`: everything that a device needs, step by step, each with its own line and what to do.
//!
//! It looks and changes nothing. What can hang or crash, a vendor's PKCS#11 module, works in the child that fetches
//! ([`crate::fetch_child`]); and where the daemon runs, what it has found is taken from it rather than from the token.

mod report;
mod settings;

use std::{
    env,
    io::{self, Write},
};

pub use self::report::Step;
use self::{
    report::{Line, Report},
    settings::Missing,
};
use crate::config::{LayerFile, Layers};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub json: bool,
    pub scope: Scope,
    /// A person says that the PIN is right now: the mark of its refusal goes first.
    pub pin_changed: bool,
}

impl Options {
    /// # Errors
    /// In words, if another scope was asked for already.
    pub fn narrow(&mut self, scope: Scope) -> Result<(), String> {
        if self.scope != Scope::All && self.scope != scope {
            return Err("--config-only and --gate exclude each other".to_owned());
        }
        self.scope = scope;
        Ok(())
    }
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    All,
    /// The settings' files and nothing else: for the build of an image, on any machine.
    ConfigOnly,
    /// Whether an update stays: only what an image can break counts.
    Gate,
}

/// Looks at everything, writes what came of it, and answers with the exit code.
///
/// # Errors
/// The answer could not be written.
pub fn run(files: &[LayerFile], options: Options, out: &mut dyn Write) -> io::Result<u8> {
    let report = look(files, options);
    if options.json {
        writeln!(out, "{:#}", report.json())?;
    } else {
        out.write_all(report.text().as_bytes())?;
    }
    out.flush()?;
    Ok(report.exit_code())
}

fn look(files: &[LayerFile], options: Options) -> Report {
    let mut report = Report { gate: options.scope == Scope::Gate, ..Report::default() };
    let layers = match options.scope {
        Scope::ConfigOnly => Layers::of_files(files),
        Scope::All | Scope::Gate => Layers::read(files, env::vars_os()),
    };
    let missing = match options.scope {
        Scope::All => Missing::IsWrong,
        Scope::ConfigOnly | Scope::Gate => Missing::MayCome,
    };
    let (line, config) = settings::look(&layers, missing);
    report.lines.push(line);
    if options.scope == Scope::ConfigOnly {
        return report;
    }
    if config.is_none() {
        let rest = Step::ALL.iter().filter(|step| **step != Step::Settings);
        report.lines.extend(rest.map(|step| Line::not_reached(*step, Step::Settings)));
    }
    report.sort();
    report
}
