//! `check --gate` decides over an update, `check --config-only` over a build.

use std::{fs, time::Duration};

use serde_json::json;

use crate::{
    harness::{Answer, Bench, By, chmod},
    support::{Generation, process::tied, token::write_private},
};

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
fn whose_settings_are_wrong_decides() {
    let bench = Bench::new("whose", Generation::V05);
    let with = |file: &str, text: &str| {
        fs::write(bench.path(file), text).unwrap();
        let option = if file == "image.env" { "--config" } else { "--device-config" };
        let path = format!("DEVICE/{file}");
        bench.check_as(By::Owner, &["--gate", "--patience", "0", option, &path], &[])
    };
    assert_given_back(
        &with("image.env", "EDGEROTATE_LOG=loud\n"),
        78,
        "WRONG settings DEVICE/image.env:1: EDGEROTATE_LOG: * [setting-wrong]",
    );
    assert_kept(
        &with("own.env", "EDGEROTATE_LOG=loud\n"),
        "warning settings DEVICE/own.env:1: EDGEROTATE_LOG: * [setting-wrong]",
    );
    assert_kept(
        &with("own.env", "EDGEROTATE_OF_A_NEWER_IMAGE=1\n"),
        "warning settings DEVICE/own.env:1: EDGEROTATE_OF_A_NEWER_IMAGE: is not a setting [setting-unknown-here]",
    );
    // A device that was provisioned needs what an image no longer brings.
    assert_given_back(
        &with("own.env", "EDGEROTATE_ROLE_ALIAS=\n"),
        78,
        "WRONG settings * [setting-missing]",
    );
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

#[test]
fn a_build_looks_at_the_settings_alone() {
    let bench = Bench::new("build", Generation::V05);
    let image = bench.path("image.env");
    let build = |text: &str, more: &[&str]| {
        fs::write(&image, text).unwrap();
        let mut command = tied(crate::support::device::program());
        command.args(["check", "--config-only", "--config"]).arg(&image);
        command.args(more.iter().map(|argument| bench.there(argument)));
        // What the build host's environment has is not the device's.
        command.env("EDGEROTATE_LOG", "loud");
        bench.answer(&mut command)
    };
    let text = "EDGEROTATE_ENDPOINT=c1.credentials.iot.eu-west-1.amazonaws.com\nEDGEROTATE_ROLE_ALIAS=replica\n\
                EDGEROTATE_CERTIFICATE=/data/device.pem\nEDGEROTATE_DATABASE=/data/device.db\n\
                EDGEROTATE_PRIVATE_KEY=pkcs11:token=t;object=k\nEDGEROTATE_PKCS11_MODULE=/usr/lib/of-another-machine.so\n";
    let answer = build(text, &[]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.text, "ok           settings  DEVICE/image.env\nall is well\n");

    let answer = build("EDGEROTATE_ENDPOINT=c1.credentials.iot.eu-west-1.amazonaws.com\n", &[]);
    assert_eq!(answer.code, 0, "what a device brings is no mistake of the image's: {answer:?}");
    answer.assert_has(
        "warning settings settings: EDGEROTATE_CERTIFICATE: is not set, * [not-provisioned]",
    );

    fs::write(bench.path("own.env"), "EDGEROTATE_THING_NAME=press-12\nEDGEROTATE_NEWER=1\n")
        .unwrap();
    let answer = build(text, &["--device-config", "DEVICE/own.env"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    answer.assert_has("warning settings DEVICE/own.env:2: EDGEROTATE_NEWER: is not a setting [setting-unknown-here]");
    let answer = build("", &["--device-config", "DEVICE/own.env"]);
    assert_eq!(answer.code, 78, "this device is to have all it needs: {answer:?}");

    let answer = build(&format!("{text}EDGEROTATE_THING_NAM=x\n"), &[]);
    assert_eq!(answer.code, 78, "{answer:?}");
    answer.assert_has(
        "WRONG settings DEVICE/image.env:7: EDGEROTATE_THING_NAM: is not a setting; is EDGEROTATE_THING_NAME meant? \
         [setting-unknown]",
    );
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
