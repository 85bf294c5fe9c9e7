//! Each setting's good and bad values, with the exact lines that a person gets to see.

use std::time::Duration;

use log::LevelFilter;

use super::*;
use crate::core::secret::Secret;

#[test]
fn the_least_that_is_needed_gives_the_defaults() {
    let config = config(check_with(&[]));
    let expected = Config {
        provider: Provider {
            host: "a1.credentials.iot.eu-west-1.amazonaws.com".to_owned(),
            port: 443,
            role_alias: "replica".to_owned(),
            thing_name: None,
            certificate: "/data/device.crt".into(),
            key: PrivateKey::File("/data/device.key".into()),
            ca_file: None,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(30),
            fetch_deadline: Duration::from_secs(60),
            lead: Duration::from_secs(300),
            boot_spread: Duration::from_secs(90),
        },
        litestream: LitestreamSettings {
            environment_file: "/run/edgerotate/litestream.env".into(),
            region: "eu-west-1".to_owned(),
            restart_command: Vec::new(),
            restart_timeout: Duration::from_secs(90),
            unit: "litestream.service".to_owned(),
            pid_file: None,
            program: "/usr/bin/litestream".into(),
            configuration: "/etc/litestream.yml".into(),
            metrics: None,
            snapshot_timeout: Duration::from_secs(60),
        },
        outlets: OutletSettings {
            delivery: Delivery::EnvironmentFile,
            listen: None,
            client_directory: None,
        },
        heartbeat: HeartbeatSettings {
            database: "/data/heartbeat.db".into(),
            interval: Duration::from_secs(5),
            keep_rows: 100_000,
            allow_volatile_database: false,
        },
        verify: VerifySettings {
            max_lag: Duration::from_secs(300),
            stall: Duration::from_secs(120),
        },
        guard: GuardSettings {
            databases: Vec::new(),
            max_time: Duration::from_secs(120),
            max_wal: 64 << 20,
        },
        runtime_directory: "/run/edgerotate".into(),
        state_directory: "/var/lib/edgerotate".into(),
        metrics_file: None,
        log: LevelFilter::Info,
    };
    assert_eq!(config, expected);
}

#[test]
fn every_value_gets_where_it_belongs() {
    let config = config(check_token_with(&[
        ("EDGEROTATE_ENDPOINT", "https://Provider.test:8443/"),
        ("EDGEROTATE_ROLE_ALIAS", "a_=,@-9"),
        ("EDGEROTATE_THING_NAME", "a:_-9"),
        ("EDGEROTATE_PKCS11_PIN_FILE", "/run/pin"),
        ("EDGEROTATE_PKCS11_ROUTE", "provider"),
        ("EDGEROTATE_MODULE_ENVIRONMENT", " A_1  _b=/etc/x=y c="),
        ("EDGEROTATE_CA_FILE", "/etc/ca.pem"),
        ("EDGEROTATE_REGION", "us-gov-east-1"),
        ("EDGEROTATE_DELIVERY", "endpoint"),
        ("EDGEROTATE_ENVIRONMENT_FILE", "/run/a b.env"),
        ("EDGEROTATE_ENDPOINT_LISTEN", "127.0.0.1:1"),
        ("EDGEROTATE_CLIENT_DIRECTORY", "/run/clients"),
        ("EDGEROTATE_HEARTBEAT_INTERVAL", "100ms"),
        ("EDGEROTATE_HEARTBEAT_KEEP_ROWS", "100"),
        ("EDGEROTATE_ALLOW_VOLATILE_DATABASE", "On"),
        ("EDGEROTATE_RESTART_COMMAND", "/bin/systemctl restart 'a b'"),
        ("EDGEROTATE_RESTART_TIMEOUT", "10min"),
        ("EDGEROTATE_LITESTREAM_UNIT", "litestream@a\\x2db.service"),
        ("EDGEROTATE_LITESTREAM_PID_FILE", "/run/litestream.pid"),
        ("EDGEROTATE_LITESTREAM", "/opt/litestream"),
        ("EDGEROTATE_LITESTREAM_CONFIG", "/data/litestream.yml"),
        ("EDGEROTATE_VERIFY_MAX_LAG", "1h"),
        ("EDGEROTATE_VERIFY_STALL", "30s"),
        ("EDGEROTATE_METRICS_FILE", "/run/metrics/edgerotate.prom"),
        ("EDGEROTATE_GUARD_DATABASES", "/data/a.db  '/data/b c.db' /data/a.db"),
        ("EDGEROTATE_GUARD_MAX_TIME", "30s"),
        ("EDGEROTATE_GUARD_MAX_WAL", "2G"),
        ("EDGEROTATE_RUNTIME_DIRECTORY", "/run/other/"),
        ("EDGEROTATE_STATE_DIRECTORY", "/data/state"),
        ("EDGEROTATE_ROTATION_LEAD", "1h"),
        ("EDGEROTATE_BOOT_SPREAD", "0"),
        ("EDGEROTATE_CONNECT_TIMEOUT", "1"),
        ("EDGEROTATE_FETCH_TIMEOUT", "5min"),
        ("EDGEROTATE_FETCH_DEADLINE", "5min 1s"),
        ("EDGEROTATE_LOG", "debug"),
    ]));
    let provider = &config.provider;
    assert_eq!((provider.host.as_str(), provider.port), ("provider.test", 8443));
    assert_eq!(provider.role_alias, "a_=,@-9");
    assert_eq!(provider.thing_name.as_deref(), Some("a:_-9"));
    assert_eq!(
        provider.key,
        PrivateKey::Token(Token {
            uri: "pkcs11:token=t;object=k".to_owned(),
            module: "/usr/lib/module.so".into(),
            pin: Pin::File("/run/pin".into()),
            route: Route::Provider,
            module_environment: [("A_1", None), ("_b", Some("/etc/x=y")), ("c", Some(""))]
                .map(|(name, value)| ModuleVariable {
                    name: name.to_owned(),
                    value: value.map(|value: &str| Secret::new(value.to_owned())),
                })
                .to_vec(),
        })
    );
    assert_eq!(provider.ca_file, Some("/etc/ca.pem".into()));
    assert_eq!(provider.lead, Duration::from_secs(3600));
    assert_eq!(provider.boot_spread, Duration::ZERO);
    assert_eq!(provider.connect_timeout, Duration::from_secs(1));
    assert_eq!(provider.fetch_timeout, Duration::from_secs(300));
    assert_eq!(provider.fetch_deadline, Duration::from_secs(301));
    let litestream = &config.litestream;
    assert_eq!(litestream.region, "us-gov-east-1");
    assert_eq!(litestream.environment_file, Path::new("/run/a b.env"));
    assert_eq!(config.outlets.delivery, Delivery::Endpoint);
    assert_eq!(config.outlets.listen, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(config.outlets.client_directory, Some("/run/clients".into()));
    assert_eq!(litestream.restart_command, ["/bin/systemctl", "restart", "a b"]);
    assert_eq!(litestream.restart_timeout, Duration::from_secs(600));
    assert_eq!(litestream.unit, "litestream@a\\x2db.service");
    assert_eq!(litestream.pid_file, Some("/run/litestream.pid".into()));
    assert_eq!(litestream.program, Path::new("/opt/litestream"));
    assert_eq!(litestream.configuration, Path::new("/data/litestream.yml"));
    let limits =
        VerifySettings { max_lag: Duration::from_secs(3600), stall: Duration::from_secs(30) };
    assert_eq!(config.verify, limits);
    assert_eq!(config.heartbeat.interval, Duration::from_millis(100));
    assert_eq!(config.heartbeat.keep_rows, 100);
    assert_eq!(config.metrics_file, Some("/run/metrics/edgerotate.prom".into()));
    assert!(config.heartbeat.allow_volatile_database);
    let guard = &config.guard;
    assert_eq!(guard.databases, [Path::new("/data/a.db"), Path::new("/data/b c.db")]);
    assert_eq!((guard.max_time, guard.max_wal), (Duration::from_secs(30), 2 << 30));
    assert_eq!(config.runtime_directory, Path::new("/run/other"));
    assert_eq!(config.state_directory, Path::new("/data/state"));
    assert_eq!(config.log, LevelFilter::Debug);
}

#[test]
fn a_bad_value_is_told_in_one_line() {
    const NO_ADDRESS: &str =
        "must be a name: AWS finds the account by the TLS server name, and an address has none";
    const ALIAS: &str = "must be 1 to 128 of A-Z a-z 0-9 _ = , @ - (the alias's name, not its ARN)";
    const DURATION: &str = "is not a duration such as 500ms, 5s, 1min 30s or 1h";
    const UNIT: &str = "must be the name of a systemd unit that ends in .service";
    const ROWS: &str = "must be a number of rows, 100 or more, or 0 to keep all";
    const KEY: &str = "must be a pkcs11: URI or the absolute path of a PEM file";
    const MQTT: &str = "is the endpoint for MQTT; the credential provider's is told by \
                        `aws iot describe-endpoint --endpoint-type iot:CredentialProvider`";
    const SIZE: &str = "must be a size such as 64M: 1M to 16G";
    const LISTEN: &str = "must be 127.0.0.1 and a port, such as 127.0.0.1:9170";
    let long = "a".repeat(129);
    let cases = [
        ("ENDPOINT", "http://a.test", "must be https: credentials go over it"),
        (
            "ENDPOINT",
            "http://a1-ats.iot.eu-west-1.amazonaws.com",
            "must be https: credentials go over it; and is the endpoint for MQTT; the credential \
             provider's is told by `aws \
             iot describe-endpoint --endpoint-type iot:CredentialProvider`",
        ),
        ("ENDPOINT", "mqtt://a.test", "must be https: credentials go over it"),
        (
            "ENDPOINT",
            "https://a.test/role-aliases/a/credentials",
            "must be a host name alone: the path is made from the role alias",
        ),
        ("ENDPOINT", "a.test?x", "must be a host name alone: the path is made from the role alias"),
        (
            "ENDPOINT",
            "https://user@a.test",
            "must not hold a user name: the certificate is the only proof of identity",
        ),
        ("ENDPOINT", "127.0.0.1", NO_ADDRESS),
        ("GUARD_DATABASES", "/data/a.db b.db", "must be an absolute path"),
        ("GUARD_DATABASES", "/data/a.db,/data/b.db", "must be separated by blanks, not by commas"),
        ("GUARD_DATABASES", "/data/a.db, /data/b.db", "must be separated by blanks, not by commas"),
        ("GUARD_DATABASES", "/data/a.db '/b", "opens a ' and does not close it"),
        ("GUARD_MAX_WAL", "64", SIZE),
        ("GUARD_MAX_WAL", "M", SIZE),
        ("GUARD_MAX_WAL", "64MB", SIZE),
        ("GUARD_MAX_WAL", "99999999999G", SIZE),
        ("ENDPOINT", "https://10.0.0.1:8443", NO_ADDRESS),
        ("ENDPOINT", "0x7f.1", NO_ADDRESS),
        ("ENDPOINT", "[::1]:443", NO_ADDRESS),
        ("ENDPOINT", "::1", NO_ADDRESS),
        ("ENDPOINT", "a.test:0", "has no port from 1 to 65535 after the colon"),
        ("ENDPOINT", "a.test:65536", "has no port from 1 to 65535 after the colon"),
        ("ENDPOINT", "a.test:+1", "has no port from 1 to 65535 after the colon"),
        ("ENDPOINT", "a.test:", "has no port from 1 to 65535 after the colon"),
        ("ENDPOINT", "https://", "is not a host name"),
        ("ENDPOINT", "a..test", "is not a host name"),
        ("ENDPOINT", "a_b.test", "is not a host name"),
        ("ENDPOINT", "-a.test", "is not a host name"),
        ("ENDPOINT", "a.test.", "is not a host name"),
        ("ENDPOINT", "a b.test", "is not a host name"),
        ("ENDPOINT", "a1-ats.iot.eu-west-1.amazonaws.com", MQTT),
        ("ROLE_ALIAS", "arn:aws:iot:eu-west-1:123456789012:rolealias/a", ALIAS),
        ("ROLE_ALIAS", "a/b", ALIAS),
        ("ROLE_ALIAS", "é", ALIAS),
        ("THING_NAME", "a b", "must be 1 to 128 of A-Z a-z 0-9 : _ -"),
        ("THING_NAME", "a\nb", "must be 1 to 128 of A-Z a-z 0-9 : _ -"),
        ("CERTIFICATE", "device.crt", "must be an absolute path"),
        ("CERTIFICATE", "~/device.crt", "must be an absolute path"),
        ("CERTIFICATE", "/data/", "must be the path of a file, not of a directory"),
        ("CERTIFICATE", "/data/..", "must be the path of something with a name"),
        ("CERTIFICATE", "/data/\u{7}", "has a control character in the path"),
        ("PRIVATE_KEY", "/data/", KEY),
        ("CA_FILE", "ca.pem", "must be an absolute path"),
        ("REGION", "EU-WEST-1", "is not a region such as eu-west-1"),
        ("REGION", "eu west", "is not a region such as eu-west-1"),
        ("DELIVERY", "both", "must be environment-file or endpoint"),
        ("ENDPOINT_LISTEN", "0.0.0.0:9170", LISTEN),
        ("ENDPOINT_LISTEN", "localhost:9170", LISTEN),
        ("ENDPOINT_LISTEN", "127.0.0.2:9170", LISTEN),
        ("ENDPOINT_LISTEN", "127.0.0.1:0", LISTEN),
        ("ENDPOINT_LISTEN", "9170", LISTEN),
        ("CLIENT_DIRECTORY", "clients", "must be an absolute path"),
        ("ENVIRONMENT_FILE", "litestream.env", "must be an absolute path"),
        ("DATABASE", "file:/data/a.db", "must be an absolute path"),
        ("HEARTBEAT_INTERVAL", "99ms", "must be 100ms to 1h"),
        ("HEARTBEAT_INTERVAL", "1h 1ms", "must be 100ms to 1h"),
        ("HEARTBEAT_INTERVAL", "often", DURATION),
        ("METRICS_FILE", "/run/metrics/edgerotate.txt", "must have a name that ends in .prom"),
        ("METRICS_FILE", "edgerotate.prom", "must be an absolute path"),
        ("HEARTBEAT_KEEP_ROWS", "99", ROWS),
        ("HEARTBEAT_KEEP_ROWS", "-1", ROWS),
        ("HEARTBEAT_KEEP_ROWS", "+100", ROWS),
        ("HEARTBEAT_KEEP_ROWS", "1e6", ROWS),
        ("HEARTBEAT_KEEP_ROWS", "99999999999999999999", ROWS),
        ("ALLOW_VOLATILE_DATABASE", "maybe", "must be yes or no"),
        (
            "RESTART_COMMAND",
            "systemctl restart litestream",
            "must begin with the absolute path of a program",
        ),
        ("RESTART_COMMAND", "/bin/a 'b", "opens a ' and does not close it"),
        ("RESTART_TIMEOUT", "0", "must be 1s to 10min"),
        ("LITESTREAM_UNIT", "litestream", UNIT),
        ("LITESTREAM_UNIT", ".service", UNIT),
        ("LITESTREAM_UNIT", "a/b.service", UNIT),
        ("LITESTREAM_PID_FILE", "a.pid", "must be an absolute path"),
        ("LITESTREAM", "litestream", "must be an absolute path"),
        ("LITESTREAM_CONFIG", "/etc/", "must be the path of a file, not of a directory"),
        ("VERIFY_MAX_LAG", "999ms", "must be 1s to 24h"),
        ("VERIFY_STALL", "61min", "must be 1s to 1h"),
        ("RUNTIME_DIRECTORY", "run", "must be an absolute path"),
        ("STATE_DIRECTORY", "/", "must be the path of something with a name"),
        ("ROTATION_LEAD", "999ms", "must be 1s to 1h"),
        ("BOOT_SPREAD", "61min", "must be 0s to 1h"),
        ("CONNECT_TIMEOUT", "2min 1s", "must be 1s to 2min"),
        ("FETCH_TIMEOUT", "301", "must be 1s to 5min"),
        ("FETCH_DEADLINE", "30s", "must be more than EDGEROTATE_FETCH_TIMEOUT (30s)"),
        ("FETCH_TIMEOUT", "60s", "must be less than EDGEROTATE_FETCH_DEADLINE (1min)"),
        ("FETCH_DEADLINE", "11min", "must be 1s to 10min"),
        ("LOG", "trace", "must be error, warn, info or debug"),
        ("LOG", "INFO", "must be error, warn, info or debug"),
    ];
    for (key, value, what) in cases {
        let key = format!("EDGEROTATE_{key}");
        let checked = check_with(&[(&key, value)]);
        assert!(checked.is_err(), "{key} {value}");
        assert_eq!(lines(&checked), [format!("environment: {key}: {what} (got {value:?})")]);
    }
    for (key, value, what) in [
        ("PKCS11_MODULE", "module.so", "must be an absolute path"),
        ("PKCS11_ROUTE", "p11", "must be engine or provider"),
    ] {
        let key = format!("EDGEROTATE_{key}");
        let checked = check_token_with(&[(&key, value)]);
        assert_eq!(lines(&checked), [format!("environment: {key}: {what} (got {value:?})")]);
    }
    for key in ["EDGEROTATE_ROLE_ALIAS", "EDGEROTATE_THING_NAME"] {
        let checked = check_with(&[(key, &long)]);
        assert!(lines(&checked)[0].ends_with("…\")"), "{checked:?}");
    }
}

#[test]
fn what_could_be_a_secret_is_not_shown() {
    const HIDDEN: &str = "(what it got is not shown: it could be a secret)";
    assert_eq!(
        lines(&check_token_with(&[("EDGEROTATE_PKCS11_PIN_FILE", "1234")])),
        [format!("environment: EDGEROTATE_PKCS11_PIN_FILE: must be an absolute path {HIDDEN}")]
    );
    assert_eq!(
        lines(&check_with(&[("EDGEROTATE_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----")])),
        [format!(
            "environment: EDGEROTATE_PRIVATE_KEY: must be a pkcs11: URI or the absolute path of a \
             PEM file {HIDDEN}"
        )]
    );
    const VARIABLES: &str =
        "must be names of environment variables, or NAME=VALUE, separated by spaces";
    for (value, word) in
        [("A =b", 2), ("A-1=b", 1), ("A 1B", 2), ("A=1234 B=5678 0=9", 3), ("/etc/x PIN=1234", 1)]
    {
        assert_eq!(
            lines(&check_token_with(&[("EDGEROTATE_MODULE_ENVIRONMENT", value)])),
            [format!(
                "environment: EDGEROTATE_MODULE_ENVIRONMENT: {VARIABLES}; word {word} is neither \
                 {HIDDEN}"
            )]
        );
    }
}

/// What is wrong with one setting hides no other.
/// A proxy's value may well hold a password.
#[test]
fn a_proxy_is_told_without_what_it_was() {
    for (value, what) in [
        ("proxy:3128", "must be http://HOST:PORT, https://HOST:PORT or none"),
        ("http://proxy", "names no port"),
        ("http://proxy:0", "must be http://HOST:PORT, https://HOST:PORT or none"),
        ("socks5://proxy:1080", "is a SOCKS proxy; http and https proxies are known"),
        ("http://user:hunter2@proxy:3128", "must not hold a user and a password"),
    ] {
        let lines = lines(&check_with(&[("EDGEROTATE_PROXY", value)]));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with(&format!("environment: EDGEROTATE_PROXY: {what}")),
            "{lines:?}"
        );
        assert!(!lines[0].contains(value), "{lines:?}");
    }
    let config = config(check_with(&[
        ("EDGEROTATE_PROXY", "HTTPS://proxy.plant:3129/"),
        ("EDGEROTATE_PROXY_USER_FILE", "/data/proxy-user"),
    ]));
    let proxy = config.provider.proxy.unwrap();
    assert_eq!(proxy.url, "https://proxy.plant:3129");
    assert_eq!(proxy.user_file.as_deref(), Some(Path::new("/data/proxy-user")));
    let none = super::config(check_with(&[("EDGEROTATE_PROXY", "none")]));
    assert_eq!(none.provider.proxy, None);
}

#[test]
fn every_setting_that_is_wrong_is_told() {
    let wrong: Vec<_> = SETTINGS.iter().map(|setting| (setting.name, "!")).collect();
    let told = lines(&check(&wrong));
    for name in SETTINGS.iter().map(|setting| setting.name) {
        assert!(told.iter().any(|line| line.contains(&format!(" {name}: "))), "{name} in {told:?}");
    }
}
