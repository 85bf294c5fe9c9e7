//! The command line: what a person or a unit file asks for, and the answer in an exit code.

mod arguments;
mod help;

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use chrono::SecondsFormat;
use log::LevelFilter;

use crate::{
    commands::{
        check,
        fetch::{ByHandError, by_hand},
        run, status,
    },
    fetch::{child, parent::Launcher},
    outlets::credential_process::{self, NoCredentials},
    problems::exit_code,
    replica::{mend, verify},
    settings::{self, Config, Layers, UnknownKeys, Warning},
    system::{
        clock, core_dump, service_manager, tied,
        user::{self, THIS_PROGRAM},
    },
};

use self::{
    arguments::{Command, SettingsFiles, parse},
    help::help,
};

/// Does what the arguments (without the program's name) ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // First of all: the settings may hold the PIN, and what a fetch brings is secret.
    if let Err(e) = core_dump::forbid() {
        complain(&format!("edgerotate: core dumps can't be ruled out: {e}"));
        return ExitCode::from(exit_code::DEVICE);
    }
    match parse(arguments) {
        Ok(Command::Run(files)) => with_config(files, |config, warnings, program| {
            match run::run(config, &warnings, program) {
                Ok(()) => ExitCode::SUCCESS,
                Err(stopped) => stopped.into(),
            }
        }),
        Ok(Command::Fetch(files)) => as_owner(&files).unwrap_or_else(|| with_config(files, fetch)),
        Ok(Command::FetchChild) => child::child(),
        // It looks at files alone, which may be another machine's.
        Ok(Command::Check(files, options)) if options.scope == check::Scope::ConfigOnly => {
            check(files, options)
        }
        Ok(Command::Check(files, options)) => {
            as_owner(&files).unwrap_or_else(|| check(files, options))
        }
        Ok(Command::Status { files, json, watch }) => {
            as_owner(&files).unwrap_or_else(|| status(files, json, watch))
        }
        Ok(Command::Verify { files, json }) => as_owner(&files).unwrap_or_else(|| {
            with_config(files, |config, warnings, program| {
                verify(&config, warnings, &program, json)
            })
        }),
        Ok(Command::CredentialProcess(files)) => {
            as_owner(&files).unwrap_or_else(|| credential_process(files))
        }
        Ok(Command::Mend(files)) => mend(files),
        Ok(Command::Become(words)) => tied::become_program(words),
        Ok(Command::Help(topic)) => print(&help(&topic)),
        Ok(Command::Version) => print(concat!("edgerotate ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(wrong) => {
            complain(&format!("edgerotate: {wrong}\nTry edgerotate --help"));
            ExitCode::from(exit_code::USAGE)
        }
    }
}

/// Root's command goes on as the user whose the state directory is: see [`user`]. `None` if it may
/// go on, as that user or with nobody to become; the exit code if it can't become that user.
fn as_owner(files: &SettingsFiles) -> Option<ExitCode> {
    let directories = settings::directories(&Layers::read(&files.clone().layers(), env::vars_os()));
    let (owner, group) = user::owner_to_become(&directories)?;
    let error = user::become_user(owner, group).err()?;
    let name = user::name(owner);
    complain(&format!(
        "edgerotate: {} belongs to {name}, and this command can't become that user ({error}); run \
         it as {name}",
        directories[0].display()
    ));
    Some(ExitCode::from(exit_code::NOT_PERMITTED))
}

/// Reads and checks the settings, starts the log, and goes on.
fn with_config(
    files: SettingsFiles,
    go_on: impl FnOnce(Config, Vec<Warning>, PathBuf) -> ExitCode,
) -> ExitCode {
    with_layers(&Layers::read(&files.layers(), env::vars_os()), go_on)
}

fn with_layers(
    layers: &Layers,
    go_on: impl FnOnce(Config, Vec<Warning>, PathBuf) -> ExitCode,
) -> ExitCode {
    match Config::from_layers(layers, UnknownKeys::Warn) {
        Ok((config, warnings)) => {
            start_log(config.log);
            go_on(config, warnings, THIS_PROGRAM.into())
        }
        Err(errors) => {
            start_log(LevelFilter::Info);
            for warning in &errors.warnings {
                log::warn!("{warning}");
            }
            for error in &errors.errors {
                log::error!("{error}");
            }
            ExitCode::from(exit_code::SETTINGS)
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
            ExitCode::from(exit_code::NOT_WRITTEN)
        }
    }
}

fn check(files: SettingsFiles, options: check::Options) -> ExitCode {
    // What is wrong is in the answer; of the modules' own words nobody asked for any.
    start_log(LevelFilter::Error);
    match check::run(&files.layers(), options, Path::new(THIS_PROGRAM), &mut io::stdout()) {
        Ok(code) => ExitCode::from(code),
        // `edgerotate check | head` is no fault.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            complain(&e.to_string());
            let ended = e.kind() == io::ErrorKind::Interrupted;
            ExitCode::from(if ended { exit_code::AWAY } else { exit_code::NOT_WRITTEN })
        }
    }
}

/// What is wrong with the settings is in the answer, beside what the daemon does.
fn status(files: SettingsFiles, json: bool, watch: bool) -> ExitCode {
    start_log(LevelFilter::Error);
    let files = files.layers();
    let settings = || status::settings::Settings::of(&Layers::read(&files, env::vars_os()));
    let mut out = io::stdout();
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let in_place = out.is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
    let manner = status::Manner { json, color: in_place && !is_set("NO_COLOR"), in_place };
    let shown = if watch {
        status::watch(settings, manner, &mut out)
    } else {
        status::run(settings(), manner, &mut out)
    };
    match shown {
        Ok(code) => ExitCode::from(code),
        // `edgerotate status | head` is no fault.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            complain(&e.to_string());
            ExitCode::from(exit_code::NOT_WRITTEN)
        }
    }
}

/// What is wrong with the settings is of no concern to a program that the daemon serves.
fn credential_process(files: SettingsFiles) -> ExitCode {
    let layers = Layers::read(&files.layers(), env::vars_os());
    match credential_process::print_of_daemon(
        &settings::ClientSettings::from_layers(&layers),
        &mut io::stdout(),
    ) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => with_layers(&layers, |config, _, program| ask_provider(&config, program)),
        Err(refused) => complain_of(&refused),
    }
}

fn ask_provider(config: &Config, program: PathBuf) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let printed = match runtime {
        Ok(runtime) => runtime.block_on(credential_process::print_of_provider(
            config,
            program,
            &mut io::stdout(),
        )),
        Err(e) => Err(NoCredentials::NotWritten(e)),
    };
    printed.map_or_else(|refused| complain_of(&refused), |()| ExitCode::SUCCESS)
}

fn complain_of(refused: &NoCredentials) -> ExitCode {
    complain(&format!("edgerotate: {refused}"));
    ExitCode::from(refused.exit_code())
}

fn verify(config: &Config, warnings: Vec<Warning>, program: &Path, json: bool) -> ExitCode {
    for warning in warnings {
        log::warn!("{warning}");
    }
    match verify::run(config, program, json, &mut io::stdout()) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            complain(&e.to_string());
            ExitCode::from(exit_code::NOT_WRITTEN)
        }
    }
}

fn mend(files: SettingsFiles) -> ExitCode {
    start_log(LevelFilter::Info);
    let config =
        settings::MendSettings::from_layers(&Layers::read(&files.layers(), env::vars_os()));
    match mend::run(&config, Path::new(THIS_PROGRAM)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(exit_code::AWAY),
        Err(e) => {
            complain(&e.to_string());
            ExitCode::from(exit_code::DEVICE)
        }
    }
}

/// In the journal: a priority and no time, which it has itself. Elsewhere: RFC 3339 with the
/// offset.
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
        Err(_) => ExitCode::from(exit_code::NOT_WRITTEN),
    }
}

fn complain(text: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
