//! Every setting there is, in one table: the checks, `run --help`, the search for misspelt keys and
//! the README all go by it, so that none of them can forget one.

/// A setting's names and what a person must know of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    /// What the article this project grew out of calls it; as good as `name`.
    pub article_name: Option<&'static str>,
    /// As a person would write it; `required` and `none` say what they say.
    pub default: &'static str,
    /// What it takes, with its unit.
    pub help: &'static str,
    /// What it is for and a value to copy, for a required setting that is missing.
    pub example: &'static str,
    pub(super) secrecy: Secrecy,
    /// Whether each device brings its own, so that an image need not have it.
    pub of_device: bool,
}

/// Whether a bad value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    Shown,
    /// What is put here by mistake could be the secret itself.
    OnlyPaths,
    /// Part of it may well be a secret.
    Never,
}

impl Setting {
    const fn new(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Self {
            name,
            article_name: None,
            default,
            help,
            example: "",
            secrecy: Secrecy::Shown,
            of_device: false,
        }
    }

    const fn article(mut self, name: &'static str) -> Self {
        self.article_name = Some(name);
        self
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    const fn secrecy(mut self, secrecy: Secrecy) -> Self {
        self.secrecy = secrecy;
        self
    }

    const fn of_device(mut self) -> Self {
        self.of_device = true;
        self
    }
}

pub const ENDPOINT: Setting = Setting::new(
    "EDGEROTATE_ENDPOINT",
    "required",
    "host of the AWS IoT credential provider: `HOST`, `HOST:PORT` or `https://HOST[:PORT]`",
)
.article("CREDENTIAL_ENDPOINT")
.example(
    "where to ask for credentials, such as c1a2b3c4d5e6f7.credentials.iot.eu-west-1.amazonaws.com",
);
pub const ROLE_ALIAS: Setting = Setting::new(
    "EDGEROTATE_ROLE_ALIAS",
    "required",
    "role alias: 1 to 128 of `A-Z a-z 0-9 _ = , @ -`",
)
.article("CREDENTIAL_ROLE_ALIAS")
.example("which role to ask for, such as litestream-replica");
pub const THING_NAME: Setting = Setting::new(
    "EDGEROTATE_THING_NAME",
    "none",
    "thing that the certificate is attached to, for policies with `${credentials-iot:ThingName}`: \
     1 to 128 of `A-Z a-z 0-9 : _ -`",
)
.of_device();
pub const CERTIFICATE: Setting = Setting::new(
    "EDGEROTATE_CERTIFICATE",
    "required",
    "PEM file with the device's certificate, and its chain if it has one",
)
.article("DEVICE_CERT_PATH")
.example("the certificate to show to AWS, such as /data/edgerotate/device.crt")
.of_device();
pub const PRIVATE_KEY: Setting = Setting::new(
    "EDGEROTATE_PRIVATE_KEY",
    "required",
    "the certificate's key: a `pkcs11:` URI (RFC 7512), or a PEM file where there is no HSM",
)
.article("DEVICE_PRIVATE_KEY_PKCS11_PHRASE")
.example("the certificate's key, such as pkcs11:token=edgerotate;object=device;type=private")
.secrecy(Secrecy::OnlyPaths)
.of_device();
pub const PKCS11_MODULE: Setting = Setting::new(
    "EDGEROTATE_PKCS11_MODULE",
    "`module-path` in the URI",
    "the HSM's PKCS#11 module, a shared library; needed with a `pkcs11:` key",
)
.example("the library that talks to the HSM, such as /usr/lib/softhsm/libsofthsm2.so");
pub const PKCS11_PIN_FILE: Setting = Setting::new(
    "EDGEROTATE_PKCS11_PIN_FILE",
    "`pin-source` or `pin-value` in the URI, else no PIN",
    "file with the token's PIN; a newline at its end is no part of it",
)
.secrecy(Secrecy::OnlyPaths)
.of_device();
pub const PKCS11_ROUTE: Setting = Setting::new(
    "EDGEROTATE_PKCS11_ROUTE",
    "`engine`",
    "how OpenSSL reaches the module: `engine` (libp11) or `provider` (pkcs11-provider)",
);
pub const MODULE_ENVIRONMENT: Setting = Setting::new(
    "EDGEROTATE_MODULE_ENVIRONMENT",
    "none",
    "further environment variables that the PKCS#11 module reads, as `NAME=VALUE` or by name from \
     edgerotate's own, separated by spaces; belongs in the image's file",
)
.secrecy(Secrecy::Never);
pub const CA_FILE: Setting = Setting::new(
    "EDGEROTATE_CA_FILE",
    "the system's store",
    "PEM file with the authorities the endpoint's certificate is checked against",
);
pub const PROXY: Setting = Setting::new(
    "EDGEROTATE_PROXY",
    "none",
    "proxy by which the provider is asked: `http://HOST:PORT` or `https://HOST:PORT`, or `none`; \
     one in the environment is not used",
)
.secrecy(Secrecy::Never);
pub const PROXY_USER_FILE: Setting = Setting::new(
    "EDGEROTATE_PROXY_USER_FILE",
    "none",
    "file with one line `USER:PASSWORD`, where the proxy asks for them",
)
.secrecy(Secrecy::OnlyPaths);
pub const REGION: Setting = Setting::new(
    "EDGEROTATE_REGION",
    "the region in the endpoint's name",
    "region handed to Litestream as `AWS_DEFAULT_REGION`; required if the endpoint's name has none",
)
.example("the bucket's region, as the endpoint's name has none, such as eu-west-1");
pub const ENVIRONMENT_FILE: Setting = Setting::new(
    "EDGEROTATE_ENVIRONMENT_FILE",
    "`litestream.env` in the runtime directory",
    "the file with the credentials that Litestream's unit reads; belongs on tmpfs",
)
.article("SYSTEMD_LITESTREAM_CONFIG_PATH");
pub const DELIVERY: Setting = Setting::new(
    "EDGEROTATE_DELIVERY",
    "`environment-file`",
    "how Litestream gets the credentials: `environment-file` (and a restart at each rotation) or \
     `endpoint` (it asks on loopback, and nothing restarts)",
);
pub const ENDPOINT_LISTEN: Setting = Setting::new(
    "EDGEROTATE_ENDPOINT_LISTEN",
    "`127.0.0.1:9170` with `endpoint`, else none",
    "`127.0.0.1:PORT`, where programs on this device ask for the credentials as they do in a \
     container; how is in `endpoint.env` in the client or runtime directory",
);
pub const CLIENT_DIRECTORY: Setting = Setting::new(
    "EDGEROTATE_CLIENT_DIRECTORY",
    "none",
    "directory on tmpfs, with setgid, whose group may have the credentials: `endpoint.env` and \
     what `edgerotate credential-process` reads are kept there",
);
pub const DATABASE: Setting = Setting::new(
    "EDGEROTATE_DATABASE",
    "required",
    "the SQLite database the heartbeat is written to; made if it is not there",
)
.article("SQLITE3_SAMPLE_DB_PATH")
.example("the database that Litestream replicates, such as /data/edgerotate/heartbeat.db");
pub const HEARTBEAT_INTERVAL: Setting = Setting::new(
    "EDGEROTATE_HEARTBEAT_INTERVAL",
    "`5s`",
    "time between two heartbeats: `100ms` to `1h`",
);
pub const HEARTBEAT_KEEP_ROWS: Setting = Setting::new(
    "EDGEROTATE_HEARTBEAT_KEEP_ROWS",
    "`100000`",
    "number of heartbeats kept, the newest ones: 100 or more, or 0 to keep all",
);
pub const ALLOW_VOLATILE_DATABASE: Setting = Setting::new(
    "EDGEROTATE_ALLOW_VOLATILE_DATABASE",
    "`no`",
    "whether the database may be on tmpfs, where a power cut ends it: `yes` or `no`",
);
pub const RESTART_COMMAND: Setting = Setting::new(
    "EDGEROTATE_RESTART_COMMAND",
    "none: something else watches the file",
    "program and arguments that restart Litestream, quoted as in a unit's `ExecStart=`; no shell",
);
pub const RESTART_TIMEOUT: Setting = Setting::new(
    "EDGEROTATE_RESTART_TIMEOUT",
    "`90s`",
    "how long a restart may take: `1s` to `10min`",
);
pub const LITESTREAM_UNIT: Setting = Setting::new(
    "EDGEROTATE_LITESTREAM_UNIT",
    "`litestream.service`",
    "Litestream's systemd unit, whose start is confirmed after a rotation",
);
pub const LITESTREAM_PID_FILE: Setting = Setting::new(
    "EDGEROTATE_LITESTREAM_PID_FILE",
    "none",
    "file with Litestream's process id, by which its start is confirmed where there is no systemd",
);
pub const LITESTREAM: Setting = Setting::new(
    "EDGEROTATE_LITESTREAM",
    "`/usr/bin/litestream`",
    "Litestream's program, 0.3 or 0.5, with which `edgerotate verify` restores the replica",
);
pub const LITESTREAM_CONFIG: Setting = Setting::new(
    "EDGEROTATE_LITESTREAM_CONFIG",
    "`/etc/litestream.yml`",
    "Litestream's configuration, the one that its unit uses",
);
pub const LITESTREAM_METRICS: Setting = Setting::new(
    "EDGEROTATE_LITESTREAM_METRICS",
    "none: uploads are not watched",
    "Litestream's metrics (`addr:` in litestream.yml), on loopback: \
     `http://127.0.0.1:9090/metrics`",
);
pub const SNAPSHOT_TIMEOUT: Setting = Setting::new(
    "EDGEROTATE_SNAPSHOT_TIMEOUT",
    "`60s`",
    "how long `edgerotate mend` may take for a forced snapshot before Litestream starts: `1s` to \
     `1h`",
);
pub const VERIFY_MAX_LAG: Setting = Setting::new(
    "EDGEROTATE_VERIFY_MAX_LAG",
    "`5min`",
    "how long a row may wait for the replica before it counts as behind: `1s` to `24h`",
);
pub const VERIFY_STALL: Setting = Setting::new(
    "EDGEROTATE_VERIFY_STALL",
    "`2min`",
    "how long a restore may get nowhere before `edgerotate verify` ends it: `1s` to `1h`",
);
pub const GUARD_DATABASES: Setting = Setting::new(
    "EDGEROTATE_GUARD_DATABASES",
    "none",
    "further SQLite databases that Litestream replicates, guarded while it restarts: absolute \
     paths, separated by spaces",
);
pub const GUARD_MAX_TIME: Setting = Setting::new(
    "EDGEROTATE_GUARD_MAX_TIME",
    "`2min`",
    "how long a guard waits for a Litestream that runs and takes no read lock, and how long \
     heartbeats pause for it: `1s` to `1h`",
);
pub const GUARD_MAX_WAL: Setting = Setting::new(
    "EDGEROTATE_GUARD_MAX_WAL",
    "`64M`",
    "size of a guarded database's WAL at which the guard is given up, and near which the WAL is \
     checkpointed: `1M` to `16G`",
);
pub const RUNTIME_DIRECTORY: Setting = Setting::new(
    "EDGEROTATE_RUNTIME_DIRECTORY",
    "`$RUNTIME_DIRECTORY`, else `/run/edgerotate`",
    "directory on tmpfs for locks and for what outlives a restart of the daemon",
);
pub const STATE_DIRECTORY: Setting = Setting::new(
    "EDGEROTATE_STATE_DIRECTORY",
    "`$STATE_DIRECTORY`, else `/var/lib/edgerotate`",
    "directory that outlives a reboot, for the marks of a refused PIN and of a replica that may \
     lack rows, and for what `edgerotate verify` restores",
);
pub const ROTATION_LEAD: Setting = Setting::new(
    "EDGEROTATE_ROTATION_LEAD",
    "`5min`",
    "how long before expiry a rotation begins, at most half the lifetime; 8min at least where \
     there is an endpoint: `1s` to `1h`",
);
pub const BOOT_SPREAD: Setting = Setting::new(
    "EDGEROTATE_BOOT_SPREAD",
    "`90s`",
    "a daemon that starts within five minutes after the boot waits a random part of this, drawn \
     once a boot, before it asks for its first credentials, so that a fleet after a power cut does \
     not ask in one second; heartbeats do not wait: `0s` to `1h`",
);
pub const CONNECT_TIMEOUT: Setting = Setting::new(
    "EDGEROTATE_CONNECT_TIMEOUT",
    "`10s`",
    "how long the connection to the endpoint may take: `1s` to `2min`",
);
pub const FETCH_TIMEOUT: Setting = Setting::new(
    "EDGEROTATE_FETCH_TIMEOUT",
    "`30s`",
    "how long one whole request may take: `1s` to `5min`",
);
pub const FETCH_DEADLINE: Setting = Setting::new(
    "EDGEROTATE_FETCH_DEADLINE",
    "`60s`",
    "when a fetch is killed, whatever it hangs in: more than `EDGEROTATE_FETCH_TIMEOUT`, up to \
     `10min`",
);
pub const METRICS_FILE: Setting = Setting::new(
    "EDGEROTATE_METRICS_FILE",
    "none",
    "file for node_exporter's textfile collector, whose name ends in `.prom`; its directory must \
     be there",
);
pub const LOG: Setting =
    Setting::new("EDGEROTATE_LOG", "`info`", "what is logged: `error`, `warn`, `info` or `debug`");

/// All settings, in the order in which a person reads them.
pub static SETTINGS: [&Setting; 43] = [
    &ENDPOINT,
    &ROLE_ALIAS,
    &THING_NAME,
    &CERTIFICATE,
    &PRIVATE_KEY,
    &PKCS11_MODULE,
    &PKCS11_PIN_FILE,
    &PKCS11_ROUTE,
    &MODULE_ENVIRONMENT,
    &CA_FILE,
    &PROXY,
    &PROXY_USER_FILE,
    &REGION,
    &DELIVERY,
    &ENVIRONMENT_FILE,
    &ENDPOINT_LISTEN,
    &CLIENT_DIRECTORY,
    &DATABASE,
    &HEARTBEAT_INTERVAL,
    &HEARTBEAT_KEEP_ROWS,
    &ALLOW_VOLATILE_DATABASE,
    &RESTART_COMMAND,
    &RESTART_TIMEOUT,
    &LITESTREAM_UNIT,
    &LITESTREAM_PID_FILE,
    &LITESTREAM,
    &LITESTREAM_CONFIG,
    &LITESTREAM_METRICS,
    &SNAPSHOT_TIMEOUT,
    &VERIFY_MAX_LAG,
    &VERIFY_STALL,
    &GUARD_DATABASES,
    &GUARD_MAX_TIME,
    &GUARD_MAX_WAL,
    &RUNTIME_DIRECTORY,
    &STATE_DIRECTORY,
    &ROTATION_LEAD,
    &BOOT_SPREAD,
    &CONNECT_TIMEOUT,
    &FETCH_TIMEOUT,
    &FETCH_DEADLINE,
    &METRICS_FILE,
    &LOG,
];

/// All names of the settings whose value may be a secret, or hold one.
pub fn names_of_secrets() -> impl Iterator<Item = &'static str> {
    let secrets = SETTINGS.iter().filter(|setting| setting.secrecy != Secrecy::Shown);
    secrets.flat_map(|setting| [Some(setting.name), setting.article_name]).flatten()
}

/// The setting that goes by this name, and whether that is the article's.
pub(super) fn by_name(name: &str) -> Option<(&'static Setting, bool)> {
    SETTINGS.iter().find_map(|setting| {
        if setting.name == name {
            Some((*setting, false))
        } else if setting.article_name == Some(name) {
            Some((*setting, true))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_there_twice_and_a_required_setting_has_an_example() {
        let mut names: Vec<_> =
            SETTINGS.iter().flat_map(|s| std::iter::once(s.name).chain(s.article_name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for setting in SETTINGS {
            assert!(
                setting.default != "required" || !setting.example.is_empty(),
                "{}",
                setting.name
            );
        }
    }
}
