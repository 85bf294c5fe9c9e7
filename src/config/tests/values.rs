//! Each setting's good and bad values, with the exact lines that a person gets to see.

use super::*;

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
            connect_timeout: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(30),
            fetch_deadline: Duration::from_secs(60),
            lead: Duration::from_secs(300),
            boot_spread: Duration::from_secs(90),
        },
        litestream: Litestream {
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
        outlets: Outlets {
            delivery: Delivery::EnvironmentFile,
            listen: None,
            client_directory: None,
        },
        heartbeat: Heartbeat {
            database: "/data/heartbeat.db".into(),
            interval: Duration::from_secs(5),
            keep_rows: 100_000,
            allow_volatile_database: false,
        },
        verify: Verify { max_lag: Duration::from_secs(300), stall: Duration::from_secs(120) },
        guard: Guard {
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
                    value: value.map(str::to_owned),
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
    let limits = Verify { max_lag: Duration::from_secs(3600), stall: Duration::from_secs(30) };
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
    const VARIABLES: &str =
        "must be names of environment variables, or NAME=VALUE, separated by spaces";
    const MQTT: &str = "is the endpoint for MQTT; the credential provider's is told by \
                        `aws iot describe-endpoint --endpoint-type iot:CredentialProvider`";
    const SIZE: &str = "must be a size such as 64M: 1M to 16G";
    const LISTEN: &str = "must be 127.0.0.1 and a port, such as 127.0.0.1:9170";
    let long = "a".repeat(129);
    let cases = [
        ("ENDPOINT", "http://a.test", "must be https: credentials go over it"),
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
        ("MODULE_ENVIRONMENT", "A =b", VARIABLES),
        ("MODULE_ENVIRONMENT", "A-1=b", VARIABLES),
        ("MODULE_ENVIRONMENT", "A 1B", VARIABLES),
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
            "environment: EDGEROTATE_PRIVATE_KEY: must be a pkcs11: URI or the absolute path of a PEM file {HIDDEN}"
        )]
    );
}

#[test]
fn two_settings_do_not_name_one_file() {
    assert_eq!(
        lines(&check_with(&[("EDGEROTATE_DATABASE", "/run/edgerotate/litestream.env")])),
        ["environment: EDGEROTATE_DATABASE: is the same file as EDGEROTATE_ENVIRONMENT_FILE \
          (got \"/run/edgerotate/litestream.env\")"]
    );
    let one_pem = [("EDGEROTATE_PRIVATE_KEY", "/data/device.crt")];
    assert_eq!(lines(&check_with(&one_pem)), [""; 0]);

    // Whatever is written against whatever is read or written.
    let read_or_written = [
        ("CERTIFICATE", "/x/certificate"),
        ("CA_FILE", "/x/ca"),
        ("PKCS11_MODULE", "/x/module"),
        ("PKCS11_PIN_FILE", "/x/pin"),
        ("ENVIRONMENT_FILE", "/x/environment"),
        ("DATABASE", "/x/database"),
        ("LITESTREAM_PID_FILE", "/x/pid"),
        ("RUNTIME_DIRECTORY", "/run/r"),
        ("CLIENT_DIRECTORY", "/run/c"),
        ("STATE_DIRECTORY", "/data/s"),
    ];
    let own = [
        "/run/r/state.json",
        "/run/r/edgerotate.lock",
        "/run/r/token.lock",
        "/run/r/pin-refused",
        "/run/r/pin-accepted",
        "/run/r/endpoint.json",
        "/run/r/endpoint.env",
        "/run/c/endpoint.env",
        "/run/c/credentials.json",
        "/data/s/pin-refused",
        "/data/s/pin-accepted",
        "/x/database-wal",
        "/x/database-shm",
        "/x/database-journal",
    ];
    let base: Vec<(String, &str)> =
        read_or_written.iter().map(|(k, v)| (format!("EDGEROTATE_{k}"), *v)).collect();
    let with = |key: &str, value: &str| {
        let key = format!("EDGEROTATE_{key}");
        let pairs: Vec<(&str, &str)> = base.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        lines(&check_token_with(&[&pairs[..], &[(&key, value)]].concat()))
    };
    assert_eq!(with("LOG", "info"), [""; 0]);
    for written in ["ENVIRONMENT_FILE", "DATABASE", "LITESTREAM_PID_FILE"] {
        for (other, path) in &read_or_written[..7] {
            let lines = with(written, path);
            assert_eq!(lines.is_empty(), written == *other, "{written} as {other}: {lines:?}");
            assert!(lines.iter().all(|l| l.contains(" is the same file as ")), "{lines:?}");
        }
    }
    for (key, _) in &read_or_written[..7] {
        for path in own {
            if *key == "DATABASE" && path.starts_with("/x/database") {
                continue;
            }
            let lines = with(key, path);
            assert!(
                lines.len() == 1 && lines[0].contains("is the same file as edgerotate's own"),
                "{key} as {path}: {lines:?}"
            );
        }
    }
    for (key, path) in [("CERTIFICATE", "/x/ca"), ("CA_FILE", "/x/pin")] {
        assert_eq!(with(key, path), [""; 0], "both are only read");
    }
    // Named by the URI rather than by a setting.
    let uri = [
        ("EDGEROTATE_PRIVATE_KEY", "pkcs11:token=t;object=k?pin-source=/run/pin"),
        ("EDGEROTATE_ENVIRONMENT_FILE", "/run/pin"),
    ];
    assert_eq!(
        lines(&check_token_with(&uri)),
        [
            "environment: EDGEROTATE_ENVIRONMENT_FILE: is the same file as EDGEROTATE_PKCS11_PIN_FILE \
          (got \"/run/pin\")"
        ]
    );
}

#[test]
fn a_hang_that_outlasts_the_credentials_is_warned_of() {
    let deadline = "environment: EDGEROTATE_FETCH_DEADLINE: is 5min, not less than \
                    EDGEROTATE_ROTATION_LEAD (5min): one fetch that hangs outlasts the credentials";
    let lead = "environment: EDGEROTATE_ROTATION_LEAD: is 30s, not more than \
                EDGEROTATE_FETCH_DEADLINE (1min): one fetch that hangs outlasts the credentials";
    for (key, value, warning) in [
        ("EDGEROTATE_FETCH_DEADLINE", "5min", Some(deadline)),
        ("EDGEROTATE_FETCH_DEADLINE", "299s", None),
        ("EDGEROTATE_ROTATION_LEAD", "30s", Some(lead)),
        ("EDGEROTATE_ROTATION_LEAD", "61s", None),
    ] {
        let checked = check_with(&[(key, value)]);
        assert!(checked.is_ok());
        assert_eq!(lines(&checked), warning.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn systemds_directories_are_the_defaults() {
    let config = config(check_with(&[
        ("RUNTIME_DIRECTORY", "/run/a:/run/b"),
        ("STATE_DIRECTORY", "/var/lib/c"),
    ]));
    assert_eq!(config.runtime_directory, Path::new("/run/a"));
    assert_eq!(config.state_directory, Path::new("/var/lib/c"));
    assert_eq!(config.litestream.environment_file, Path::new("/run/a/litestream.env"));
}

#[test]
fn a_region_is_needed_where_the_name_has_none() {
    let endpoint = ("EDGEROTATE_ENDPOINT", "provider.test");
    assert_eq!(
        lines(&check_with(&[endpoint])),
        [
            "settings: EDGEROTATE_REGION: is not set, but needed (looked in the environment): the bucket's region, \
          as the endpoint's name has none, such as eu-west-1"
        ]
    );
    assert_eq!(
        lines(&check_with(&[endpoint, ("EDGEROTATE_REGION", "Ireland")])),
        ["environment: EDGEROTATE_REGION: is not a region such as eu-west-1 (got \"Ireland\")"]
    );
    let config = config(check_with(&[endpoint, ("EDGEROTATE_REGION", "eu-west-1")]));
    assert_eq!(config.litestream.region, "eu-west-1");
}

#[test]
fn module_and_pin_come_from_one_place() {
    let uri = |query: &str| format!("pkcs11:token=t;object=k?{query}");
    let with_uri = |query: &str, more: &[(&str, &str)]| {
        check(&[&LEAST[..], &[("EDGEROTATE_PRIVATE_KEY", &uri(query))], more].concat())
    };
    let module = ("EDGEROTATE_PKCS11_MODULE", "/m.so");
    let pin_file = ("EDGEROTATE_PKCS11_PIN_FILE", "/run/pin");

    let found = token(with_uri("module-path=/m.so&pin-value=12%2634", &[]));
    assert_eq!(found.uri, "pkcs11:token=t;object=k");
    assert_eq!(found.module, Path::new("/m.so"));
    assert_eq!(found.pin, Pin::Value(Secret::new("12&34".to_owned())));
    assert_eq!(found.route, Route::Engine);
    assert_eq!(token(with_uri("module-path=/m.so", &[module])).pin, Pin::None);
    assert_eq!(token(with_uri("module-name=m", &[module])).module, Path::new("/m.so"));
    assert_eq!(token(with_uri("", &[module, pin_file])).pin, Pin::File("/run/pin".into()));
    for source in ["/run/pin", "file:/run/pin", "file:///run/pin", "file://localhost/run/pin"] {
        let found = token(with_uri(&format!("pin-source={source}"), &[module]));
        assert_eq!(found.pin, Pin::File("/run/pin".into()), "{source}");
    }

    let line = |query: &str, more: &[(&str, &str)]| lines(&with_uri(query, more)).join("\n");
    let key_line = |what: &str, shown: &str| {
        format!(
            "environment: EDGEROTATE_PRIVATE_KEY: {what} (got \"pkcs11:token=t;object=k?{shown}\")"
        )
    };
    assert_eq!(
        line("module-path=/other.so", &[module]),
        key_line(
            "attribute module-path and EDGEROTATE_PKCS11_MODULE name different modules",
            "module-path=/other.so"
        )
    );
    assert_eq!(
        line("module-name=m", &[]),
        key_line(
            "attribute module-name does not say where the module is: set EDGEROTATE_PKCS11_MODULE",
            "module-name=m"
        )
    );
    assert_eq!(
        line("module-path=m.so", &[]),
        key_line("attribute module-path must be an absolute path", "module-path=m.so")
    );
    assert_eq!(
        line("", &[]),
        "settings: EDGEROTATE_PKCS11_MODULE: is not set, but needed (looked in the environment): the library that \
         talks to the HSM, such as /usr/lib/softhsm/libsofthsm2.so"
    );
    assert_eq!(
        line("pin-value=1234&pin-source=/run/pin", &[module, pin_file]),
        key_line(
            "gets its PIN from attribute pin-value and attribute pin-source and \
             EDGEROTATE_PKCS11_PIN_FILE: keep one of them",
            "pin-value=…&pin-source=/run/pin"
        )
    );
    assert_eq!(
        line("pin-source=|cat%20/run/pin", &[module]),
        key_line(
            "attribute pin-source must be a file: no command is run for a PIN",
            "pin-source=…"
        )
    );
    assert_eq!(
        line("pin-source=file:pin", &[module]),
        key_line("attribute pin-source must be an absolute path", "pin-source=…")
    );
    assert_eq!(
        line("pin-valeu=1234", &[module]),
        key_line(
            "is not a usable pkcs11: URI: attribute 1 of the query is not a known one (known: pin-source, \
             pin-value, module-name, module-path; a & inside a PIN is written %26)",
            "…"
        )
    );
    assert_eq!(
        lines(&check_token_with(&[("EDGEROTATE_PRIVATE_KEY", "pkcs11:object=k;type=cert")])),
        [
            "environment: EDGEROTATE_PRIVATE_KEY: must name a private key: attribute type is another \
          (got \"pkcs11:object=k;type=cert\")"
        ]
    );
}

#[test]
fn a_tokens_settings_for_a_key_in_a_file_are_pointed_out() {
    let checked = check_with(&[("EDGEROTATE_PKCS11_MODULE", "/m.so")]);
    assert!(checked.is_ok());
    assert_eq!(
        lines(&checked),
        [
            "environment: EDGEROTATE_PKCS11_MODULE: has no effect: EDGEROTATE_PRIVATE_KEY is no pkcs11: URI"
        ]
    );
}
