//! The command line, understood.

use std::{ffi::OsString, path::PathBuf};

use crate::{
    commands::check::{self, Scope},
    settings::LayerFile,
    system::tied,
};

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Run(SettingsFiles),
    Fetch(SettingsFiles),
    /// The inner half of a fetch; not for people.
    FetchChild,
    Check(SettingsFiles, check::Options),
    Status {
        files: SettingsFiles,
        json: bool,
        watch: bool,
    },
    Verify {
        files: SettingsFiles,
        json: bool,
    },
    CredentialProcess(SettingsFiles),
    Mend(SettingsFiles),
    /// What becomes Litestream for `verify`; not for people.
    Become(Vec<OsString>),
    Help(Topic),
    Version,
}

/// The settings' files that the command line names; the usual ones where it names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsFiles {
    pub named: Vec<PathBuf>,
    pub device: Option<PathBuf>,
}

impl SettingsFiles {
    /// What is read, in this order.
    pub fn layers(self) -> Vec<LayerFile> {
        let mut files = match (self.named.is_empty(), &self.device) {
            (true, None) => return LayerFile::standard(),
            (true, Some(_)) => LayerFile::standard_of_image(),
            (false, _) => LayerFile::named(self.named),
        };
        files.extend(self.device.map(LayerFile::device));
        files
    }
}

/// What a help text is about.
#[derive(Debug, PartialEq, Eq)]
pub enum Topic {
    All,
    Run,
    Fetch,
    Check,
    Status,
    Verify,
    CredentialProcess,
    Mend,
}

/// Understands the arguments without the program's name, or says which of them it does not.
pub fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let command = arguments
        .next()
        .ok_or("which command? run, fetch, check, status, verify, mend or credential-process")?;
    let command = command.to_str().ok_or("the command is not text")?;
    let topic = match command {
        "-h" | "--help" | "help" => return Ok(Command::Help(Topic::All)),
        "-V" | "--version" => return Ok(Command::Version),
        "run" => Topic::Run,
        "fetch" => Topic::Fetch,
        "check" => Topic::Check,
        "status" => Topic::Status,
        "verify" => Topic::Verify,
        "mend" => Topic::Mend,
        "credential-process" => Topic::CredentialProcess,
        other => {
            return Err(format!(
                "there is no command {other:?}; there are run, fetch, check, status, verify, mend \
                 and credential-process"
            ));
        }
    };
    let mut files = SettingsFiles::default();
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
            Some(tied::FLAG) if topic == Topic::Verify => {
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
        Topic::CredentialProcess => Command::CredentialProcess(files),
        Topic::Mend => Command::Mend(files),
        _ => Command::Run(files),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_take_their_files() {
        let files = |names: &[&str]| SettingsFiles {
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
        assert_eq!(
            parsed("credential-process --config a"),
            Ok(Command::CredentialProcess(files(&["a"])))
        );
        let device = SettingsFiles { device: Some("c".into()), ..files(&["a"]) };
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
        assert_eq!(
            parsed("").unwrap_err(),
            "which command? run, fetch, check, status, verify, mend or credential-process"
        );
        assert_eq!(
            parsed("start").unwrap_err(),
            "there is no command \"start\"; there are run, fetch, check, status, verify, mend and \
             credential-process"
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
}
