//! Settings that are wrong: every mistake at once, with its place, and exit code 78, which systemd
//! does not retry.

use std::{fs, path::PathBuf, time::Duration};

use crate::support::{Device, Generation, SOON};

#[test]
fn every_mistake_is_told_with_its_line_and_the_exit_code_is_78() {
    let mut device = Device::new("settings", Generation::V05, Duration::from_secs(3600));
    device.unset("ROLE_ALIAS");
    device.set("HEARTBEAT_INTERVAL", "soon");
    device.set("RESTART_COMMAND", "systemctl restart litestream");
    device.start();
    assert_eq!(device.wait(), Some(78), "{}", device.log());
    let log = device.log();
    let line_of = |key: &str| {
        let settings = fs::read_to_string(device.scratch.join("device.env")).unwrap();
        1 + settings.lines().position(|line| line.contains(key)).unwrap()
    };
    let place = |key: &str| format!("device.env:{}: {key}: ", line_of(key));
    for expected in [
        place("EDGEROTATE_HEARTBEAT_INTERVAL"),
        place("EDGEROTATE_RESTART_COMMAND"),
        "EDGEROTATE_ROLE_ALIAS".to_owned(),
        "soon".to_owned(),
    ] {
        assert!(log.contains(&expected), "{expected:?} is missing in:\n{log}");
    }
    assert!(!device.database.exists(), "nothing is touched with settings that are wrong");
}

#[test]
fn an_unknown_key_is_a_warning_so_that_an_older_image_starts() {
    let mut device = Device::new("newer", Generation::V05, Duration::from_secs(3600));
    device.set("OF_A_NEWER_IMAGE", "yes");
    device.start();
    device.wait_for_problem("EDGEROTATE_OF_A_NEWER_IMAGE", SOON);
    device.wait_for_log("restart success litestream", SOON);
    device.stop();
}

#[test]
fn a_database_on_tmpfs_is_refused_unless_it_is_wanted() {
    let shared_memory = PathBuf::from("/dev/shm");
    if !shared_memory.is_dir() {
        return crate::support::skip("/dev/shm is not there");
    }
    let mut device = Device::new("volatile", Generation::V05, Duration::from_secs(3600));
    let database = shared_memory.join(format!("edgerotate-{}.db", std::process::id()));
    device.set("DATABASE", database.to_str().unwrap());
    device.unset("ALLOW_VOLATILE_DATABASE");
    device.start();
    assert_eq!(device.wait(), Some(78), "{}", device.log());
    assert!(device.log().contains("in memory"), "{}", device.log());
    assert!(!database.exists());
}

#[test]
fn the_article_s_names_do_as_well() {
    let mut device = Device::new("article", Generation::V03, Duration::from_secs(3600));
    for (key, name) in [
        ("ENDPOINT", "CREDENTIAL_ENDPOINT"),
        ("ROLE_ALIAS", "CREDENTIAL_ROLE_ALIAS"),
        ("CERTIFICATE", "DEVICE_CERT_PATH"),
        ("PRIVATE_KEY", "DEVICE_PRIVATE_KEY_PKCS11_PHRASE"),
        ("ENVIRONMENT_FILE", "SYSTEMD_LITESTREAM_CONFIG_PATH"),
        ("DATABASE", "SQLITE3_SAMPLE_DB_PATH"),
    ] {
        device.rename_setting(key, name);
    }
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    device.wait_for_log("sqlite3 write success", SOON);
    device.stop();
}
