//! The command line: what a person or a unit file asks for, and the answer in an exit code.

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use chrono::SecondsFormat;
use log::LevelFilter;

use crate::{
    check::{self, Scope},
    clock,
    config::{Config, LayerFile, Layers, UnknownKeys, Warning, help as settings_help},
    core_dump, daemon,
    fetch::child,
    fetch_child::{ByHandError, Launcher, by_hand},
    service_manager, status, verify,
};

const USAGE: &str = "\
edgerotate keeps short-lived AWS credentials fresh from a key that never leaves the HSM,
hands them to Litestream, and writes a heartbeat into SQLite.

Usage: edgerotate <command> [--config FILE]...

Commands:
  run      the daemon: rotate the credentials, restart Litestream, write the heartbeat
  fetch    ask the provider once, now, and say what came or what is wrong; shows no secret
  check    go through everything the device needs: ok, or what is wrong and what to do
  status   what the daemon does now: credentials, next rotation, last error, heartbeat, replica
  verify   restore the replica and compare: whole, rows missing (which), behind, or too early to tell

Options:
  --config FILE         read the settings from FILE instead of the three usual files; again for more,
                        later ones win; the environment wins over all
  --device-config FILE  the device's own settings, which need not be there, after the others
  --json                for check, status and verify: the answer as JSON
  --watch               for status: again each second, until Ctrl-C
  -h, --help            this text; `edgerotate run --help` lists every setting
  -V, --version         the version
";

const EXIT_CODES: &str = "\
Exit codes:
  0   done; for run: stopped by a signal; for verify: whole; for check and status: nothing is wrong
  64  the command line was not understood
  65  for verify: rows are missing in the replica, or it can't be restored soundly; for status: a
      replica is suspect
  69  a part of this device is broken (a file, the PKCS#11 module, the token); for status: the
      daemon does not run, or heartbeats or the hand-over to Litestream fail
  74  standard output could not be written
  75  provider, network or clock away: try later; for run: another one is running; for verify:
      behind, or too early to tell
  77  not permitted: by the provider, the token (PIN) or the file system
  78  the settings are wrong, here or in AWS; the unit does not restart on it
";

const SETTINGS: &str = "\
Settings are KEY=value lines, as in a systemd EnvironmentFile, from these places; later ones win:
  /usr/lib/edgerotate/edgerotate.env   the image's
  /etc/edgerotate/edgerotate.env       the administrator's
  /data/edgerotate/device.env          the device's own
  the environment
";

const CHECK: &str = "\
Usage: edgerotate check [--config FILE]... [--config-only | --gate] [--pin-changed] [--json]

Goes through everything the device needs, each step on a line of its own: settings, files and their
rights, PKCS#11 module, token, PIN, key, certificate, endpoint, role alias, clock, database, Litestream,
guard. What is wrong has what to do about it on the next line. It changes nothing, and asks the provider
once; where the daemon runs, its findings are taken instead. Run it as the daemon's user.

  --config-only   the settings' files alone, without a look at anything else: for the build of an image
  --gate          for an update: fails only for what an image can break
  --patience SECONDS
                  how long the gate waits for what may be late after a boot: 300 at most, which it is
  --pin-changed   forget that the token refused the PIN, before all else: it will be tried again
  --json          the same for a program
";

/// The command line was not understood (EX_USAGE).
const BAD_USAGE: u8 = 64;

/// A part of this device is broken (EX_UNAVAILABLE).
const BROKEN_DEVICE: u8 = 69;

/// Wrong settings (EX_CONFIG).
const BAD_SETTINGS: u8 = 78;

/// Ended by a signal before there was an answer (EX_TEMPFAIL).
const TRY_AGAIN: u8 = 75;

/// The answer could not be written (EX_IOERR).
const NOT_WRITTEN: u8 = 74;

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run(Files),
    Fetch(Files),
    /// The inner half of a fetch; not for people.
    FetchChild,
    Check(Files, check::Options),
    Status {
        files: Files,
        json: bool,
        watch: bool,
    },
    Verify {
        files: Files,
        json: bool,
    },
    /// What becomes Litestream for `verify`; not for people.
    Become(Vec<OsString>),
    Help(Topic),
    Version,
}

/// The settings' files that the command line names; the usual ones where it names none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Files {
    named: Vec<PathBuf>,
    device: Option<PathBuf>,
}

impl Files {
    fn layers(self) -> Vec<LayerFile> {
        let mut files = match (self.named.is_empty(), &self.device) {
            (true, None) => return LayerFile::standard(),
            (true, Some(_)) => LayerFile::standard_of_image(),
            (false, _) => LayerFile::named(self.named),
        };
        files.extend(self.device.map(LayerFile::device));
        files
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Topic {
    All,
    Run,
    Fetch,
    Check,
    Status,
    Verify,
}

/// Does what the arguments (without the program's name) ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // First of all: the settings may hold the PIN, and what a fetch brings is secret.
    if let Err(e) = core_dump::forbid() {
        complain(&format!("edgerotate: core dumps can't be ruled out: {e}"));
        return ExitCode::from(BROKEN_DEVICE);
    }
    match parse(arguments) {
        Ok(Command::Run(files)) => {
            with_config(files, |config, warnings, program| {
                match daemon::run(config, &warnings, program) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(stopped) => stopped.into(),
                }
            })
        }
        Ok(Command::Fetch(files)) => with_config(files, fetch),
        Ok(Command::FetchChild) => child::child(),
        Ok(Command::Check(files, options)) => check(files, options),
        Ok(Command::Status { files, json, watch }) => {
            with_config(files, |config, _, _| status(&config, json, watch))
        }
        Ok(Command::Verify { files, json }) => with_config(files, |config, warnings, program| {
            verify(&config, warnings, &program, json)
        }),
        Ok(Command::Become(words)) => verify::tied::become_program(words),
        Ok(Command::Help(topic)) => print(&help(&topic)),
        Ok(Command::Version) => print(concat!("edgerotate ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(wrong) => {
            complain(&format!("edgerotate: {wrong}\nTry edgerotate --help"));
            ExitCode::from(BAD_USAGE)
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let command = arguments.next().ok_or("which command? run, fetch, check, status or verify")?;
    let command = command.to_str().ok_or("the command is not text")?;
    let topic = match command {
        "-h" | "--help" | "help" => return Ok(Command::Help(Topic::All)),
        "-V" | "--version" => return Ok(Command::Version),
        "run" => Topic::Run,
        "fetch" => Topic::Fetch,
        "check" => Topic::Check,
        "status" => Topic::Status,
        "verify" => Topic::Verify,
        other => {
            return Err(format!(
                "there is no command {other:?}; there are run, fetch, check, status and verify"
            ));
        }
    };
    let mut files = Files::default();
    let mut child = false;
    let mut json = false;
    let mut options = check::Options::default();
    let mut watch = false;
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-h" | "--help") => return Ok(Command::Help(topic)),
            Some("--config") => {
                let file = arguments.next().ok_or("--config needs a file")?;
                files.named.push(PathBuf::from(file));
            }
            Some(text) if text.starts_with("--config=") => {
                files.named.push(text["--config=".len()..].into())
            }
            Some("--device-config") => {
                let file = arguments.next().ok_or("--device-config needs a file")?;
                files.device = Some(PathBuf::from(file));
            }
            Some(text) if text.starts_with("--device-config=") => {
                files.device = Some(text["--device-config=".len()..].into())
            }
            Some("--config-only") if topic == Topic::Check => options.narrow(Scope::ConfigOnly)?,
            Some("--gate") if topic == Topic::Check => options.narrow(Scope::Gate)?,
            Some("--patience") if topic == Topic::Check => {
                let seconds = arguments.next();
                options.wait(seconds.as_ref().and_then(|seconds| seconds.to_str()))?;
            }
            Some("--pin-changed") if topic == Topic::Check => options.pin_changed = true,
            Some("--json") if topic == Topic::Check => options.json = true,
            Some("--child") if topic == Topic::Fetch => child = true,
            Some(verify::tied::FLAG) if topic == Topic::Verify => {
                return Ok(Command::Become(arguments.collect()));
            }
            Some("--json") if matches!(topic, Topic::Status | Topic::Verify) => json = true,
            Some("--watch") if topic == Topic::Status => watch = true,
            _ => return Err(format!("{command} has no argument {argument:?}")),
        }
    }
    Ok(match topic {
        Topic::Fetch if child => Command::FetchChild,
        Topic::Fetch => Command::Fetch(files),
        Topic::Check => Command::Check(files, options),
        Topic::Status => Command::Status { files, json, watch },
        Topic::Verify => Command::Verify { files, json },
        _ => Command::Run(files),
    })
}

fn help(topic: &Topic) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = match topic {
        Topic::All => write!(text, "{USAGE}\n{EXIT_CODES}"),
        Topic::Run => write!(
            text,
            "Usage: edgerotate run [--config FILE]...\n\nThe daemon. It ends on SIGTERM, and does not fork; systemd's \
             Type=notify fits.\n\n{SETTINGS}\n{}\n{EXIT_CODES}",
            settings_help()
        ),
        Topic::Fetch => write!(
            text,
            "Usage: edgerotate fetch [--config FILE]...\n\nAsks the credential provider once, with the settings of the \
             daemon, and prints who was asked, how long\nthe credentials live and how this device's clock compares. \
             The credentials are thrown away. It waits for\na daemon that uses the token at this moment. `edgerotate \
             run --help` lists the settings.\n\n{EXIT_CODES}"
        ),
        Topic::Check => write!(text, "{CHECK}\n{EXIT_CODES}"),
        Topic::Status => write!(
            text,
            "Usage: edgerotate status [--config FILE]... [--json] [--watch]\n\nShows what the daemon does: what is wrong \
             and what to do about it, then credentials, next fetch, last\nerror, Litestream, heartbeat, guard and \
             replica. It reads what the daemon wrote down in the runtime\ndirectory, asks nobody, and works also when \
             the daemon is down. NO_COLOR is respected.\n\n{EXIT_CODES}"
        ),
        Topic::Verify => write!(
            text,
            "Usage: edgerotate verify [--config FILE]... [--json]\n\nRestores the heartbeat's database from its replica \
             into the state directory, with Litestream and the\ncredentials it has, and compares the heartbeats' ids \
             with the live ones. Whole: none is missing. Rows\nmissing: these never arrived. Behind: newer rows wait \
             longer than EDGEROTATE_VERIFY_MAX_LAG. Nothing is\nchanged, and what was restored is removed. \
             `edgerotate run --help` lists the settings.\n\n{EXIT_CODES}"
        ),
    };
    text
}

/// Reads and checks the settings, starts the log, and goes on.
fn with_config(
    files: Files,
    go_on: impl FnOnce(Config, Vec<Warning>, PathBuf) -> ExitCode,
) -> ExitCode {
    let layers = Layers::read(&files.layers(), env::vars_os());
    match Config::from_layers(&layers, UnknownKeys::Warn) {
        Ok((config, warnings)) => {
            start_log(config.log);
            match env::current_exe() {
                Ok(program) => go_on(config, warnings, program),
                Err(e) => {
                    log::error!(
                        "edgerotate's own program file can't be found: {e}; is /proc mounted?"
                    );
                    ExitCode::from(BROKEN_DEVICE)
                }
            }
        }
        Err(errors) => {
            start_log(LevelFilter::Info);
            for warning in &errors.warnings {
                log::warn!("{warning}");
            }
            for error in &errors.errors {
                log::error!("{error}");
            }
            ExitCode::from(BAD_SETTINGS)
        }
    }
}

fn fetch(config: Config, warnings: Vec<Warning>, program: PathBuf) -> ExitCode {
    for warning in warnings {
        log::warn!("{warning}");
    }
    let launcher = Launcher::new(program, &config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let fetched = match runtime {
        Ok(runtime) => runtime.block_on(by_hand(&config.provider, &launcher, &mut io::stdout())),
        Err(e) => Err(ByHandError::Write(e)),
    };
    match fetched {
        Ok(()) => ExitCode::SUCCESS,
        Err(ByHandError::Fetch(failure)) => {
            complain(&format!("{failure} [{}]", failure.cause));
            ExitCode::from(failure.exit_code())
        }
        Err(ByHandError::Write(e)) => {
            complain(&e.to_string());
            ExitCode::from(NOT_WRITTEN)
        }
    }
}

fn check(files: Files, options: check::Options) -> ExitCode {
    // What is wrong is in the answer; of the modules' own words nobody asked for any.
    start_log(LevelFilter::Error);
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(e) => {
            complain(&format!(
                "edgerotate's own program file can't be found: {e}; is /proc mounted?"
            ));
            return ExitCode::from(BROKEN_DEVICE);
        }
    };
    match check::run(&files.layers(), options, &program, &mut io::stdout()) {
        Ok(code) => ExitCode::from(code),
        // `edgerotate check | head` is no fault.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            complain(&e.to_string());
            let ended = e.kind() == io::ErrorKind::Interrupted;
            ExitCode::from(if ended { TRY_AGAIN } else { NOT_WRITTEN })
        }
    }
}

fn status(config: &Config, json: bool, watch: bool) -> ExitCode {
    let mut out = io::stdout();
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let in_place = out.is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
    let manner = status::Manner { json, color: in_place && !is_set("NO_COLOR"), in_place };
    let shown = if watch {
        status::watch(&config.runtime_directory, manner, &mut out)
    } else {
        status::run(&config.runtime_directory, manner, &mut out)
    };
    match shown {
        Ok(code) => ExitCode::from(code),
        // `edgerotate status | head` is no fault.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            complain(&e.to_string());
            ExitCode::from(NOT_WRITTEN)
        }
    }
}

fn verify(config: &Config, warnings: Vec<Warning>, program: &Path, json: bool) -> ExitCode {
    for warning in warnings {
        log::warn!("{warning}");
    }
    match verify::run(config, program, json, &mut io::stdout()) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            complain(&e.to_string());
            ExitCode::from(NOT_WRITTEN)
        }
    }
}

/// In the journal: a priority and no time, which it has itself. Elsewhere: RFC 3339 with the offset.
fn start_log(level: LevelFilter) {
    let journal_stream = env::var("JOURNAL_STREAM").ok();
    let in_journal = service_manager::writes_to_journal(journal_stream.as_deref(), io::stderr());
    env_logger::Builder::new()
        .filter_level(level)
        .target(env_logger::Target::Stderr)
        .format(move |out, record| {
            if in_journal {
                service_manager::write_for_journal(out, record)
            } else {
                let time = clock::local().to_rfc3339_opts(SecondsFormat::Millis, false);
                writeln!(out, "{time} {:5} {}", record.level(), record.args())
            }
        })
        .init();
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // `edgerotate --help | head` is no fault.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(NOT_WRITTEN),
    }
}

fn complain(text: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_take_their_files() {
        let files = |names: &[&str]| Files {
            named: names.iter().map(PathBuf::from).collect(),
            device: None,
        };
        assert_eq!(parsed("run"), Ok(Command::Run(files(&[]))));
        assert_eq!(parsed("run --config a --config=b"), Ok(Command::Run(files(&["a", "b"]))));
        assert_eq!(parsed("fetch --config a"), Ok(Command::Fetch(files(&["a"]))));
        assert_eq!(parsed("fetch --child"), Ok(Command::FetchChild));
        assert_eq!(
            parsed("verify --json --config a"),
            Ok(Command::Verify { files: files(&["a"]), json: true })
        );
        assert_eq!(parsed("verify"), Ok(Command::Verify { files: files(&[]), json: false }));
        let device = Files { device: Some("c".into()), ..files(&["a"]) };
        assert_eq!(parsed("run --config a --device-config c"), Ok(Command::Run(device)));
        let mut gate = check::Options {
            scope: Scope::Gate,
            json: true,
            pin_changed: true,
            ..Default::default()
        };
        gate.wait(Some("20")).unwrap();
        assert_eq!(
            parsed("check --gate --json --pin-changed --patience 20"),
            Ok(Command::Check(files(&[]), gate))
        );
        assert_eq!(
            parsed("status --watch"),
            Ok(Command::Status { files: files(&[]), json: false, watch: true })
        );
        assert_eq!(parsed("run --help"), Ok(Command::Help(Topic::Run)));
        assert_eq!(parsed("--version"), Ok(Command::Version));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(parsed("").unwrap_err(), "which command? run, fetch, check, status or verify");
        assert_eq!(
            parsed("start").unwrap_err(),
            "there is no command \"start\"; there are run, fetch, check, status and verify"
        );
        assert_eq!(parsed("run --child").unwrap_err(), "run has no argument \"--child\"");
        assert_eq!(parsed("run --config").unwrap_err(), "--config needs a file");
        assert_eq!(
            parsed("check --gate --config-only").unwrap_err(),
            "--config-only and --gate exclude each other"
        );
        assert_eq!(
            parsed("check --gate --patience 301").unwrap_err(),
            "--patience needs seconds, at most 300"
        );
    }

    #[test]
    fn help_fits_a_terminal() {
        for topic in [Topic::All, Topic::Fetch, Topic::Check, Topic::Status] {
            for line in help(&topic).lines() {
                assert!(line.chars().count() <= 105, "{line}");
            }
        }
    }
}
