//! The settings: which files there are, and all that is wrong in them.

use super::{
    report::{Found, Line},
    step::Step,
};
use crate::{
    problems::finding::Finding,
    settings::{Config, Layers, Place, Problem, Setting, UnknownKeys, table},
};

/// What needs these settings, beside the daemon, which needs all of them.
const NEEDED_BY: &[(&Setting, &[Step])] = &[
    (&table::ENDPOINT, NETWORK),
    (&table::ROLE_ALIAS, NETWORK),
    (&table::THING_NAME, &[Step::ThingName]),
    (&table::CERTIFICATE, &[Step::CertificateFile, Step::Certificate, Step::Pair, Step::ThingName]),
    (&table::PRIVATE_KEY, &[Step::KeyFile, Step::Token, Step::Pin, Step::Key, Step::Pair]),
    (&table::PKCS11_MODULE, OF_TOKEN),
    (&table::PKCS11_ROUTE, OF_TOKEN),
    (&table::MODULE_ENVIRONMENT, OF_TOKEN),
    (&table::PKCS11_PIN_FILE, &[Step::PinFile, Step::Pin, Step::Key, Step::Pair]),
    (&table::CA_FILE, &[Step::CaFile]),
    (&table::DATABASE, &[Step::Database, Step::Room, Step::Guard]),
    (&table::ALLOW_VOLATILE_DATABASE, &[Step::Database]),
    (&table::RUNTIME_DIRECTORY, &[Step::RuntimeDirectory, Step::EnvironmentFile]),
    (&table::ENVIRONMENT_FILE, &[Step::EnvironmentFile, Step::LitestreamProcess]),
    (&table::STATE_DIRECTORY, &[Step::StateDirectory, Step::Replica]),
    (&table::GUARD_DATABASES, &[Step::Guard]),
    (&table::LITESTREAM, &[Step::Litestream, Step::LitestreamConfig]),
    (&table::LITESTREAM_CONFIG, &[Step::LitestreamConfig]),
];

const OF_TOKEN: &[Step] = &[Step::Module, Step::Token, Step::Pin, Step::Key, Step::Pair];

const NETWORK: &[Step] = &[Step::Endpoint, Step::Tls, Step::RoleAlias];

/// What a missing setting means, where the device's own file is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// On a device: it is needed.
    IsWrong,
    /// For the build of an image: a device brings what is its own, and the image all the rest.
    MayComeIfOfDevice,
    /// For the gate: a device that is not provisioned is no reason to give an image back.
    MayCome,
}

/// Reads them; no config if they don't make one.
pub fn look(layers: &Layers, missing: Missing) -> (Line, Option<Config>) {
    let seen = layers.looked_at().join(", ");
    let (config, errors, warnings) = match Config::from_layers(layers, UnknownKeys::Deny) {
        Ok((config, warnings)) => (Some(config), Vec::new(), warnings),
        Err(errors) => (None, errors.errors, errors.warnings),
    };
    let may_come = |problem: &Problem| {
        let may_come = match missing {
            Missing::IsWrong => false,
            Missing::MayComeIfOfDevice => {
                problem.setting().is_some_and(|setting| setting.of_device)
            }
            Missing::MayCome => true,
        };
        may_come && !layers.has_device_file()
    };
    let errors = errors.into_iter().map(|problem| {
        if let (true, Place::File { path, .. }) =
            (layers.forbidden().contains(&problem), &problem.place)
        {
            let found = Found::line(Finding::SettingsNotPermitted, problem.to_string());
            return found.about(path);
        }
        let finding = match problem.place {
            Place::Nowhere if may_come(&problem) => Finding::NotProvisioned,
            Place::Nowhere => Finding::SettingMissing,
            _ if layers.unknown().contains(&problem) => Finding::SettingUnknown,
            _ => Finding::SettingWrong,
        };
        let found = Found::line(finding, problem.to_string());
        // An older image would read the same line of the device's own.
        if problem.place.is_of_device() { found.not_of_image() } else { found }
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

/// The steps that can't be looked at where these settings have stand-ins. The network is never
/// asked with any.
pub fn out_of_reach(replaced: &[&'static Setting]) -> Vec<Step> {
    if replaced.is_empty() {
        return Vec::new();
    }
    let of = |setting: &&Setting| NEEDED_BY.iter().find(|(known, _)| known == setting);
    let steps = replaced.iter().filter_map(of).flat_map(|(_, steps)| *steps);
    [Step::Daemon].iter().chain(NETWORK).chain(steps).copied().collect()
}
