//! `check --gate` decides over an update, `check --config-only` over a build.

use std::{fs, time::Duration};

use edgerotate::settings::SETTINGS;
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};
use serde_json::json;

use crate::{
    harness::{Answer, Bench, By, chmod},
    support::{Generation, process::tied, root, skip, token::write_private},
};

mod of_settings;

/// A system that systemd has booted, and that has the daemon's unit, which is enabled.
pub const BOOTED: &str = "mount -t tmpfs tmpfs /run && mkdir -p \
 /run/systemd/system/multi-user.target.wants && \
                          touch /run/systemd/system/edgerotate.service && \
                          ln -s ../edgerotate.service /run/systemd/system/multi-user.target.wants/";

fn gate(bench: &Bench, settings: &[(&str, &str)]) -> Answer {
    bench.check_as(By::Owner, &["--gate", "--patience", "0"], settings)
}

#[track_caller]
fn assert_kept(answer: &Answer, pattern: &str) {
    assert_eq!(answer.code, 0, "{}", answer.text);
    answer.assert_has(pattern);
    answer.assert_has("this image is good for this device*");
    assert!(!answer.text.contains("WRONG"), "{}", answer.text);
}

#[track_caller]
fn assert_given_back(answer: &Answer, code: i32, pattern: &str) {
    assert_eq!(answer.code, code, "{}", answer.text);
    answer.assert_has(pattern);
    answer.assert_has("this image is not good for this device: *");
}

#[test]
fn an_image_stays_where_only_this_device_aws_or_the_network_is_at_fault() {
    let mut bench = Bench::new("kept", Generation::V05);
    assert_kept(&gate(&bench, &[]), "ok key EC, 256 bits; it signs");
    assert_kept(
        &gate(&bench, &[("CERTIFICATE", "DEVICE/nowhere.pem")]),
        "warning certificate file * [certificate-missing]",
    );
    assert_kept(
        &gate(&bench, &[("PKCS11_PIN_FILE", "DEVICE/nowhere")]),
        "warning PIN file * [pin-file-missing]",
    );
    bench.cloud.provider_fault(&json!({"status": 403, "message": "Access Denied"}));
    assert_kept(&gate(&bench, &[]), "warning role alias * [access-denied]");
    bench.cloud.heal();
    bench.cloud.stop();
    assert_kept(&gate(&bench, &[]), "warning endpoint * [connect-refused]");
    assert_kept(&gate(&bench, &[]), "ok key EC, 256 bits; it signs");
    {
        let _mend = chmod(bench.token.pin_file.clone(), 0o644);
        assert_kept(&gate(&bench, &[]), "warning PIN file * [secret-readable]");
    }
    write_private(&bench.token.pin_file, "0000000000\n");
    assert_kept(&gate(&bench, &[]), "warning PIN * [pin-incorrect]");
    assert_kept(&gate(&bench, &[]), "warning PIN * [pin-refused-earlier]");
}

#[test]
fn an_image_goes_where_it_broke_something() {
    let bench = Bench::new("given-back", Generation::V05);
    assert_given_back(
        &gate(&bench, &[("PKCS11_MODULE", "/usr/lib/no-such-module.so")]),
        69,
        "WRONG PKCS#11 module * [module-missing]",
    );
    // The module is looked at also where there is no PIN yet.
    assert_given_back(
        &gate(
            &bench,
            &[
                ("PKCS11_MODULE", "/usr/lib/no-such-module.so"),
                ("PKCS11_PIN_FILE", "DEVICE/nowhere"),
            ],
        ),
        69,
        "WRONG PKCS#11 module * [module-missing]",
    );
    assert_given_back(
        &gate(&bench, &[("LITESTREAM", "/usr/bin/no-litestream")]),
        69,
        "WRONG Litestream * [litestream-not-run]",
    );
    assert_given_back(
        &gate(&bench, &[("DATABASE", "DEVICE/nowhere/device.db")]),
        78,
        "WRONG database * [database-directory]",
    );
    assert_given_back(
        &gate(&bench, &[("PRIVATE_KEY", "pkcs11:token=device;object=nothing")]),
        69,
        "WRONG key * [key-object-missing]",
    );
    let mut without_engines = bench;
    without_engines.environment.insert("OPENSSL_ENGINES".to_owned(), "/nonexistent".to_owned());
    assert_given_back(&gate(&without_engines, &[]), 69, "WRONG PKCS#11 module * [engine-missing]");
    fs::create_dir(without_engines.path("empty")).unwrap();
    assert_given_back(
        &gate(&without_engines, &[("PKCS11_PIN_FILE", "DEVICE/nowhere")]),
        69,
        "WRONG PKCS#11 module * [engine-missing]",
    );
}

#[test]
fn an_image_whose_daemon_does_not_come_up_goes() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can mount");
    }
    let mut bench = Bench::new("daemon-up", Generation::V05);
    let gate = |bench: &Bench, script: &'static str| {
        bench.check_as(By::Mounts(script), &["--gate", "--patience", "0"], &[])
    };
    assert_given_back(&gate(&bench, BOOTED), 69, "WRONG daemon * [daemon-not-up]");
    // Who holds the lock and says nothing has just started, or starts again and again.
    let lock = fs::File::create(bench.runtime_directory.join("edgerotate.lock")).unwrap();
    let held = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    assert_given_back(
        &gate(&bench, BOOTED),
        69,
        "WRONG daemon edgerotate.service is there, and edgerotate does not come up: process * has \
         not written down what \
         it does [daemon-not-up]",
    );
    drop(held);
    // An administrator's wishes, and systems without systemd.
    const MASKED: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && \
                          ln -s /dev/null /run/systemd/system/edgerotate.service";
    const DISABLED: &str = "mount -t tmpfs tmpfs /run && mkdir -p \
     /run/systemd/system/multi-user.target.wants && \
                            touch /run/systemd/system/edgerotate.service";
    for script in [MASKED, DISABLED, "mount -t tmpfs tmpfs /run"] {
        assert_kept(&gate(&bench, script), "warning daemon * [daemon-not-running]");
    }
    // One look at a daemon that ends again and again may well find it.
    bench.start();
    bench.wait_for_record(|record| !record["daemon"].is_null());
    assert_given_back(
        &gate(&bench, BOOTED),
        69,
        "WRONG daemon edgerotate.service is there, and edgerotate does not come up: process * has \
         only just started; whether \
         it stays shows after 5 s [daemon-not-up]",
    );
    // What no time mends is told alone.
    let litestream = [("LITESTREAM", "/usr/bin/no-litestream")];
    let answer = bench.check_as(By::Mounts(BOOTED), &["--gate", "--patience", "0"], &litestream);
    assert_given_back(&answer, 69, "WRONG Litestream * [litestream-not-run]");
    answer.assert_has("ok daemon it runs as process *");
    let patient =
        |bench: &Bench| bench.check_as(By::Mounts(BOOTED), &["--gate", "--patience", "60"], &[]);
    assert_kept(&patient(&bench), "ok daemon it runs as process *");

    // What can't be read says nothing of the image. It stays as it is while the daemon stands
    // still.
    bench.daemon().signal(Signal::SIGSTOP);
    let record = bench.runtime_directory.join("status.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "{}").unwrap();
    assert_kept(
        &patient(&bench),
        "warning daemon it can't be told whether edgerotate runs: status.json * [running-unknown]",
    );
    fs::write(&record, whole).unwrap();
    bench.daemon().signal(Signal::SIGCONT);
    bench.stop();
}

/// A daemon that waits for its turn in the fleet will ask; one that says nothing of when it asks is
/// not left to it.
#[test]
fn the_provider_is_left_to_a_daemon_whose_turn_comes() {
    let mut bench = Bench::running("turn", Generation::V05);
    // The record stays as it is made while the daemon stands still.
    bench.daemon().signal(Signal::SIGSTOP);
    let path = bench.runtime_directory.join("status.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let now = record["clocks"]["boottime"]["boottime_ms"].as_u64().unwrap();
    record["credentials"] = json!(null);
    record["fetch"]["last_success"] = json!(null);
    record["fetch"]["state"] = json!("waiting");
    let fetches = bench.cloud.fetches();
    for (next, asked) in [
        (json!({"boottime_ms": now + 600_000}), 0),
        (json!({"boottime_ms": now - 1}), 1),
        (json!(null), 2),
    ] {
        record["fetch"]["next"] = next;
        fs::write(&path, record.to_string()).unwrap();
        let line =
            if asked == 0 { "not reached role alias needs: daemon" } else { "ok role alias *" };
        assert_kept(&gate(&bench, &[]), line);
        assert_eq!(bench.cloud.fetches(), fetches + asked);
    }
    bench.daemon().signal(Signal::SIGCONT);
    bench.stop();
}

/// A device that comes from the factory: no certificate, and nothing in its token.
#[test]
fn a_blank_token_gives_no_image_back_before_the_device_has_its_certificate() {
    let bench = Bench::new("blank-token", Generation::V05);
    for (key, finding) in [
        ("pkcs11:token=of-nobody;object=device;type=private", "warning token * [token-missing]"),
        ("pkcs11:token=device;object=nothing;type=private", "warning key * [key-object-missing]"),
    ] {
        let certificate = ("CERTIFICATE", "DEVICE/nowhere.pem");
        assert_kept(&gate(&bench, &[("PRIVATE_KEY", key), certificate]), finding);
        let wrong = finding.replace("warning", "WRONG");
        assert_given_back(&gate(&bench, &[("PRIVATE_KEY", key)]), 69, &wrong);
    }
    // A device whose token took the PIN once is no new one, whatever has become of its certificate.
    assert_kept(&gate(&bench, &[]), "ok key * it signs");
    let lost = [
        ("PRIVATE_KEY", "pkcs11:token=of-nobody;object=device;type=private"),
        ("CERTIFICATE", "DEVICE/nowhere.pem"),
    ];
    assert_given_back(&gate(&bench, &lost), 69, "WRONG token * [token-missing]");
}

/// The gate waits for the daemon and looks again; the PIN is tried at the first look alone.
#[test]
fn a_gate_that_looks_again_tries_a_refused_pin_once() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can mount");
    }
    let bench = Bench::new("pin-once", Generation::V05);
    write_private(&bench.token.pin_file, "0000000000\n");
    let arguments = ["--gate", "--pin-changed", "--patience", "6"];
    let answer = bench.check_as(By::Mounts(BOOTED), &arguments, &[]);
    assert_given_back(&answer, 69, "warning PIN * [pin-refused-earlier]");
}

/// A module that is late at boot: it is there after a while.
#[test]
fn what_may_be_late_is_waited_for() {
    let bench = Bench::new("late", Generation::V05);
    let state = bench.path("late-state");
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(2));
            fs::create_dir(&state).unwrap();
        });
        bench.check_as(
            By::Owner,
            &["--gate", "--patience", "60"],
            &[("STATE_DIRECTORY", "DEVICE/late-state")],
        )
    });
    assert_kept(&answer, "ok key EC, 256 bits; it signs");

    // What does not come by itself is not waited for: five minutes would be too many for `timeout`.
    let settings = [("PKCS11_MODULE", "/usr/lib/no-such-module.so")];
    let answer = bench.check_as(By::Within("200"), &["--gate"], &settings);
    assert_eq!(answer.code, 69, "{answer:?}");
}

/// What a program may rely on; README.md has the same.
#[test]
fn the_keys_for_programs_stay() {
    let bench = Bench::new("json", Generation::V05);
    let answer = bench.check_as(By::Owner, &["--json"], &[("CERTIFICATE", "DEVICE/nowhere.pem")]);
    let json = answer.json();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&json), ["exit_code", "result", "steps", "summary"]);
    assert_eq!((&json["result"], &json["exit_code"]), (&json!("wrong"), &json!(69)));
    let steps = json["steps"].as_array().unwrap();
    for step in steps {
        assert_eq!(keys(step), ["findings", "needs", "result", "seen", "step"]);
        let result = step["result"].as_str().unwrap();
        assert!(["ok", "warning", "wrong", "not-reached"].contains(&result), "{step:#}");
        assert_eq!(step["needs"].is_string(), result == "not-reached", "{step:#}");
        for finding in step["findings"].as_array().unwrap() {
            assert_eq!(keys(finding), ["code", "exit_code", "found", "level", "remedy"]);
        }
    }
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "settings",
            "daemon",
            "runtime-directory",
            "state-directory",
            "certificate-file",
            "pin-file",
            "ca-file",
            "module",
            "token",
            "pin",
            "key",
            "certificate",
            "key-and-certificate",
            "thing-name",
            "endpoint",
            "tls",
            "role-alias",
            "clock",
            "environment-file",
            "database",
            "room",
            "litestream",
            "litestream-config",
            "litestream-process",
            "guard",
            "replica",
        ]
    );
}
