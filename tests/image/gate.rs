//! Updates: what the gate lets pass, what it holds back, and what the images of a device have in
//! common.

use std::{fs, os::unix::fs::symlink, path::PathBuf, time::Duration};

use serde_json::json;

use crate::{
    fleet::{Release, image},
    machine::Machine,
    parts::THING,
    support::{Generation, SOON, root},
};

/// What an older image in the field is built from: a commit of main. Its whole name and no tag, as
/// every clone of main has it, with tags or without; a clone that was cut off later (`--depth`) has
/// not, and the test is skipped.
const OLDER: &str = "e4ac26a00152ea4f0533a619817663359b8bbb56";

/// How often a boot loader tries an image.
const TRIES: usize = 2;

/// What boot loaders and RAUC do: an image counts as good once its boot is complete.
const MARK_GOOD: &str = "[Unit]\nRequires=boot-complete.target\nAfter=boot-complete.target\n\
                         [Service]\nType=oneshot\nExecStart=/usr/bin/touch /data/good\n";

/// Reboots on failure, and does not take a test's time for what may be late.
const GATE: &str =
    "[Service]\nExecStart=\nExecStart=/usr/bin/edgerotate check --gate --patience 10\n";

fn with_slots(machine: &Machine) {
    let units = &machine.units;
    fs::write(units.join("mark-good.service"), MARK_GOOD).unwrap();
    let wants = units.join("multi-user.target.wants");
    fs::create_dir(&wants).unwrap();
    symlink("../mark-good.service", wants.join("mark-good.service")).unwrap();
    add_to_unit(machine, "edgerotate-health.service", "test.conf", GATE);
    let reboot = fs::read_to_string(root().join("systemd/reboot-on-failure.conf")).unwrap();
    add_to_unit(machine, "edgerotate-health.service", "reboot.conf", &reboot);
    // As docs/device.md has it for such devices: what a boot said outlives it.
    machine.keep_journal_on_disk();
}

/// A drop-in of the image; from the next boot on.
fn add_to_unit(machine: &Machine, unit: &str, name: &str, text: &str) -> PathBuf {
    let directory = machine.units.join(format!("{unit}.d"));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    file
}

/// A boot loader's try of an image: whether it was marked as good, before it left by itself.
fn is_good(machine: &mut Machine) -> bool {
    let mark = machine.data.join("good");
    fs::remove_file(&mark).ok();
    machine.power_on();
    let start = std::time::Instant::now();
    loop {
        if mark.exists() {
            return true;
        }
        if machine.is_off() {
            return false;
        }
        assert!(start.elapsed() < 4 * SOON, "neither good nor left:\n{}", machine.last_words());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The boot loader counts its tries, and goes back to the image before when none is left. Each of
/// them fails for these findings alone: an image that is left for other ones proves nothing.
#[track_caller]
fn assert_left_for(machine: &mut Machine, broken: &str, findings: &[&str]) {
    for left in (0..TRIES).rev() {
        assert!(!is_good(machine), "{broken}, with {left} tries left");
        let said = machine.said_in_last_boot("edgerotate-health.service");
        let wrong: Vec<_> = said
            .lines()
            .filter(|line| line.starts_with("WRONG"))
            .map(|line| line.rsplit(['[', ']']).nth(1).unwrap_or(line))
            .collect();
        assert_eq!(wrong, findings, "{broken}:\n{said}");
        assert!(said.contains("this image is not good for this device"), "{broken}:\n{said}");
    }
}

#[test]
fn an_image_that_breaks_the_device_is_left() {
    let Some(mut machine) = crate::machine("gate-bad", Generation::V05) else { return };
    with_slots(&machine);
    for (broken, findings) in [
        ("EDGEROTATE_PKCS11_MODULE=/usr/lib/softhsm/missing.so", &["module-missing"][..]),
        ("EDGEROTATE_PRIVATE_KEY=pkcs11:token=device;object=another", &["key-object-missing"]),
        ("EDGEROTATE_ENDPOINT=http://not-even-https", &["setting-wrong"]),
        ("EDGEROTATE_LITESTREAM=/usr/bin/not-litestream", &["litestream-not-run"]),
        (
            "EDGEROTATE_DATABASE=/proc/heartbeat.db",
            &["database-directory", "litestream-config-other-database"],
        ),
    ] {
        machine.write_fleet_files();
        machine.set_in_image(broken);
        assert_left_for(&mut machine, broken, findings);
    }
    machine.write_fleet_files();
    let text = "[Service]\nEnvironment=OPENSSL_ENGINES=/usr/lib/elsewhere\n";
    let elsewhere = ["edgerotate.service", "edgerotate-health.service"]
        .map(|unit| add_to_unit(&machine, unit, "elsewhere.conf", text));
    assert_left_for(&mut machine, "an engine elsewhere", &["engine-missing"]);
    for file in elsewhere {
        fs::remove_file(file).unwrap();
    }

    // An update of its unit with which edgerotate does not start.
    let text = "[Service]\nReadWritePaths=/data/nowhere\n";
    let sandbox = add_to_unit(&machine, "edgerotate.service", "sandbox.conf", text);
    assert_left_for(&mut machine, "a sandbox that can't be made", &["daemon-not-up"]);
    fs::remove_file(sandbox).unwrap();

    // Back to the image before: as good as it was, and it tells why the other one was left.
    assert!(is_good(&mut machine), "{}", machine.last_words());
    let why = machine.must(
        "journalctl --directory=/var/log/journal --boot=-1 --unit=edgerotate-health --output=cat",
    );
    assert!(why.contains("[daemon-not-up]"), "{why}");
    machine.wait_for_uploads(2);
}

/// The image stays though the gate saw one of these findings, and warned of it.
#[track_caller]
fn assert_kept_with(machine: &mut Machine, device: &str, findings: &[&str]) {
    assert!(is_good(machine), "{device}:\n{}", machine.last_words());
    let said = machine
        .must("journalctl --sync && journalctl --boot --unit=edgerotate-health --output=cat");
    let warned = said.lines().filter(|line| line.starts_with("warning")).any(|line| {
        line.rsplit(['[', ']']).nth(1).is_some_and(|finding| findings.contains(&finding))
    });
    assert!(warned, "{device}: not warned of {findings:?}:\n{said}");
}

#[test]
fn what_no_image_is_to_blame_for_passes() {
    let blank = Machine::blank("gate-good", Generation::V05, crate::LIFETIME);
    let Some(mut machine) = crate::or_skip(blank) else { return };
    with_slots(&machine);
    assert_kept_with(&mut machine, "not provisioned", &["certificate-missing"]);
    machine.cut_power();

    machine.provision();
    machine.cloud.stop();
    assert_kept_with(&mut machine, "offline", &["connect-refused"]);
    machine.cut_power();
    machine.cloud.restart();

    machine.cloud.provider_fault(&json!({"status": 403, "message": "Access Denied"}));
    assert_kept_with(&mut machine, "403", &["access-denied"]);
    machine.cut_power();
    machine.cloud.heal();

    machine.provision_with(
        json!({"not_before": "2020-01-01T00:00:00Z", "not_after": "2021-01-01T00:00:00Z"}),
    );
    assert_kept_with(&mut machine, "an expired certificate", &["certificate-expired"]);
    machine.cut_power();

    machine.provision();
    machine.put("pin", "0000000000", 0o640);
    // Of daemon and gate one asks the token, and the other does not then.
    assert_kept_with(&mut machine, "a wrong PIN", &["pin-incorrect", "pin-refused-earlier"]);
    machine.wait_for_log("pin-incorrect", 1);
}

#[test]
fn an_update_and_the_way_back_lose_nothing() {
    let Some(mut machine) = crate::machine("ota", Generation::V05) else { return };
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    let today = machine.image.clone();
    let older = Release::of(OLDER).and_then(|release| image(Generation::V05, &release));
    let Some(older) = older.map_err(|reason| crate::support::skip(&reason)).ok() else { return };
    let mut rows = Vec::new();
    for (image, setting) in [
        (&older, ""),
        (&today, "EDGEROTATE_METRICS_FILE=/run/edgerotate/metrics.prom\n"),
        (&older, ""),
        (&today, ""),
    ] {
        if !setting.is_empty() {
            // What only the newer one knows, the older one is to start with.
            let text = format!("EDGEROTATE_THING_NAME={THING}\n{setting}");
            machine.put("device.env", &text, 0o640);
        }
        machine.image.clone_from(image);
        machine.boot();
        machine.wait_for_uploads(2);
        machine.power_off();
        let now = machine.rows();
        assert!(now.starts_with(&rows) && now.len() > rows.len(), "the heartbeats go on");
        rows = now;
    }
    machine.restore_whole(&rows);
    assert_eq!(machine.cloud.count_error("ExpiredToken"), 0);
    let warned = machine
        .journal()
        .lines()
        .filter(|line| line.contains("EDGEROTATE_METRICS_FILE: is not a setting"))
        .count();
    assert_eq!(warned, 1, "the older image warns, the newer one knows it");
}
