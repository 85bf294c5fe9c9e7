//! Which layer wins, and what is said about keys and files.

use std::time::Duration;

use log::LevelFilter;

use super::*;

fn least_file() -> String {
    LEAST.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

#[test]
fn later_layers_win_and_an_empty_value_takes_back() {
    let files = Files::new()
        .with("image.env", least_file() + "EDGEROTATE_LOG=warn\nEDGEROTATE_THING_NAME=image\n")
        .with("device.env", "EDGEROTATE_THING_NAME=device\nEDGEROTATE_ROTATION_LEAD=2min\n");
    let config = config(files.check(
        &[("EDGEROTATE_LOG", "debug"), ("EDGEROTATE_ROTATION_LEAD", "")],
        UnknownKeys::Deny,
    ));
    assert_eq!(config.provider.thing_name.as_deref(), Some("device"));
    assert_eq!(config.log, LevelFilter::Debug);
    assert_eq!(config.provider.lead, Duration::from_secs(300));
}

#[test]
fn mending_needs_a_part_of_the_settings_in_the_environment_of_litestream_s_unit() {
    // Litestream's user may not read all files, and has a runtime directory of its own.
    let files =
        Files::new().with("image.env", "EDGEROTATE_SNAPSHOT_TIMEOUT=2min\nEDGEROTATE_X=1\n");
    let environment =
        [("RUNTIME_DIRECTORY", "/run/litestream"), ("EDGEROTATE_THING_NAME", "press")];
    let mend = MendSettings::from_layers(&Layers::read(&files.files, pairs(&environment)));
    assert_eq!(mend.runtime_directory, Path::new("/run/edgerotate"));
    assert_eq!(mend.program, Path::new("/usr/bin/litestream"));
    assert_eq!(mend.configuration, Path::new("/etc/litestream.yml"));
    assert_eq!(mend.snapshot_timeout, Duration::from_secs(120));
}

#[test]
fn the_articles_names_are_as_good() {
    let config = config(check(&[
        ("CREDENTIAL_ENDPOINT", "https://a1.credentials.iot.ap-northeast-1.amazonaws.com"),
        ("CREDENTIAL_ROLE_ALIAS", "replica"),
        ("DEVICE_CERT_PATH", "/home/pi/device.crt"),
        ("DEVICE_PRIVATE_KEY_PKCS11_PHRASE", "pkcs11:token=t;object=k?module-path=/m.so"),
        ("SYSTEMD_LITESTREAM_CONFIG_PATH", "/home/pi/.config/sysconfig/litestream"),
        ("SQLITE3_SAMPLE_DB_PATH", "/home/pi/sample.db"),
        // Somebody else's variables are not ours to judge.
        ("CREDENTIAL_ENDPONT", "x"),
        ("PATH", "/bin"),
    ]));
    assert_eq!(config.litestream.region, "ap-northeast-1");
    assert_eq!(
        config.litestream.environment_file,
        Path::new("/home/pi/.config/sysconfig/litestream")
    );
    assert_eq!(config.heartbeat.database, Path::new("/home/pi/sample.db"));
}

#[test]
fn both_names_are_an_error_that_names_both_places() {
    let files = Files::new()
        .with(
            "image.env",
            least_file() + "CREDENTIAL_ENDPOINT=a1.credentials.iot.eu-west-1.amazonaws.com\n",
        )
        .with("device.env", "\nSQLITE3_SAMPLE_DB_PATH=/b.db\n");
    let checked = files.check(&[("CREDENTIAL_ROLE_ALIAS", "b")], UnknownKeys::Warn);
    assert_eq!(
        files.lines(&checked),
        [
            "image.env:6: CREDENTIAL_ENDPOINT: is another name for EDGEROTATE_ENDPOINT, which is \
             set as well (image.env:1): remove one of them",
            "device.env:2: SQLITE3_SAMPLE_DB_PATH: is another name for EDGEROTATE_DATABASE, which \
             is set as well (image.env:5): remove one of them",
            "environment: CREDENTIAL_ROLE_ALIAS: is another name for EDGEROTATE_ROLE_ALIAS, which \
             is set as well (image.env:2): remove one of them",
        ]
    );
}

#[test]
fn everything_wrong_is_told_at_once_in_the_order_of_the_layers() {
    let files = Files::new()
        .with("image.env", "# defaults\nEDGEROTATE_LOG=loud\nEDGEROTATE_ROLE_ALIAS\n")
        .with("device.env", "EDGEROTATE_DATABASE=heartbeat.db\nEDGEROTATE_ENDPONT=a.test\n");
    let checked = files.check(
        &[("EDGEROTATE_CERTIFICATE", "/data/device.crt"), ("EDGEROTATE_PRIVATE_KEY", "")],
        UnknownKeys::Warn,
    );
    assert_eq!(
        files.lines(&checked),
        [
            "image.env:2: EDGEROTATE_LOG: must be error, warn, info or debug (got \"loud\")",
            "image.env:3: has no =: a setting is KEY=value, a comment begins with #",
            "device.env:1: EDGEROTATE_DATABASE: must be an absolute path (got \"heartbeat.db\")",
            "environment: EDGEROTATE_PRIVATE_KEY: is empty, but needed: the certificate's key, \
             such as pkcs11:token=edgerotate;object=device;type=private",
            "settings: EDGEROTATE_ENDPOINT: is not set, but needed (looked in image.env, \
             device.env, the environment): where to ask for credentials, such as \
             c1a2b3c4d5e6f7.credentials.iot.eu-west-1.amazonaws.com",
            "settings: EDGEROTATE_ROLE_ALIAS: is not set, but needed (looked in image.env, \
             device.env, the environment): which role to ask for, such as litestream-replica",
            "device.env:2: EDGEROTATE_ENDPONT: is not a setting; is EDGEROTATE_ENDPOINT meant?",
        ]
    );
}

#[test]
fn unknown_keys_are_warnings_on_a_device_and_errors_in_a_build() {
    let text = least_file()
        + "AWS_SECRET_ACCESS_KEY=x\nDEVICE_CERT_PAHT=/x\nEDGEROTATE_TELEMETRY=endpoint\nhunter2=x\n";
    let files = Files::new().with("device.env", text);
    let expected = [
        "device.env:6: AWS_SECRET_ACCESS_KEY: is not a setting",
        "device.env:7: DEVICE_CERT_PAHT: is not a setting; is DEVICE_CERT_PATH meant?",
        "device.env:8: EDGEROTATE_TELEMETRY: is not a setting",
        "device.env:9: is not a setting",
        "environment: EDGEROTATE_LOGG: is not a setting; is EDGEROTATE_LOG meant?",
    ];
    let environment = [("EDGEROTATE_LOGG", "debug"), ("AWS_PROFILE", "x")];
    let warned = files.check(&environment, UnknownKeys::Warn);
    assert!(warned.is_ok());
    assert_eq!(files.lines(&warned), expected);
    let denied = files.check(&environment, UnknownKeys::Deny);
    assert!(denied.is_err());
    assert_eq!(files.lines(&denied), expected);
}

#[test]
fn in_the_device_s_own_file_an_unknown_key_is_always_a_warning() {
    let files = Files::new()
        .with("image.env", least_file())
        .with("device.env", "EDGEROTATE_OF_A_NEWER_IMAGE=yes\n");
    let owned = [files.files[0].clone(), LayerFile::device(files.files[1].path.clone())];
    let layers = Layers::of_files(&owned);
    assert!(layers.has_device_file());
    let (_, warnings) = Config::from_layers(&layers, UnknownKeys::Deny).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!([warnings[0].0.clone()], layers.unknown());
    let missing = LayerFile::device("/nonexistent/device.env".into());
    assert!(!Layers::of_files(&[missing]).has_device_file());
}

#[test]
fn of_two_in_one_file_the_later_wins_with_a_warning() {
    let twice = least_file() + "EDGEROTATE_LOG=warn\nEDGEROTATE_LOG=error\n";
    let files = Files::new().with("a.env", twice).with("b.env", "EDGEROTATE_THING_NAME=b\n");
    let checked = files.check(&[], UnknownKeys::Deny);
    assert_eq!(
        files.lines(&checked),
        ["a.env:6: EDGEROTATE_LOG: is set again in line 7, which wins"]
    );
    assert_eq!(config(checked).log, LevelFilter::Error);
}

#[test]
fn a_file_that_is_not_there_is_an_empty_layer_unless_a_person_named_it() {
    let missing = PathBuf::from("/nonexistent/edgerotate.env");
    let optional = [LayerFile::image(missing.clone(), false)];
    let read = |files: &[LayerFile], environment| {
        Config::from_layers(&Layers::read(files, pairs(environment)), UnknownKeys::Warn)
    };
    assert!(read(&optional, &LEAST).is_ok());
    let lines_of_missing = lines(&read(&optional, &LEAST[1..]));
    assert!(
        lines_of_missing[0]
            .contains("(looked in /nonexistent/edgerotate.env (not there), the environment)"),
        "{lines_of_missing:?}"
    );
    // What is in a file that was not read can't be said to be missing.
    assert_eq!(
        lines(&read(&LayerFile::named([missing]), &[])),
        ["/nonexistent/edgerotate.env: cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let files = Files::new().with("large.env", vec![b'#'; 1024 * 1024 + 1]);
    let directory = LayerFile::image(files.directory.clone(), false);
    let read = |file: &LayerFile| {
        let layers = Layers::read(std::slice::from_ref(file), pairs(&LEAST));
        lines(&Config::from_layers(&layers, UnknownKeys::Warn))
    };
    assert_eq!(
        read(&directory),
        [format!("{}: cannot be read: Is a directory (os error 21)", files.directory.display())]
    );
    assert_eq!(
        read(&files.files[0]),
        [format!("{}: cannot be read: it is larger than 1 MiB", files.files[0].path.display())]
    );
}

#[cfg(unix)]
#[test]
fn an_environment_that_is_not_text_is_an_error_only_where_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;
    let bad = || OsString::from_vec(vec![0xff]);
    let mut environment = pairs(&LEAST);
    environment.push(("OTHER".into(), bad()));
    environment.push((bad(), "x".into()));
    environment.push(("EDGEROTATE_LOG".into(), bad()));
    let checked = Config::from_layers(&Layers::read(&[], environment), UnknownKeys::Warn);
    assert_eq!(lines(&checked), ["environment: EDGEROTATE_LOG: is not UTF-8"]);
}
