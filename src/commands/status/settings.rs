//! What `status` needs of the settings, and what it says of them: a daemon that runs is shown also
//! where they are wrong.

use std::path::PathBuf;

use super::finding::StatusFinding;
use crate::{
    problems::kinds::Kind,
    settings::{self, Config, Layers, Place, Problem, UnknownKeys},
};

/// Where the record is, and what is wrong.
#[derive(Clone, Debug)]
pub struct Settings {
    pub runtime_directory: PathBuf,
    pub findings: Vec<StatusFinding>,
}

impl Settings {
    /// A setting that can't be read is taken for its default.
    pub fn of(layers: &Layers) -> Self {
        let checked = Config::from_layers(layers, UnknownKeys::Warn);
        let errors = checked.err().map_or_else(Vec::new, |errors| errors.errors);
        let (missing, wrong): (Vec<_>, Vec<_>) =
            errors.iter().partition(|problem| problem.place == Place::Nowhere);
        let wrong = wrong.into_iter().map(|problem| {
            let is_forbidden = layers.forbidden().contains(problem);
            let kind = if is_forbidden { Kind::SettingsNotPermitted } else { Kind::SettingWrong };
            finding(problem, kind)
        });
        let ignored = layers.unknown().iter().map(|key| finding(key, Kind::SettingIgnored));
        Self {
            runtime_directory: settings::runtime_directory(layers),
            findings: wrong.chain(self::missing(&missing)).chain(ignored).collect(),
        }
    }
}

/// One line for all of them: where nothing is set yet, there are many.
fn missing(problems: &[&Problem]) -> Option<StatusFinding> {
    let what = match problems {
        [] => return None,
        [only] => only.to_string(),
        several => {
            let names: Vec<_> =
                several.iter().filter_map(|problem| problem.key.as_deref()).collect();
            format!(
                "settings: {}: are not set, but needed; `edgerotate check` says what for",
                names.join(", ")
            )
        }
    };
    Some(StatusFinding::line(Kind::SettingMissing, what))
}

fn finding(problem: &Problem, kind: Kind) -> StatusFinding {
    let finding = StatusFinding::line(kind, problem.to_string());
    match &problem.place {
        Place::File { path, .. } => finding.about(path),
        Place::Environment | Place::Nowhere => finding,
    }
}
