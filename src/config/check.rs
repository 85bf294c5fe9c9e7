//! The second step of trust: from layers to a [`Config`]. All that is wrong is found in one go.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use log::LevelFilter;

use super::{
    Config, Heartbeat, Litestream, PrivateKey, Provider, duration,
    endpoint::Endpoint,
    key,
    layers::{Entry, Layers},
    problem::{ConfigErrors, Place, Problem, Warning, shown},
    settings::{self, SETTINGS, Setting},
    values,
};

/// What to do about a key that is no setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKeys {
    /// For a running device: after a rollback it meets the settings of a newer image.
    Warn,
    /// For the build of an image: a slip of the pen must not get onto a device.
    Deny,
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// All that is wrong, whether found while reading or now, and the warnings that may explain it.
    pub fn from_layers(
        layers: &Layers,
        unknown: UnknownKeys,
    ) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let mut check = Check::new(layers, unknown);
        check.both_names();
        let provider = check.provider();
        let runtime_directory = check.directory(
            &settings::RUNTIME_DIRECTORY,
            layers.runtime_directory.as_deref(),
            "/run/edgerotate",
        );
        let state_directory = check.directory(
            &settings::STATE_DIRECTORY,
            layers.state_directory.as_deref(),
            "/var/lib/edgerotate",
        );
        let region_of_endpoint = provider.as_ref().and_then(|p| p.region.clone());
        let region = match check.optional(&settings::REGION, values::region) {
            Some(region) => Some(region),
            // What is wrong with the endpoint is told already; a region may be in it.
            None if provider.is_none() => None,
            None => region_of_endpoint.or_else(|| check.missing(&settings::REGION)),
        };
        let litestream = check.litestream(region, &runtime_directory);
        let heartbeat = check.heartbeat();
        let log = check.or(&settings::LOG, values::log_level, LevelFilter::Info);
        if let (Some(provider), Some(litestream), Some(heartbeat)) =
            (provider, litestream, heartbeat)
        {
            let provider = provider.provider;
            let config =
                Self { provider, litestream, heartbeat, runtime_directory, state_directory, log };
            check.one_file_for_two(&config);
            return check.finish(config);
        }
        Err(check.failed())
    }
}

/// The provider's settings and the region that its name holds.
struct FoundProvider {
    provider: Provider,
    region: Option<String>,
}

/// What was found so far.
pub(super) struct Check<'a> {
    layers: &'a Layers,
    errors: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'a> Check<'a> {
    fn new(layers: &'a Layers, unknown: UnknownKeys) -> Self {
        let mut check =
            Self { layers, errors: layers.errors.clone(), warnings: layers.warnings.clone() };
        match unknown {
            UnknownKeys::Deny => check.errors.extend(layers.unknown.iter().cloned()),
            UnknownKeys::Warn => check.warnings.extend(layers.unknown.iter().cloned().map(Warning)),
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

    fn required<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.entry(setting).is_none() {
            return self.missing(setting);
        }
        self.optional(setting, parse)
    }

    fn or<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
        default: T,
    ) -> T {
        self.optional(setting, parse).unwrap_or(default)
    }

    fn duration(
        &mut self,
        setting: &'static Setting,
        least: Duration,
        most: Duration,
        default: Duration,
    ) -> Duration {
        self.or(setting, |text| duration::parse_within(text, least..=most), default)
    }

    /// Where systemd made the directory, it says so in a variable of the environment.
    fn directory(
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
        let what = if entry.setting.may_hold_secret && !value.starts_with('/') && !is_uri {
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
            Some(entry) => format!("is empty in {}, but needed: {}", entry.place, setting.example),
            None => format!(
                "is needed, but in none of {}: {}",
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
    fn both_names(&mut self) {
        for setting in SETTINGS {
            let Some(article_name) = setting.article_name else { continue };
            let (Some(own), Some(article)) =
                (self.layers.entry_named(setting.name), self.layers.entry_named(article_name))
            else {
                continue;
            };
            let what = format!(
                "is another name for {}, which is set as well ({}): remove one of them",
                own.key, own.place
            );
            self.error(article, what);
        }
    }

    fn provider(&mut self) -> Option<FoundProvider> {
        let second = Duration::from_secs(1);
        let endpoint = self.required(&settings::ENDPOINT, Endpoint::parse);
        let role_alias = self.required(&settings::ROLE_ALIAS, values::role_alias);
        let thing_name = self.optional(&settings::THING_NAME, values::thing_name);
        let certificate = self.required(&settings::CERTIFICATE, values::file);
        let key = if self.entry(&settings::PRIVATE_KEY).is_some() {
            key::private_key(self)
        } else {
            self.missing(&settings::PRIVATE_KEY)
        };
        let ca_file = self.optional(&settings::CA_FILE, values::file);
        let connect_timeout =
            self.duration(&settings::CONNECT_TIMEOUT, second, 120 * second, 10 * second);
        let fetch_timeout =
            self.duration(&settings::FETCH_TIMEOUT, second, 300 * second, 30 * second);
        let fetch_deadline =
            self.duration(&settings::FETCH_DEADLINE, second, 600 * second, 60 * second);
        self.deadline_after_timeout(fetch_timeout, fetch_deadline);
        let lead = self.duration(&settings::ROTATION_LEAD, second, 3600 * second, 300 * second);
        let endpoint = endpoint?;
        let region = endpoint.region().map(str::to_owned);
        let provider = Provider {
            host: endpoint.host,
            port: endpoint.port,
            role_alias: role_alias?,
            thing_name,
            certificate: certificate?,
            key: key?,
            ca_file,
            connect_timeout,
            fetch_timeout,
            fetch_deadline,
            lead,
        };
        Some(FoundProvider { provider, region })
    }

    fn deadline_after_timeout(&mut self, timeout: Duration, deadline: Duration) {
        if deadline > timeout {
            return;
        }
        let limit =
            |setting: &Setting, value| format!("{} ({})", setting.name, duration::show(value));
        if let Some(entry) = self.entry(&settings::FETCH_DEADLINE) {
            self.bad(
                entry,
                &format!("must be more than {}", limit(&settings::FETCH_TIMEOUT, timeout)),
            );
        } else if let Some(entry) = self.entry(&settings::FETCH_TIMEOUT) {
            self.bad(
                entry,
                &format!("must be less than {}", limit(&settings::FETCH_DEADLINE, deadline)),
            );
        }
    }

    fn litestream(
        &mut self,
        region: Option<String>,
        runtime_directory: &std::path::Path,
    ) -> Option<Litestream> {
        let environment_file = self.or(
            &settings::ENVIRONMENT_FILE,
            values::file,
            runtime_directory.join("litestream.env"),
        );
        let restart_command =
            self.or(&settings::RESTART_COMMAND, super::words::parse_command, Vec::new());
        let restart_timeout = self.duration(
            &settings::RESTART_TIMEOUT,
            Duration::from_secs(1),
            Duration::from_secs(600),
            Duration::from_secs(90),
        );
        let unit =
            self.or(&settings::LITESTREAM_UNIT, values::unit, "litestream.service".to_owned());
        let pid_file = self.optional(&settings::LITESTREAM_PID_FILE, values::file);
        Some(Litestream {
            environment_file,
            region: region?,
            restart_command,
            restart_timeout,
            unit,
            pid_file,
        })
    }

    fn heartbeat(&mut self) -> Option<Heartbeat> {
        let database = self.required(&settings::DATABASE, values::file);
        let interval = self.duration(
            &settings::HEARTBEAT_INTERVAL,
            Duration::from_millis(100),
            Duration::from_secs(3600),
            Duration::from_secs(5),
        );
        let keep_rows = self.or(&settings::HEARTBEAT_KEEP_ROWS, values::keep_rows, 100_000);
        let allow_volatile_database =
            self.or(&settings::ALLOW_VOLATILE_DATABASE, values::boolean, false);
        Some(Heartbeat { database: database?, interval, keep_rows, allow_volatile_database })
    }

    /// A file that is replaced by another one's content is lost: two settings must not name one file.
    fn one_file_for_two(&mut self, config: &Config) {
        let mut files = vec![
            (&settings::ENVIRONMENT_FILE, &config.litestream.environment_file),
            (&settings::DATABASE, &config.heartbeat.database),
            (&settings::CERTIFICATE, &config.provider.certificate),
        ];
        if let PrivateKey::File(path) = &config.provider.key {
            files.push((&settings::PRIVATE_KEY, path));
        }
        if let Some(path) = &config.litestream.pid_file {
            files.push((&settings::LITESTREAM_PID_FILE, path));
        }
        let mut seen = HashMap::new();
        for (setting, path) in files {
            // Certificate and key may well be in one PEM file: both are only read.
            let is_certificate_and_key = |other: &Setting| {
                setting.name == settings::PRIVATE_KEY.name
                    && other.name == settings::CERTIFICATE.name
            };
            match seen.insert(path, setting) {
                Some(other) if !is_certificate_and_key(other) => {
                    if let Some(entry) = self.entry(setting) {
                        self.bad(entry, &format!("is the same file as {}", other.name));
                    }
                }
                _ => {}
            }
        }
    }

    fn finish(self, config: Config) -> Result<(Config, Vec<Warning>), ConfigErrors> {
        if self.errors.is_empty() {
            let mut warnings = self.warnings;
            warnings.sort_by(|a, b| a.0.place.cmp(&b.0.place));
            return Ok((config, warnings));
        }
        Err(self.failed())
    }

    fn failed(mut self) -> ConfigErrors {
        self.errors.sort_by(|a, b| a.place.cmp(&b.place));
        self.warnings.sort_by(|a, b| a.0.place.cmp(&b.0.place));
        ConfigErrors { errors: self.errors, warnings: self.warnings }
    }
}
