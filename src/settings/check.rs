//! The tool of the second step of trust: it takes single values out of the layers and collects all
//! that is wrong with them, so that one run shows all of it.

use std::{path::PathBuf, time::Duration};

use crate::settings::{
    config::Config,
    duration,
    layers::{Entry, Layers},
    problem::{ConfigErrors, Place, Problem, Warning, shown},
    table::{SETTINGS, Secrecy, Setting},
    values,
};

/// What to do about a key that is no setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKeys {
    /// For a running device: after a rollback it meets the settings of a newer image.
    Warn,
    /// For the build of an image, and a look at a device: a slip of the pen is an error, but in the
    /// device's own file, which may belong to a newer image.
    Deny,
}

/// What was found so far.
pub(super) struct Check<'a> {
    layers: &'a Layers,
    errors: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'a> Check<'a> {
    pub(super) fn new(layers: &'a Layers, unknown: UnknownKeys) -> Self {
        let mut check =
            Self { layers, errors: layers.errors.clone(), warnings: layers.warnings.clone() };
        match unknown {
            UnknownKeys::Warn => check.warnings.extend(layers.unknown.iter().cloned().map(Warning)),
            UnknownKeys::Deny => {
                let (device, other): (Vec<_>, Vec<_>) = layers
                    .unknown
                    .iter()
                    .cloned()
                    .partition(|problem| problem.place.is_in_device_file());
                check.errors.extend(other);
                check.warnings.extend(device.into_iter().map(Warning));
            }
        }
        check
    }

    /// The strongest assignment; an empty one takes back what weaker layers say.
    pub(super) fn entry(&self, setting: &'static Setting) -> Option<&'a Entry> {
        self.layers.entry(setting).filter(|entry| !entry.value.expose().is_empty())
    }

    /// The value of a setting that need not be there; a bad one is an error.
    pub(super) fn optional<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.entry(setting)?;
        match parse(entry.value.expose()) {
            Ok(value) => Some(value),
            Err(what) => {
                self.bad(entry, &what);
                None
            }
        }
    }

    pub(super) fn required<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.entry(setting).is_none() {
            return self.missing(setting);
        }
        self.optional(setting, parse)
    }

    pub(super) fn or<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
        default: T,
    ) -> T {
        self.optional(setting, parse).unwrap_or(default)
    }

    pub(super) fn duration(
        &mut self,
        setting: &'static Setting,
        least: Duration,
        most: Duration,
        default: Duration,
    ) -> Duration {
        self.or(setting, |text| duration::parse_within(text, least..=most), default)
    }

    /// Where systemd made the directory, it says so in a variable of the environment.
    pub(super) fn directory(
        &mut self,
        setting: &'static Setting,
        systemd: Option<&str>,
        default: &str,
    ) -> PathBuf {
        self.or(setting, values::path, systemd.unwrap_or(default).into())
    }

    /// Complains of a value, and shows it if it can't be a secret.
    pub(super) fn bad(&mut self, entry: &Entry, what: &str) {
        let value = entry.value.expose();
        let is_uri = value.to_ascii_lowercase().contains("pkcs11:");
        let is_hidden = match entry.setting.secrecy {
            Secrecy::Shown => false,
            Secrecy::OnlyPaths => !value.starts_with('/') && !is_uri,
            Secrecy::Never => true,
        };
        let what = if is_hidden {
            format!("{what} (what it got is not shown: it could be a secret)")
        } else {
            format!("{what} (got {})", shown(value))
        };
        self.error(entry, what);
    }

    /// Complains without the value, where `what` says all.
    pub(super) fn error(&mut self, entry: &Entry, what: String) {
        let key = Some(entry.key.to_owned());
        self.errors.push(Problem { place: entry.place.clone(), key, what });
    }

    pub(super) fn warn(&mut self, entry: &Entry, what: String) {
        let key = Some(entry.key.to_owned());
        self.warnings.push(Warning(Problem { place: entry.place.clone(), key, what }));
    }

    /// Says that a setting is nowhere, where it was looked for, and what it is for.
    pub(super) fn missing<T>(&mut self, setting: &'static Setting) -> Option<T> {
        if !self.layers.complete {
            return None;
        }
        let what = match self.layers.entry(setting) {
            // It may well take back what the image brings.
            Some(entry) if entry.place.is_of_device() => {
                self.error(entry, format!("is empty, but needed: {}", setting.example));
                return None;
            }
            Some(entry) => format!("is empty in {}, but needed: {}", entry.place, setting.example),
            None => format!(
                "is not set, but needed (looked in {}): {}",
                self.layers.looked_at.join(", "),
                setting.example
            ),
        };
        self.errors.push(Problem {
            place: Place::Nowhere,
            key: Some(setting.name.to_owned()),
            what,
        });
        None
    }

    /// A setting under both of its names: whichever was meant, one of them is a leftover.
    pub(super) fn both_names(&mut self) {
        for setting in SETTINGS {
            let Some(article_name) = setting.article_name else { continue };
            let (Some(own), Some(article)) =
                (self.layers.entry_named(setting.name), self.layers.entry_named(article_name))
            else {
                continue;
            };
            let blamed = stronger(article, own);
            let other = if blamed == article { own } else { article };
            let what = format!(
                "is another name for {}, which is set as well ({}): remove one of them",
                other.key, other.place
            );
            self.error(blamed, what);
        }
    }

    /// Complains of one of two settings that do not go together.
    pub(super) fn bad_pair(
        &mut self,
        (first, about_first): (Option<&Entry>, &str),
        (second, about_second): (Option<&Entry>, &str),
    ) {
        // A default can't be corrected.
        match (first, second) {
            (Some(first), Some(second)) if stronger(first, second) == second => {
                self.bad(second, about_second);
            }
            (Some(first), _) => self.bad(first, about_first),
            (None, Some(second)) => self.bad(second, about_second),
            (None, None) => {}
        }
    }

    pub(super) fn finish(self, config: Config) -> Result<(Config, Vec<Warning>), ConfigErrors> {
        if self.errors.is_empty() {
            let mut warnings = self.warnings;
            warnings.sort_by(|a, b| a.0.place.cmp(&b.0.place));
            return Ok((config, warnings));
        }
        Err(self.failed())
    }

    pub(super) fn failed(mut self) -> ConfigErrors {
        self.errors.sort_by(|a, b| a.place.cmp(&b.place));
        self.warnings.sort_by(|a, b| a.0.place.cmp(&b.0.place));
        ConfigErrors { errors: self.errors, warnings: self.warnings }
    }
}

/// Which of two assignments that contradict each other is to blame: the first, unless only the
/// other is the device's own. What the image says was good before the device said something.
pub(super) fn stronger<'a>(first: &'a Entry, second: &'a Entry) -> &'a Entry {
    if second.place.is_of_device() && !first.place.is_of_device() { second } else { first }
}
