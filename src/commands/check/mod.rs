//! `edgerotate check`: everything that a device needs, step by step, each with its own line and
//! what to do.
//!
//! It looks and changes nothing. What can hang or crash, a vendor's PKCS#11 module, works in the
//! child that fetches ([`crate::fetch::parent`]); and where the daemon runs, what it has found is
//! taken from it rather than from the token.

mod cause;
mod daemon;
mod database;
mod files;
mod litestream;
mod provider;
mod report;
mod settings;
mod step;
mod token;

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use self::{
    daemon::{Findings, PAUSE, Trust},
    provider::Asked,
    report::{CheckReport, Found, Line},
    settings::Missing,
    step::Step,
};
use crate::{
    core::own_files,
    fetch::{
        material::io_words,
        parent::Launcher,
        pin_mark::{self, Directories},
        protocol::{KeyFacts, Looked},
    },
    problems::{
        failure::{Cause, Failure},
        finding::Finding,
    },
    settings::{Config, LayerFile, Layers, Pin, PrivateKey, Provider},
    system::{clock, signals::Signals},
};

/// How long the gate waits for what may only be late, at most, and where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub json: bool,
    pub scope: Scope,
    /// A person says that the PIN is right now: the mark of its refusal goes first.
    pub pin_changed: bool,
    /// How long the gate waits for what may only be late.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { json: false, scope: Scope::All, pin_changed: false, patience: PATIENCE }
    }
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

    /// # Errors
    /// In words, if it is no number of seconds, or more than a boot may take.
    pub fn wait(&mut self, seconds: Option<&str>) -> Result<(), String> {
        let patience = seconds.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        self.patience = patience
            .filter(|patience| *patience <= PATIENCE)
            .ok_or_else(|| format!("--patience needs seconds, at most {}", PATIENCE.as_secs()))?;
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

/// Looks at everything, writes what came of it, and answers with the exit code. `program` is
/// edgerotate itself.
///
/// # Errors
/// The answer could not be written, or the look could not begin at all.
pub fn run(
    files: &[LayerFile],
    options: Options,
    program: &Path,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (mut signals, mut inner) = (Signals::new()?, Signals::new()?);
        tokio::select! {
            report = look_patiently(files, options, program, &mut inner) => report,
            // What was under way is killed when it is dropped.
            _ = signals.next() => Err(io::Error::new(io::ErrorKind::Interrupted, "ended by a \
             signal")),
        }
    })?;
    if options.json {
        writeln!(out, "{:#}", report.json())?;
    } else {
        out.write_all(report.text().as_bytes())?;
    }
    out.flush()?;
    Ok(report.exit_code())
}

async fn look_patiently(
    files: &[LayerFile],
    mut options: Options,
    program: &Path,
    signals: &mut Signals,
) -> io::Result<CheckReport> {
    let begun = Instant::now();
    loop {
        let report = look(files, options, program, signals).await?;
        if !report.may_mend_itself() || begun.elapsed() + PAUSE > options.patience {
            return Ok(report);
        }
        // A refusal is forgotten once: what the token refuses now, it is not asked again.
        options.pin_changed = false;
        sleep(PAUSE).await;
    }
}

async fn look(
    files: &[LayerFile],
    options: Options,
    program: &Path,
    signals: &mut Signals,
) -> io::Result<CheckReport> {
    let mut report = CheckReport { gate: options.scope == Scope::Gate, ..CheckReport::default() };
    let layers = match options.scope {
        Scope::ConfigOnly => Layers::of_files(files),
        Scope::All | Scope::Gate => Layers::read(files, env::vars_os()),
    };
    let missing = match options.scope {
        Scope::All => Missing::IsWrong,
        Scope::ConfigOnly => Missing::MayComeIfOfDevice,
        Scope::Gate => Missing::MayCome,
    };
    let (line, config) = settings::look(&layers, missing);
    report.add([line]);
    if options.scope == Scope::ConfigOnly {
        return Ok(report);
    }
    let look = match (config, options.scope) {
        (Some(config), _) => Some((config, Vec::new())),
        // What the image brings is looked at also where this device brings nothing yet.
        (None, Scope::Gate) => Config::with_stand_ins(layers),
        (None, _) => None,
    };
    match look {
        Some((config, replaced)) => {
            if options.pin_changed {
                report.add(forget_refusal(&config));
            }
            let look = Checker {
                settings: files.iter().map(|file| file.path.clone()).collect(),
                out_of_reach: settings::out_of_reach(&replaced),
                config,
                options,
                program,
            };
            look.at_device(&mut report, signals).await;
        }
        None => {
            let rest = Step::ALL.iter().filter(|step| **step != Step::Settings);
            report.add(rest.map(|step| Line::not_reached(*step, Step::Settings)));
        }
    }
    report.sort();
    Ok(report)
}

/// A person says that the PIN is right now.
fn forget_refusal(config: &Config) -> Option<Line> {
    let error = pin_mark::forget(Directories::of(config)).err()?;
    let mark = config.state_directory.join(own_files::PIN_REFUSED);
    let why = format!("({})", io_words(&error));
    let found = Found::file(Finding::MarkNotRemoved, &mark, &why);
    Some(Line::wrong(Step::Pin, mark.display().to_string(), found))
}

/// What is looked at, and how.
struct Checker<'a> {
    config: Config,
    /// The files that the settings are from.
    settings: Vec<PathBuf>,
    /// What needs settings that are not there.
    out_of_reach: Vec<Step>,
    options: Options,
    program: &'a Path,
}

impl Checker<'_> {
    async fn at_device(&self, report: &mut CheckReport, signals: &mut Signals) {
        let config = &self.config;
        let user = files::user(config).map_or("edgerotate".to_owned(), files::name);
        let daemon = self.at_daemon();
        // A fleet that booted at once is not to ask through its gates what its daemons ask spread
        // out.
        let is_left_to_daemon = self.options.scope == Scope::Gate && daemon.waits_for_its_turn;
        report.add([daemon.line]);
        report.add(files::lines(config, &user));
        // Two programs that are waited for, and neither needs the other.
        let (asked, litestream) = tokio::join!(
            self.at_fetch(report, daemon.findings, is_left_to_daemon),
            litestream::lines(config, self.program, signals)
        );
        report.add([provider::clock_line(asked.as_ref(), clock::wall())]);
        report.add(database::lines(config, daemon.runs, &user));
        report.add(litestream);
        // Litestream names another database than a stand-in, which says nothing.
        let mut out_of_reach = self.out_of_reach.clone();
        if out_of_reach.contains(&Step::Database)
            && report.has(Step::LitestreamConfig, &[Finding::LitestreamOtherDatabase])
        {
            out_of_reach.push(Step::LitestreamConfig);
        }
        report.withdraw(&out_of_reach);
        // What comes with the certificate, as docs/provisioning.md has it, is not there before it.
        // But a token that has taken the PIN on this device was there.
        if !pin_mark::was_accepted(&config.state_directory)
            && (out_of_reach.contains(&Step::CertificateFile)
                || report.failed(Step::CertificateFile, Cause::CertificateMissing))
        {
            report.expect(&[
                Cause::TokenMissing,
                Cause::TokenAbsent,
                Cause::TokenNotInitialized,
                Cause::KeyObjectMissing,
                Cause::TokenFault,
            ]);
        }
        // What is decided need not wait for it.
        if let Some(found) = daemon.too_young.filter(|_| !report.is_decided()) {
            report.add([Line::wrong(Step::Daemon, "", found)]);
        }
    }

    fn at_daemon(&self) -> daemon::DaemonSeen {
        if self.out_of_reach.contains(&Step::Daemon) {
            let line = Line::not_reached(Step::Daemon, Step::Settings);
            return daemon::DaemonSeen::away(line);
        }
        let trust = match self.options.scope {
            _ if self.options.pin_changed => Trust::Never,
            Scope::Gate => Trust::OfThisBoot,
            Scope::All | Scope::ConfigOnly => Trust::Recent,
        };
        let awaited = self.options.scope == Scope::Gate && daemon::is_to_run();
        daemon::look(&self.config, &self.settings, trust, awaited)
    }

    /// Key, certificate and provider: as the daemon found them, or by asking.
    async fn at_fetch(
        &self,
        report: &mut CheckReport,
        findings: Option<Findings>,
        is_left_to_daemon: bool,
    ) -> Option<Asked> {
        let provider = &self.config.provider;
        let launcher = Launcher::new(self.program.to_owned(), &self.config);
        // The marks of a refused PIN must have their place before a PIN is tried.
        let missing = [Step::RuntimeDirectory, Step::StateDirectory]
            .into_iter()
            .find(|step| {
                report.has(*step, &[Finding::DirectoryMissing, Finding::DirectoryNotUsable])
            })
            .filter(|_| matches!(provider.key, PrivateKey::Token(_)));
        let at_key = findings.is_none() && missing.is_none();
        let looked = launcher.look(&self.tried(), at_key, unreapable).await;
        if let Some(Err(failure)) = &looked.authorities {
            report.add([token::line(failure, provider)]);
        }

        let asked = match (findings, &looked.key) {
            (Some(findings), _) => Some(from_daemon(report, &self.config, findings)),
            (None, Some(key)) => {
                report.add(token::lines(provider, &looked, key));
                let blocked = self.blocked(report, &looked, key);
                match blocked.or(is_left_to_daemon.then_some(Step::Daemon)) {
                    Some(step) => {
                        report.add(provider::not_reached(step));
                        None
                    }
                    None => {
                        let reply = match &looked.proxy_file {
                            Some(failure) => failure.clone().into(),
                            None => launcher.try_out(provider, unreapable).await,
                        };
                        let asked = Asked::of(reply, clock::wall());
                        report.add(provider::lines(provider, &asked));
                        Some(asked)
                    }
                }
            }
            (None, None) => {
                let after = missing.unwrap_or(Step::RuntimeDirectory);
                let steps = token::steps(provider).iter();
                report.add(steps.map(|step| Line::not_reached(*step, after)));
                report.add(provider::not_reached(after));
                None
            }
        };
        let ahead = asked.as_ref().and_then(|asked| asked.ahead_s).unwrap_or(0);
        let now = clock::wall() - chrono::TimeDelta::seconds(ahead);
        let accepted = asked.as_ref().is_some_and(|asked| asked.result.is_ok());
        report.add(token::certificate(provider, &looked, now, accepted));
        asked
    }

    /// How the key is opened: without the PIN where its token is not known yet.
    fn tried(&self) -> Provider {
        let mut provider = self.config.provider.clone();
        if let (PrivateKey::Token(token), true) =
            (&mut provider.key, self.out_of_reach.contains(&Step::Token))
        {
            token.pin = Pin::None;
        }
        provider
    }

    /// What keeps the provider from being asked.
    fn blocked(
        &self,
        report: &CheckReport,
        looked: &Looked,
        key: &Result<KeyFacts, Failure>,
    ) -> Option<Step> {
        if let Err(failure) = key {
            return Some(cause::step(failure.cause, &self.config.provider));
        }
        let steps = [
            (Step::Settings, !self.out_of_reach.is_empty()),
            (Step::CertificateFile, !matches!(looked.certificate, Some(Ok(_)))),
            (Step::CaFile, report.is_wrong(Step::CaFile)),
            (Step::Pair, matches!(looked.pair, Some(Err(_)))),
        ];
        steps.into_iter().find_map(|(step, wrong)| wrong.then_some(step))
    }
}

/// The lines that the daemon's last fetch stands for.
fn from_daemon(report: &mut CheckReport, config: &Config, findings: Findings) -> Asked {
    let provider = &config.provider;
    let Findings { asked, source } = findings;
    let mut lines = match &asked.result {
        Ok(_) => token::fine(provider, "it signs"),
        Err(failure) => {
            let at = cause::step(failure.cause, provider);
            if at >= Step::Endpoint {
                token::fine(provider, "it can be opened")
            } else {
                token::broken(provider, failure)
            }
        }
    };
    let reached = match &asked.result {
        Err(failure) if cause::step(failure.cause, provider) < Step::Endpoint => {
            provider::not_reached(cause::step(failure.cause, provider))
        }
        _ => provider::lines(provider, &asked),
    };
    lines.extend(reached);
    for line in &mut lines {
        line.say(&source);
    }
    report.add(lines);
    asked
}

fn unreapable(id: u32) {
    log::error!(
        "process {id} does not die: the PKCS#11 module hangs in the kernel; restart the device"
    );
}
