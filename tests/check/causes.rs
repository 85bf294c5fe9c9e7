//! What a fetch can find, told at the step that it belongs to; the steps before it are well, those
//! after it not reached.

use std::{fs, thread, time::Duration};

use edgerotate::problems::failure::Cause;
use nix::fcntl::{Flock, FlockArg};
use serde_json::json;

use crate::{
    harness::{Answer, Bench, By},
    support::{
        Generation, library,
        process::{run, tied},
        token::write_private,
    },
};

/// Results by step: `module: ok, token: wrong, …`, from what `--json` says.
fn results(bench: &Bench, settings: &[(&str, &str)]) -> (Answer, Vec<(String, String)>) {
    let answer = bench.check_as(By::Owner, &["--json"], settings);
    let json = answer.json();
    let steps = json["steps"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let results = steps.iter().map(|step| (text(&step["step"]), text(&step["result"]))).collect();
    (answer, results)
}

/// That this cause is found at this step, and what becomes of the steps of a fetch.
#[track_caller]
fn assert_found(bench: &Bench, settings: &[(&str, &str)], cause: Cause, step: &str) {
    let (answer, results) = results(bench, settings);
    let json = answer.json();
    let found = json["steps"].as_array().unwrap().iter().find(|line| line["step"] == step).unwrap();
    assert_eq!(found["findings"][0]["code"], cause.name(), "{found:#}\n{}", answer.errors);
    assert_eq!(found["result"], "wrong");
    assert_eq!(found["findings"][0]["remedy"], cause.remedy());
    assert_eq!(answer.code, i32::from(cause.exit_code()), "{json:#}");
    let order =
        ["module", "token", "pin", "key", "key-and-certificate", "endpoint", "tls", "role-alias"];
    let at = order.iter().position(|name| *name == step);
    for (index, name) in order.iter().enumerate() {
        let Some((_, result)) = results.iter().find(|(step, _)| step == name) else { continue };
        let expected = match at {
            Some(at) if index < at => "ok",
            Some(at) if index == at => "wrong",
            _ => "not-reached",
        };
        // Where it is a file, what needs it is not reached; the rest is as it may be.
        if at.is_some() {
            assert_eq!(result, expected, "{name} with {cause}\n{json:#}");
        }
    }
}

#[test]
fn of_the_token() {
    let bench = Bench::new("token", Generation::V05);
    let uri = |object: &str| format!("pkcs11:token={object};type=private");
    let missing = uri("nowhere;object=device-key");
    let no_key = uri("device;object=nothing");
    for (key, value, cause, step) in [
        ("PKCS11_MODULE", "/usr/lib/no-such-module.so", Cause::ModuleMissing, "module"),
        ("PKCS11_MODULE", "/usr/bin/true", Cause::ModuleNotLoadable, "module"),
        ("PKCS11_MODULE", "LIBC", Cause::ModuleNotPkcs11, "module"),
        ("PRIVATE_KEY", &missing, Cause::TokenMissing, "token"),
        ("PKCS11_PIN_FILE", "", Cause::PinNeeded, "pin"),
        ("PRIVATE_KEY", &no_key, Cause::KeyObjectMissing, "key"),
    ] {
        let value = match value {
            "LIBC" => library("libz.so.1").to_str().unwrap().to_owned(),
            value => value.to_owned(),
        };
        assert_found(&bench, &[(key, &value)], cause, step);
    }

    // A key of the same token, for which this certificate was not issued.
    bench.token.generate_key("other-key", "02");
    let other = uri("device;object=other-key");
    assert_found(&bench, &[("PRIVATE_KEY", &other)], Cause::KeyMismatch, "key-and-certificate");

    // What keeps the PIN from being read says nothing against module and token.
    assert_found(
        &bench,
        &[("PKCS11_PIN_FILE", "/nonexistent/pin")],
        Cause::PinFileMissing,
        "pin-file",
    );
    let answer = bench.check_as(By::Owner, &[], &[("PKCS11_PIN_FILE", "/nonexistent/pin")]);
    answer
        .assert_has("ok PKCS#11 module /usr/lib/softhsm/libsofthsm2.so, through OpenSSL's engine");
    answer.assert_has("ok token pkcs11:token=device;object=device-key;type=private");
    answer.assert_has("not reached PIN needs: PIN file");
    answer.assert_has("not reached endpoint needs: PIN file");
}

#[test]
fn of_a_pin_that_was_refused() {
    let bench = Bench::new("pin", Generation::V05);
    write_private(&bench.token.pin_file, "0000000000\n");
    assert_found(&bench, &[], Cause::PinIncorrect, "pin");
    for _ in 0..2 {
        assert_found(&bench, &[], Cause::PinRefusedEarlier, "pin");
    }
    let mark = bench.state_directory.join("pin-refused");
    assert!(mark.exists());
    // A person corrects it in a way that can't be seen from the file, and says so.
    write_private(&bench.token.pin_file, &format!("{}\n", bench.token.pin()));
    let answer = bench.check(&["--pin-changed"]);
    answer.assert_has("ok PIN the token takes it");
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(!mark.exists());
}

#[test]
fn of_a_module_that_hangs() {
    let bench = Bench::new("hang", Generation::V05);
    let module = bench.path("hang.so");
    let source = crate::support::root().join("tests/support/hanging-module.c");
    run(tied("cc").args(["-shared", "-fPIC", "-o"]).arg(&module).arg(source));
    let settings = [
        ("PKCS11_MODULE", module.to_str().unwrap()),
        ("FETCH_TIMEOUT", "1s"),
        ("FETCH_DEADLINE", "2s"),
    ];
    assert_found(&bench, &settings, Cause::FetchHung, "module");
}

#[test]
fn of_a_token_that_is_busy() {
    let bench = Bench::new("busy", Generation::V05);
    let lock = bench.runtime_directory.join("token.lock");
    let held = Flock::lock(fs::File::create(&lock).unwrap(), FlockArg::LockExclusive).unwrap();
    let settings = [("FETCH_TIMEOUT", "1s"), ("FETCH_DEADLINE", "3s")];
    let answer = bench.check_as(By::Owner, &[], &settings);
    assert_eq!(answer.code, 75, "{}", answer.text);
    answer.assert_has(
        "WRONG token another edgerotate uses the token: waited 1 s for \
     MEMORY/token.lock [token-busy]",
    );
    // One that is done soon is waited for.
    let release = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(held);
    });
    assert_eq!(bench.check(&[]).code, 0);
    release.join().unwrap();
}

#[test]
fn of_the_network_and_the_provider() {
    let mut bench = Bench::new("network", Generation::V05);
    assert_found(
        &bench,
        &[("ENDPOINT", "c1.credentials.iot.eu-west-1.invalid")],
        Cause::Dns,
        "endpoint",
    );
    let wrong = bench.cloud.wrong_ca_file();
    assert_found(&bench, &[("CA_FILE", wrong.to_str().unwrap())], Cause::ServerNotTrusted, "tls");
    assert_found(&bench, &[("ROLE_ALIAS", "another")], Cause::RoleAliasMissing, "role-alias");
    assert_found(&bench, &[("THING_NAME", "another")], Cause::ThingNotAttached, "role-alias");
    for (fault, cause, step) in [
        (json!({"server_certificate": "expired"}), Cause::ServerCertificateExpired, "tls"),
        (json!({"status": 503}), Cause::ServerError, "role-alias"),
        (json!({"status": 403, "message": "Access Denied"}), Cause::AccessDenied, "role-alias"),
        (json!({"refuse_connections": true}), Cause::ConnectRefused, "endpoint"),
    ] {
        bench.cloud.provider_fault(&fault);
        assert_found(&bench, &[], cause, step);
        bench.cloud.heal();
    }
    bench.cloud.stop();
    assert_found(&bench, &[], Cause::ConnectRefused, "endpoint");
}

#[test]
fn of_a_key_in_a_file() {
    let bench = Bench::new("key-file", Generation::V05);
    let key = bench.path("device.key");
    let arguments = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    write_private(&key, &run(tied("openssl").args(arguments)));
    let request = run(tied("openssl").args(["req", "-new", "-subj", "/CN=x", "-key"]).arg(&key));
    let path = bench.path("file.pem");
    bench.cloud.issue(&request, crate::support::device::THING, &path);
    let settings = [
        ("PRIVATE_KEY", key.to_str().unwrap()),
        ("CERTIFICATE", path.to_str().unwrap()),
        ("PKCS11_MODULE", ""),
        ("PKCS11_PIN_FILE", ""),
    ];
    let answer = bench.check_as(By::Owner, &[], &settings);
    assert_eq!(answer.code, 0, "{}", answer.text);
    answer.assert_has("ok key file DEVICE/device.key (* 0600)");
    answer.assert_has("ok key EC, 256 bits; it signs");
    assert!(!answer.text.contains("PKCS#11"), "{}", answer.text);

    write_private(&key, "no key\n");
    let answer = bench.check_as(By::Owner, &[], &settings);
    assert_eq!(answer.code, 69, "{}", answer.text);
    answer.assert_has(
        "WRONG key the private key file holds no unencrypted private key in PEM: DEVICE/device.key \
         (*) [key-file-not-pem]",
    );
    answer.assert_has("not reached endpoint needs: key");
}

#[test]
fn of_files_that_are_not_there() {
    let bench = Bench::new("no-files", Generation::V05);
    let answer = bench.check_as(By::Owner, &[], &[("CERTIFICATE", "DEVICE/nowhere.pem")]);
    assert_eq!(answer.code, 69, "{}", answer.text);
    answer.assert_has(
        "WRONG certificate file the device's certificate is not there: DEVICE/nowhere.pem (No such \
         file or directory) \
         [certificate-missing]",
    );
    for step in
        ["certificate", "key and certificate", "thing name", "endpoint", "TLS", "role alias"]
    {
        answer.assert_has(&format!("not reached {step} needs: certificate file"));
    }
    answer.assert_has("ok key EC, 256 bits; it signs");

    let answer = bench.check_as(By::Owner, &[], &[("CA_FILE", "DEVICE/device.env")]);
    assert_eq!(answer.code, 69, "{}", answer.text);
    answer.assert_has(
        "WRONG CA file the file of trusted authorities holds no certificate in PEM: \
         DEVICE/device.env (*) [ca-file-not-pem]",
    );
    answer.assert_has("not reached endpoint needs: CA file");
}
