//! The second step of trust: from layers to a [`Config`], setting by setting, and what must hold
//! between them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use log::LevelFilter;

use crate::{
    core::own_files,
    settings::{
        check::{Check, UnknownKeys},
        config::{
            ClientSettings, Config, Delivery, GuardSettings, HeartbeatSettings, LitestreamSettings,
            MendSettings, OutletSettings, Pin, PrivateKey, Provider, Proxy, VerifySettings,
        },
        duration,
        endpoint::ProviderEndpoint,
        key,
        layers::Layers,
        metrics_address::Address,
        problem::{ConfigErrors, Warning},
        table::{self, Setting},
        values, words,
    },
};

/// The one that systemd/ brings.
pub const LITESTREAM_UNIT: &str = "litestream.service";

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
        let endpoint = check.required(&table::ENDPOINT, ProviderEndpoint::parse);
        let region = check.region(endpoint.as_ref());
        let provider = check.provider(endpoint);
        let runtime_directory = check.runtime_directory(layers.runtime_directory.as_deref());
        let state_directory = check.state_directory(layers.state_directory.as_deref());
        let litestream = check.litestream(region, &runtime_directory);
        let outlets = check.outlets();
        let heartbeat = check.heartbeat();
        let verify = check.verify();
        let guard = check.guard();
        let metrics_file = check.optional(&table::METRICS_FILE, values::metrics_file);
        let log = check.or(&table::LOG, values::log_level, LevelFilter::Info);
        if let (Some(provider), Some(litestream), Some(heartbeat)) =
            (provider, litestream, heartbeat)
        {
            let config = Self {
                provider,
                litestream,
                outlets,
                heartbeat,
                verify,
                guard,
                runtime_directory,
                state_directory,
                metrics_file,
                log,
            };
            check.one_file_for_two(&config);
            return check.finish(config);
        }
        Err(check.failed())
    }
}

/// The runtime directory, whatever is wrong with the other settings; the default, if it is wrong
/// itself.
pub fn runtime_directory(layers: &Layers) -> PathBuf {
    Check::new(layers, UnknownKeys::Warn).runtime_directory(layers.runtime_directory.as_deref())
}

/// State and runtime directory, whatever is wrong with the other settings.
pub fn directories(layers: &Layers) -> [PathBuf; 2] {
    let mut check = Check::new(layers, UnknownKeys::Warn);
    let state = check.state_directory(layers.state_directory.as_deref());
    [state, check.runtime_directory(layers.runtime_directory.as_deref())]
}

impl MendSettings {
    /// It runs as Litestream's user, who may well not read all of the settings, and in Litestream's
    /// unit, whose `$RUNTIME_DIRECTORY` is another. What is wrong with them the daemon says.
    pub fn from_layers(layers: &Layers) -> Self {
        let mut check = Check::new(layers, UnknownKeys::Warn);
        Self {
            runtime_directory: check.runtime_directory(None),
            program: check.litestream_program(),
            configuration: check.litestream_configuration(),
            snapshot_timeout: check.snapshot_timeout(),
        }
    }
}

impl ClientSettings {
    /// It runs as other users, who may well not read the device's own settings: what the image says
    /// is enough for them.
    pub fn from_layers(layers: &Layers) -> Self {
        let mut check = Check::new(layers, UnknownKeys::Warn);
        Self {
            runtime_directory: check.runtime_directory(layers.runtime_directory.as_deref()),
            client_directory: check.optional(&table::CLIENT_DIRECTORY, values::path),
            reads_all: layers.complete,
        }
    }
}

impl Check<'_> {
    fn runtime_directory(&mut self, systemd: Option<&str>) -> PathBuf {
        self.directory(&table::RUNTIME_DIRECTORY, systemd, "/run/edgerotate")
    }

    fn state_directory(&mut self, systemd: Option<&str>) -> PathBuf {
        self.directory(&table::STATE_DIRECTORY, systemd, "/var/lib/edgerotate")
    }

    /// The region that is set, else the one in the endpoint's name.
    fn region(&mut self, endpoint: Option<&ProviderEndpoint>) -> Option<String> {
        if self.entry(&table::REGION).is_some() {
            return self.optional(&table::REGION, values::region);
        }
        // What is wrong with the endpoint is told already; a region may be in it.
        match endpoint?.region() {
            Some(region) => Some(region.to_owned()),
            None => self.missing(&table::REGION),
        }
    }

    fn provider(&mut self, endpoint: Option<ProviderEndpoint>) -> Option<Provider> {
        let second = Duration::from_secs(1);
        let role_alias = self.required(&table::ROLE_ALIAS, values::role_alias);
        let thing_name = self.optional(&table::THING_NAME, values::thing_name);
        let certificate = self.required(&table::CERTIFICATE, values::file);
        let key = if self.entry(&table::PRIVATE_KEY).is_some() {
            key::private_key(self)
        } else {
            self.missing(&table::PRIVATE_KEY)
        };
        let ca_file = self.optional(&table::CA_FILE, values::file);
        let proxy = self.proxy();
        let connect_timeout =
            self.duration(&table::CONNECT_TIMEOUT, second, 120 * second, 10 * second);
        let fetch_timeout = self.duration(&table::FETCH_TIMEOUT, second, 300 * second, 30 * second);
        let fetch_deadline =
            self.duration(&table::FETCH_DEADLINE, second, 600 * second, 60 * second);
        self.deadline_after_timeout(fetch_timeout, fetch_deadline);
        let lead = self.duration(&table::ROTATION_LEAD, second, 3600 * second, 300 * second);
        self.deadline_before_expiry(fetch_deadline, lead);
        let boot_spread =
            self.duration(&table::BOOT_SPREAD, Duration::ZERO, 3600 * second, 90 * second);
        let endpoint = endpoint?;
        Some(Provider {
            host: endpoint.host,
            port: endpoint.port,
            role_alias: role_alias?,
            thing_name,
            certificate: certificate?,
            key: key?,
            ca_file,
            proxy,
            connect_timeout,
            fetch_timeout,
            fetch_deadline,
            lead,
            boot_spread,
        })
    }

    /// The user's file is looked at where there is no proxy, too: what is wrong with it is told.
    fn proxy(&mut self) -> Option<Proxy> {
        let user_file = self.optional(&table::PROXY_USER_FILE, values::file);
        let url = self.or(&table::PROXY, values::proxy, None)?;
        Some(Proxy { url, user_file })
    }

    fn deadline_after_timeout(&mut self, timeout: Duration, deadline: Duration) {
        if deadline > timeout {
            return;
        }
        let limit =
            |setting: &Setting, value| format!("{} ({})", setting.name, duration::show(value));
        let more = format!("must be more than {}", limit(&table::FETCH_TIMEOUT, timeout));
        let less = format!("must be less than {}", limit(&table::FETCH_DEADLINE, deadline));
        self.bad_pair(
            (self.entry(&table::FETCH_DEADLINE), &more),
            (self.entry(&table::FETCH_TIMEOUT), &less),
        );
    }

    /// A module that hangs once is to cost time, not the credentials.
    fn deadline_before_expiry(&mut self, deadline: Duration, lead: Duration) {
        if deadline < lead {
            return;
        }
        let (deadline_name, lead_name) = (table::FETCH_DEADLINE.name, table::ROTATION_LEAD.name);
        let (deadline, lead) = (duration::show(deadline), duration::show(lead));
        let hang = "one fetch that hangs outlasts the credentials";
        if let Some(entry) = self.entry(&table::FETCH_DEADLINE) {
            self.warn(entry, format!("is {deadline}, not less than {lead_name} ({lead}): {hang}"));
        } else if let Some(entry) = self.entry(&table::ROTATION_LEAD) {
            let what = format!("is {lead}, not more than {deadline_name} ({deadline}): {hang}");
            self.warn(entry, what);
        }
    }

    fn litestream(
        &mut self,
        region: Option<String>,
        runtime_directory: &Path,
    ) -> Option<LitestreamSettings> {
        let environment_file = self.or(
            &table::ENVIRONMENT_FILE,
            values::file,
            runtime_directory.join("litestream.env"),
        );
        let restart_command = self.or(&table::RESTART_COMMAND, words::parse_command, Vec::new());
        let restart_timeout = self.duration(
            &table::RESTART_TIMEOUT,
            Duration::from_secs(1),
            Duration::from_secs(600),
            Duration::from_secs(90),
        );
        let unit = self.or(&table::LITESTREAM_UNIT, values::unit, LITESTREAM_UNIT.to_owned());
        let pid_file = self.optional(&table::LITESTREAM_PID_FILE, values::file);
        let program = self.litestream_program();
        let configuration = self.litestream_configuration();
        let metrics = self.optional(&table::LITESTREAM_METRICS, Address::parse);
        let snapshot_timeout = self.snapshot_timeout();
        // Last, so that nothing hides what is wrong with the rest.
        Some(LitestreamSettings {
            environment_file,
            region: region?,
            restart_command,
            restart_timeout,
            unit,
            pid_file,
            program,
            configuration,
            metrics,
            snapshot_timeout,
        })
    }

    fn outlets(&mut self) -> OutletSettings {
        OutletSettings {
            delivery: self.or(&table::DELIVERY, values::delivery, Delivery::EnvironmentFile),
            listen: self.optional(&table::ENDPOINT_LISTEN, values::listen),
            client_directory: self.optional(&table::CLIENT_DIRECTORY, values::path),
        }
    }

    fn litestream_program(&mut self) -> PathBuf {
        self.or(&table::LITESTREAM, values::file, PathBuf::from("/usr/bin/litestream"))
    }

    fn litestream_configuration(&mut self) -> PathBuf {
        self.or(&table::LITESTREAM_CONFIG, values::file, PathBuf::from("/etc/litestream.yml"))
    }

    fn snapshot_timeout(&mut self) -> Duration {
        self.duration(
            &table::SNAPSHOT_TIMEOUT,
            Duration::from_secs(1),
            Duration::from_secs(3600),
            Duration::from_secs(60),
        )
    }

    fn verify(&mut self) -> VerifySettings {
        let second = Duration::from_secs(1);
        VerifySettings {
            max_lag: self.duration(
                &table::VERIFY_MAX_LAG,
                second,
                24 * 3600 * second,
                300 * second,
            ),
            stall: self.duration(&table::VERIFY_STALL, second, 3600 * second, 120 * second),
        }
    }

    fn heartbeat(&mut self) -> Option<HeartbeatSettings> {
        let database = self.required(&table::DATABASE, values::file);
        let interval = self.duration(
            &table::HEARTBEAT_INTERVAL,
            Duration::from_millis(100),
            Duration::from_secs(3600),
            Duration::from_secs(5),
        );
        let keep_rows = self.or(&table::HEARTBEAT_KEEP_ROWS, values::keep_rows, 100_000);
        let allow_volatile_database =
            self.or(&table::ALLOW_VOLATILE_DATABASE, values::boolean, false);
        Some(HeartbeatSettings {
            database: database?,
            interval,
            keep_rows,
            allow_volatile_database,
        })
    }

    fn guard(&mut self) -> GuardSettings {
        let databases = self.or(&table::GUARD_DATABASES, values::files, Vec::new());
        let max_time = self.duration(
            &table::GUARD_MAX_TIME,
            Duration::from_secs(1),
            Duration::from_secs(3600),
            Duration::from_secs(120),
        );
        let max_wal = self.or(&table::GUARD_MAX_WAL, values::wal_size, 64 << 20);
        GuardSettings { databases, max_time, max_wal }
    }

    /// A file that is replaced by another one's content is lost: what is written must be no file of
    /// another use.
    fn one_file_for_two(&mut self, config: &Config) {
        let files = files(config);
        for (at, second) in files.iter().enumerate() {
            for first in &files[..at] {
                // Whatever is only read may well be one file, such as certificate and key.
                if first.path != second.path || !(first.written || second.written) {
                    continue;
                }
                let same = |other: &NamedFile| format!("is the same file as {}", other.name());
                let set = |file: &NamedFile| file.setting.and_then(|setting| self.entry(setting));
                self.bad_pair((set(second), &same(first)), (set(first), &same(second)));
            }
        }
    }
}

/// A file that edgerotate or Litestream uses.
struct NamedFile {
    /// Who names it; none for a file that edgerotate names itself.
    setting: Option<&'static Setting>,
    path: PathBuf,
    written: bool,
}

impl NamedFile {
    fn name(&self) -> String {
        match self.setting {
            Some(setting) => setting.name.to_owned(),
            None => format!("edgerotate's own {}", self.path.display()),
        }
    }
}

fn files(config: &Config) -> Vec<NamedFile> {
    let read = |setting, path: &Path| NamedFile {
        setting: Some(setting),
        path: path.to_owned(),
        written: false,
    };
    let written = |setting, path: &Path| NamedFile { written: true, ..read(setting, path) };
    let own = |path| NamedFile { setting: None, path, written: true };

    let mut files: Vec<NamedFile> = own_files::IN_RUNTIME_DIRECTORY
        .iter()
        .map(|name| own(config.runtime_directory.join(name)))
        .chain(
            own_files::IN_STATE_DIRECTORY.iter().map(|name| own(config.state_directory.join(name))),
        )
        .collect();
    if let Some(directory) = &config.outlets.client_directory {
        files.extend(own_files::IN_CLIENT_DIRECTORY.iter().map(|name| own(directory.join(name))));
    }
    let database = &config.heartbeat.database;
    files.extend(["-wal", "-shm", "-journal"].map(|suffix| {
        let mut path = database.clone().into_os_string();
        path.push(suffix);
        own(path.into())
    }));
    files.push(written(&table::ENVIRONMENT_FILE, &config.litestream.environment_file));
    files.push(written(&table::DATABASE, database));
    files.push(read(&table::CERTIFICATE, &config.provider.certificate));
    if let Some(path) = &config.provider.ca_file {
        files.push(read(&table::CA_FILE, path));
    }
    if let Some(path) = config.provider.proxy.as_ref().and_then(|proxy| proxy.user_file.as_ref()) {
        files.push(read(&table::PROXY_USER_FILE, path));
    }
    match &config.provider.key {
        PrivateKey::File(path) => files.push(read(&table::PRIVATE_KEY, path)),
        // Where the URI names them, the setting they are found under says nothing; the other one's
        // does.
        PrivateKey::Token(token) => {
            files.push(read(&table::PKCS11_MODULE, &token.module));
            if let Pin::File(path) = &token.pin {
                files.push(read(&table::PKCS11_PIN_FILE, path));
            }
        }
    }
    if let Some(path) = &config.metrics_file {
        files.push(written(&table::METRICS_FILE, path));
    }
    // Litestream writes it.
    if let Some(path) = &config.litestream.pid_file {
        files.push(written(&table::LITESTREAM_PID_FILE, path));
    }
    files
}
