//! The second step of trust: from layers to a [`Config`], setting by setting, and what must hold between them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use log::LevelFilter;

use super::{
    Config, Guard, Heartbeat, Litestream, PrivateKey, Provider, Verify, Warning,
    check::{Check, UnknownKeys},
    duration,
    endpoint::Endpoint,
    key,
    layers::Layers,
    problem::ConfigErrors,
    settings::{self, Setting},
    values, words,
};

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
        let endpoint = check.required(&settings::ENDPOINT, Endpoint::parse);
        let region = check.region(endpoint.as_ref());
        let provider = check.provider(endpoint);
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
        let litestream = check.litestream(region, &runtime_directory);
        let heartbeat = check.heartbeat();
        let verify = check.verify();
        let guard = check.guard();
        let log = check.or(&settings::LOG, values::log_level, LevelFilter::Info);
        if let (Some(provider), Some(litestream), Some(heartbeat)) =
            (provider, litestream, heartbeat)
        {
            let config = Self {
                provider,
                litestream,
                heartbeat,
                verify,
                guard,
                runtime_directory,
                state_directory,
                log,
            };
            check.one_file_for_two(&config);
            return check.finish(config);
        }
        Err(check.failed())
    }
}

impl Check<'_> {
    /// The region that is set, else the one in the endpoint's name.
    fn region(&mut self, endpoint: Option<&Endpoint>) -> Option<String> {
        if self.entry(&settings::REGION).is_some() {
            return self.optional(&settings::REGION, values::region);
        }
        // What is wrong with the endpoint is told already; a region may be in it.
        match endpoint?.region() {
            Some(region) => Some(region.to_owned()),
            None => self.missing(&settings::REGION),
        }
    }

    fn provider(&mut self, endpoint: Option<Endpoint>) -> Option<Provider> {
        let second = Duration::from_secs(1);
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
        Some(Provider {
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
        })
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
        runtime_directory: &Path,
    ) -> Option<Litestream> {
        let environment_file = self.or(
            &settings::ENVIRONMENT_FILE,
            values::file,
            runtime_directory.join("litestream.env"),
        );
        let restart_command = self.or(&settings::RESTART_COMMAND, words::parse_command, Vec::new());
        let restart_timeout = self.duration(
            &settings::RESTART_TIMEOUT,
            Duration::from_secs(1),
            Duration::from_secs(600),
            Duration::from_secs(90),
        );
        let unit =
            self.or(&settings::LITESTREAM_UNIT, values::unit, "litestream.service".to_owned());
        let pid_file = self.optional(&settings::LITESTREAM_PID_FILE, values::file);
        let program =
            self.or(&settings::LITESTREAM, values::file, PathBuf::from("/usr/bin/litestream"));
        let configuration = self.or(
            &settings::LITESTREAM_CONFIG,
            values::file,
            PathBuf::from("/etc/litestream.yml"),
        );
        Some(Litestream {
            environment_file,
            region: region?,
            restart_command,
            restart_timeout,
            unit,
            pid_file,
            program,
            configuration,
        })
    }

    fn verify(&mut self) -> Verify {
        let second = Duration::from_secs(1);
        Verify {
            max_lag: self.duration(
                &settings::VERIFY_MAX_LAG,
                second,
                24 * 3600 * second,
                300 * second,
            ),
            stall: self.duration(&settings::VERIFY_STALL, second, 3600 * second, 120 * second),
        }
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

    fn guard(&mut self) -> Guard {
        let databases = self.or(&settings::GUARD_DATABASES, values::files, Vec::new());
        let max_time = self.duration(
            &settings::GUARD_MAX_TIME,
            Duration::from_secs(1),
            Duration::from_secs(3600),
            Duration::from_secs(120),
        );
        let max_wal = self.or(&settings::GUARD_MAX_WAL, values::wal_size, 64 << 20);
        Guard { databases, max_time, max_wal }
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
}
