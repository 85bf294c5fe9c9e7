//! Litestream: its program, its configuration, and the process that replicates.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{
    files,
    report::{Found, Line},
    step::Step,
};
use crate::{
    commands::status::{DaemonLock, Seen},
    core::{environment_file, rotation::HandingOver},
    litestream::{
        configuration::{Concern, concerns, known_against},
        restart, run,
    },
    problems::{
        finding::Finding,
        trouble::{NOT_THIS_USER, Trouble},
    },
    settings::{Config, LITESTREAM_UNIT},
    system::{clock, signals::Signals},
};

/// In litestream.yml as it is shipped, to be replaced.
const EXAMPLE_BUCKET: &str = "example-device-replicas";

/// Between two looks at a Litestream that may be in the middle of a restart.
const LOOK: Duration = Duration::from_secs(1);

/// How often such a one is looked at: a restart takes 1 to 2.3 s where all is well.
const LOOKS: u32 = 5;

/// `program` is edgerotate itself, which becomes Litestream.
pub async fn lines(config: &Config, program: &Path, signals: &mut Signals) -> Vec<Line> {
    let asked = run::LitestreamCli::new(program, &config.litestream);
    let version = asked.version(signals).await;
    let mut lines = vec![version_line(&config.litestream.program, &version)];
    lines.push(match version {
        Ok(_) => configuration(config, asked.databases(signals).await),
        Err(_) => Line::not_reached(Step::LitestreamConfig, Step::Litestream),
    });
    lines.push(runs(config).await);
    lines
}

fn version_line(program: &Path, version: &Result<String, Trouble>) -> Line {
    let step = Step::Litestream;
    let shown = program.display();
    let mut line = match version {
        Ok(version) => Line::ok(step, format!("{shown}, version {version}")),
        // The environment file; its own line says so.
        Err(trouble) if trouble.cause == NOT_THIS_USER => {
            return Line::not_reached(step, Step::EnvironmentFile);
        }
        Err(trouble) => {
            let said = trouble.what.replace(&format!("{shown} cannot be run: "), "");
            let found = Found::file(Finding::LitestreamNotRun, program, &format!("({said})"));
            Line::wrong(step, shown.to_string(), found)
        }
    };
    line.add(files::program(program));
    if let Some(what) = version.as_ref().ok().and_then(|version| known_against(version)) {
        line.add(Some(Found::new(Finding::LitestreamVersionBad, what)));
    }
    line
}

fn configuration(config: &Config, databases: Result<Vec<PathBuf>, Trouble>) -> Line {
    let step = Step::LitestreamConfig;
    let path = &config.litestream.configuration;
    let shown = path.display().to_string();
    let databases = match databases {
        Ok(databases) => databases,
        Err(trouble) => {
            let finding = match trouble.cause {
                "litestream-config-missing" => Finding::LitestreamConfigMissing,
                NOT_THIS_USER => Finding::LitestreamConfigNotReadable,
                _ => Finding::LitestreamConfigBroken,
            };
            let found = match finding {
                Finding::LitestreamConfigBroken => {
                    Found::file(finding, path, &format!("({})", trouble.what))
                }
                _ => Found::file(finding, path, ""),
            };
            return Line::wrong(step, shown, found);
        }
    };
    let heartbeat = &config.heartbeat.database;
    let guarded = &config.guard.databases;
    let mut found = Vec::new();
    // Litestream has read it, so this user can.
    let text = fs::read_to_string(path).map(Zeroizing::new).unwrap_or_default();
    if text.contains(EXAMPLE_BUCKET) {
        found.push(Found::file(Finding::LitestreamExample, path, &format!("({EXAMPLE_BUCKET})")));
    }
    let concerns = concerns(&text);
    let is_of_directory = concerns.iter().any(|(concern, _)| *concern == Concern::Directory);
    for (concern, line) in concerns {
        let finding = match concern {
            Concern::PermanentKeys => Finding::LitestreamPermanentKeys,
            Concern::Directory => Finding::LitestreamDirectory,
            Concern::Executes => Finding::LitestreamExecutes,
        };
        found.push(Found::file(finding, path, &format!("(line {line})")));
    }
    if is_of_directory {
        // What `litestream databases` prints of it is no database.
        return Line::new(step, format!("{shown} names a directory"), found);
    }
    if !databases.contains(heartbeat) {
        let names = databases.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let detail = format!("{shown} names {}, not {}", or_nothing(&names), heartbeat.display());
        found.push(Found::new(Finding::LitestreamOtherDatabase, detail).about(path));
    }
    for database in guarded.iter().filter(|database| !databases.contains(database)) {
        let database = database.display().to_string();
        found.push(Found::new(Finding::NotReplicated, database).about(path));
    }
    for database in databases.iter().filter(|path| *path != heartbeat && !guarded.contains(path)) {
        found.push(Found::new(Finding::NotGuarded, database.display().to_string()));
    }
    Line::new(step, format!("{shown} names {}", heartbeat.display()), found)
}

fn or_nothing(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Whether it runs, and with the environment file as it is now.
async fn runs(config: &Config) -> Line {
    let mut looks = 1;
    loop {
        let line = runs_now(config, looks == LOOKS);
        if !line.is_wrong() || looks == LOOKS {
            return line;
        }
        looks += 1;
        sleep(LOOK).await;
    }
}

/// `is_last`: nobody looks again, so what is under way is told as such.
fn runs_now(config: &Config, is_last: bool) -> Line {
    let step = Step::LitestreamProcess;
    let litestream = restart::Service::new(&config.litestream);
    let file = &config.litestream.environment_file;
    if !litestream.can_be_seen() {
        return Line::wrong(step, "", Found::new(Finding::LitestreamNotSeen, ""));
    }
    let processes = litestream.processes();
    let environment = environment(file);
    let (Some(first), Some(_)) = (processes.first(), litestream.current_start()) else {
        let place = match &config.litestream.pid_file {
            Some(path) => path.display().to_string(),
            None => config.litestream.unit.clone(),
        };
        // It waits for its first credentials.
        let waits = matches!(&environment, Err(e) if e.kind() == io::ErrorKind::NotFound);
        if waits {
            return Line::not_reached(step, Step::EnvironmentFile);
        }
        let finding = if is_last && is_restarting(config) {
            Finding::LitestreamRestarting
        } else {
            Finding::LitestreamNotRunning
        };
        let nameless = ", which does not start while EDGEROTATE_THING_NAME is not set";
        let has_name =
            config.provider.thing_name.is_some() || config.litestream.unit != LITESTREAM_UNIT;
        let detail = if has_name { place.clone() } else { format!("{place}{nameless}") };
        return Line::wrong(step, place, Found::new(finding, detail));
    };
    let seen = format!("process {first}");
    let Ok(expected) = environment else {
        return Line::ok(step, format!("{seen}; the environment file can't be compared"));
    };
    let read = |pid: &u32| fs::read(format!("/proc/{pid}/environ")).map(Zeroizing::new);
    let environments: Vec<_> = processes.iter().filter_map(|pid| read(pid).ok()).collect();
    if environments.is_empty() {
        return Line::ok(step, format!("{seen}; this user can't see what it was started with"));
    }
    let finding = match environments.iter().map(|actual| fits(actual, &expected)).max() {
        Some(Fit::Same) => {
            return Line::ok(step, format!("{seen}, with what is in {}", file.display()));
        }
        Some(Fit::Other) => Finding::LitestreamOtherCredentials,
        _ => Finding::LitestreamNoCredentials,
    };
    let found = Found::new(finding, seen.clone()).about(file);
    // The daemon gives a restart so long.
    let young = is_young(file, config.litestream.restart_timeout);
    Line::wrong(step, seen, if young { found.softened() } else { found })
}

/// Whether the daemon is at it; or without one may have been, as far as the environment file shows
/// it. An old Litestream may take its time to stop.
fn is_restarting(config: &Config) -> bool {
    let seen = Seen::look(&config.runtime_directory);
    match seen.record {
        Ok(record) if seen.lock == DaemonLock::Held(record.daemon.pid) => {
            record.hand_over.state == HandingOver::UnderWay
        }
        _ => is_young(&config.litestream.environment_file, config.litestream.restart_timeout),
    }
}

/// The credentials in the environment file, or the endpoint's token.
type UnitVariables = Vec<(String, Zeroizing<String>)>;

fn environment(path: &Path) -> io::Result<UnitVariables> {
    let text = fs::read_to_string(path).map(Zeroizing::new)?;
    let mut variables = environment_file::variables(&text);
    variables.retain(|(name, _)| NAMES.contains(&name.as_str()));
    Ok(variables)
}

/// What tells one set of credentials from another.
const NAMES: &[&str] =
    &["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    None,
    Other,
    Same,
}

/// How a process's environment, as /proc has it, fits the file.
fn fits(environment: &[u8], expected: &UnitVariables) -> Fit {
    let value = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    if expected.iter().all(|(name, expected)| value(name) == Some(expected.as_bytes())) {
        Fit::Same
    } else if expected.iter().any(|(name, _)| value(name).is_some()) {
        Fit::Other
    } else {
        Fit::None
    }
}

fn is_young(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let modified = modified.map(chrono::DateTime::<chrono::Utc>::from);
    modified.is_ok_and(|modified| {
        (clock::wall() - modified).to_std().is_ok_and(|elapsed| elapsed < age)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_s_bucket_is_the_one_that_is_shipped() {
        for text in [
            include_str!("../../../systemd/litestream/0.3.yml"),
            include_str!("../../../systemd/litestream/0.5.yml"),
        ] {
            assert!(text.contains(&format!("bucket: {EXAMPLE_BUCKET}\n")));
        }
    }

    #[test]
    fn an_environment_is_compared_without_what_does_not_matter() {
        let expected = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), Zeroizing::new("ASIA2".to_owned())),
            ("AWS_SESSION_TOKEN".to_owned(), Zeroizing::new("t==".to_owned())),
        ];
        for (environment, fit) in [
            (&b"PATH=/bin\0AWS_SESSION_TOKEN=t==\0AWS_ACCESS_KEY_ID=ASIA2\0"[..], Fit::Same),
            (b"AWS_ACCESS_KEY_ID=ASIA1\0AWS_SESSION_TOKEN=t==\0", Fit::Other),
            (b"AWS_ACCESS_KEY_ID=ASIA2\0", Fit::Other),
            (b"PATH=/bin\0XAWS_ACCESS_KEY_ID=ASIA2\0", Fit::None),
        ] {
            assert_eq!(
                fits(environment, &expected),
                fit,
                "{}",
                String::from_utf8_lossy(environment)
            );
        }
    }
}
