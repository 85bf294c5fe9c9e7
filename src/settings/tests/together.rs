//! What must hold between settings, with the exact lines that a person gets to see.

use super::*;
use crate::core::secret::Secret;

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
        "/run/r/turn.json",
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
        ["environment: EDGEROTATE_ENVIRONMENT_FILE: is the same file as \
             EDGEROTATE_PKCS11_PIN_FILE \
          (got \"/run/pin\")"]
    );
}

/// What the image says was good before the device said something.
#[test]
fn of_two_that_contradict_each_other_the_device_s_own_is_to_blame() {
    let least: String = [&LEAST[..], &TOKEN]
        .concat()
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    for (image, device, told) in [
        ("FETCH_DEADLINE=20s", "FETCH_TIMEOUT=25s", "must be less than EDGEROTATE_FETCH_DEADLINE"),
        ("FETCH_TIMEOUT=25s", "FETCH_DEADLINE=20s", "must be more than EDGEROTATE_FETCH_TIMEOUT"),
        ("CA_FILE=/data/b.db", "DATABASE=/data/b.db", "is the same file as EDGEROTATE_CA_FILE"),
        (
            "PRIVATE_KEY=pkcs11:token=t;object=k?pin-source=/p",
            "PKCS11_PIN_FILE=/q",
            "is one more source of the PIN than EDGEROTATE_PRIVATE_KEY has",
        ),
        (
            "PRIVATE_KEY=pkcs11:token=t;object=k?module-path=/m.so",
            "PKCS11_MODULE=/n.so",
            "is another module than attribute module-path of EDGEROTATE_PRIVATE_KEY has",
        ),
        (
            "LOG=info\nSYSTEMD_LITESTREAM_CONFIG_PATH=/run/a",
            "ENVIRONMENT_FILE=/run/b",
            "is another name for SYSTEMD_LITESTREAM_CONFIG_PATH",
        ),
    ] {
        let mut files = Files::new()
            .with("image.env", format!("{least}EDGEROTATE_{image}\n"))
            .with("device.env", format!("EDGEROTATE_{device}\n"));
        files.files[1].owner = Owner::Device;
        let lines = files.lines(&files.check(&[], UnknownKeys::Warn));
        let of_device = lines.iter().find(|line| line.starts_with("device.env:1: "));
        assert!(of_device.is_some_and(|line| line.contains(told)), "{told} in {lines:?}");
    }
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
        ["settings: EDGEROTATE_REGION: is not set, but needed (looked in the environment): the \
             bucket's region, \
          as the endpoint's name has none, such as eu-west-1"]
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
        "settings: EDGEROTATE_PKCS11_MODULE: is not set, but needed (looked in the environment): \
         the library that \
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
            "is not a usable pkcs11: URI: attribute 1 of the query is not a known one (known: \
             pin-source, \
             pin-value, module-name, module-path; a & inside a PIN is written %26)",
            "…"
        )
    );
    assert_eq!(
        lines(&check_token_with(&[("EDGEROTATE_PRIVATE_KEY", "pkcs11:object=k;type=cert")])),
        ["environment: EDGEROTATE_PRIVATE_KEY: must name a private key: attribute type is \
             another \
          (got \"pkcs11:object=k;type=cert\")"]
    );
}

/// RFC 7512 has them, and libp11 refuses a URI with one of them.
#[test]
fn attributes_that_the_engine_can_not_take_are_named() {
    for (attribute, name) in [
        ("slot-id=1", "slot-id"),
        ("slot-manufacturer=S", "slot-manufacturer"),
        ("slot-description=S", "slot-description"),
        ("library-manufacturer=S", "library-manufacturer"),
        ("library-version=2.6", "library-version"),
        ("library-description=S", "library-description"),
    ] {
        let uri = format!("pkcs11:token=t;object=k;{attribute}");
        let key = ("EDGEROTATE_PRIVATE_KEY", uri.as_str());
        let said = lines(&check_token_with(&[key]));
        let what = format!("attribute {name} is one that OpenSSL's engine can't take");
        assert!(said.len() == 1 && said[0].contains(&what), "{said:?}");
        let provider = ("EDGEROTATE_PKCS11_ROUTE", "provider");
        assert_eq!(lines(&check_token_with(&[key, provider])), [""; 0], "the provider can");
    }
}

#[test]
fn a_tokens_settings_for_a_key_in_a_file_are_pointed_out() {
    let checked = check_with(&[("EDGEROTATE_PKCS11_MODULE", "/m.so")]);
    assert!(checked.is_ok());
    assert_eq!(
        lines(&checked),
        ["environment: EDGEROTATE_PKCS11_MODULE: has no effect: EDGEROTATE_PRIVATE_KEY is no \
             pkcs11: URI"]
    );
}
