//! The settings: which files there are, and all that is wrong in them.

use super::{
    report::{Found, Line},
    step::Step,
};
use crate::{
    config::{Config, Layers, Place, Problem, Setting, UnknownKeys},
    finding::Finding,
};

/// What needs these settings, beside the daemon, which needs all of them.
const NEEDED_BY: &[(&str, &[Step])] = &[
    ("EDGEROTATE_ENDPOINT", NETWORK),
    ("EDGEROTATE_ROLE_ALIAS", NETWORK),
    ("EDGEROTATE_THING_NAME", &[Step::ThingName]),
    (
        "EDGEROTATE_CERTIFICATE",
        &[Step::CertificateFile, Step::Certificate, Step::Pair, Step::ThingName],
    ),
    ("EDGEROTATE_PRIVATE_KEY", &[Step::KeyFile, Step::Token, Step::Pin, Step::Key, Step::Pair]),
    ("EDGEROTATE_PKCS11_MODULE", &[Step::Module, Step::Token, Step::Pin, Step::Key, Step::Pair]),
    ("EDGEROTATE_PKCS11_PIN_FILE", &[Step::PinFile, Step::Pin, Step::Key, Step::Pair]),
    ("EDGEROTATE_CA_FILE", &[Step::CaFile]),
    ("EDGEROTATE_DATABASE", &[Step::Database, Step::Room, Step::Guard]),
    ("EDGEROTATE_RUNTIME_DIRECTORY", &[Step::RuntimeDirectory, Step::EnvironmentFile]),
    ("EDGEROTATE_ENVIRONMENT_FILE", &[Step::EnvironmentFile, Step::LitestreamProcess]),
    ("EDGEROTATE_STATE_DIRECTORY", &[Step::StateDirectory, Step::Replica]),
    ("EDGEROTATE_GUARD_DATABASES", &[Step::Guard]),
    ("EDGEROTATE_LITESTREAM", &[Step::Litestream, Step::LitestreamConfig]),
    ("EDGEROTATE_LITESTREAM_CONFIG", &[Step::LitestreamConfig]),
];

const NETWORK: &[Step] = &[Step::Endpoint, Step::Tls, Step::RoleAlias];

/// What a missing setting means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// On a device: it is needed.
    IsWrong,
    /// For an image and its gate: where the device's own file is not there, the device brings it yet.
    MayCome,
}

/// Reads them; no config if they don't make one.
pub fn look(layers: &Layers, missing: Missing) -> (Line, Option<Config>) {
    let seen = layers.looked_at().join(", ");
    let (config, errors, warnings) = match Config::from_layers(layers, UnknownKeys::Deny) {
        Ok((config, warnings)) => (Some(config), Vec::new(), warnings),
        Err(errors) => (None, errors.errors, errors.warnings),
    };
    let may_come = missing == Missing::MayCome && !layers.has_device_file();
    let errors = errors.into_iter().map(|problem| {
        let finding = match problem.place {
            Place::Nowhere if may_come => Finding::NotProvisioned,
            Place::Nowhere => Finding::SettingMissing,
            _ if layers.unknown().contains(&problem) => Finding::SettingUnknown,
            _ => Finding::SettingWrong,
        };
        let found = Found::line(finding, problem.to_string());
        // An older image would read the same line of the device's own.
        if is_of_device(&problem) { found.not_of_image() } else { found }
    });
    let warnings = warnings.into_iter().map(|warning| {
        let finding = if layers.unknown().contains(&warning.0) {
            Finding::SettingUnknownHere
        } else {
            Finding::SettingDoubtful
        };
        Found::line(finding, warning.to_string())
    });
    (Line::new(Step::Settings, seen, errors.chain(warnings).collect()), config)
}

/// The steps that can't be looked at where these settings have stand-ins. The network is never asked with any.
pub fn out_of_reach(replaced: &[&'static Setting]) -> Vec<Step> {
    if replaced.is_empty() {
        return Vec::new();
    }
    let of = |setting: &&Setting| NEEDED_BY.iter().find(|(name, _)| *name == setting.name);
    let steps = replaced.iter().filter_map(of).flat_map(|(_, steps)| *steps);
    [Step::Daemon].iter().chain(NETWORK).chain(steps).copied().collect()
}

fn is_of_device(problem: &Problem) -> bool {
    problem.place == Place::Environment || problem.place.is_in_device_file()
}
