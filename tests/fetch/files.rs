//! Keys in files, and the device's other files.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use edgerotate::{
    problems::failure::Cause,
    settings::{Pin, PrivateKey},
};

use crate::{
    bench::{Bench, count},
    support::{
        device::THING,
        process::{run, tied},
        token::write_private,
    },
};

// Each is a test, and shows these causes.
cases! {
    a_pin_file_that_can_t_be_read_is_told: PinFileUnreadable;
    certificates_that_openssl_refuses: CertificateTooWeak;
    each_file_has_its_words: CertificateMissing CertificateNotPem CertificateUnreadable KeyFileMissing KeyFileNotPem KeyFileUnreadable CaFileMissing CaFileNotPem CaFileUnreadable;
    without_privileges_it_fetches_and_each_file_it_may_not_read_has_its_words: CertificateNotPermitted CaFileNotPermitted ModuleNotPermitted PinFileNotPermitted KeyFileNotPermitted PinUnguarded TokenLockUnusable;
    a_key_file_with_a_passphrase_asks_nobody: KeyFileNotPem;
}

/// What AWS IoT takes beside P-256, and RSA-PSS keys, which OpenSSL knows as a kind of their own.
#[test]
fn a_key_of_each_kind_fetches() {
    let bench = Bench::with_key_file("kinds");
    for (name, kind, option) in [
        ("p-384", "EC", "ec_paramgen_curve:P-384"),
        ("p-521", "EC", "ec_paramgen_curve:P-521"),
        ("rsa", "RSA", "rsa_keygen_bits:2048"),
        ("rsa-pss", "RSA-PSS", "rsa_keygen_bits:2048"),
    ] {
        let mut provider = bench.provider.clone();
        let key = bench.scratch.join(format!("{name}.key"));
        let make = ["genpkey", "-algorithm", kind, "-pkeyopt", option];
        write_private(&key, &run(tied("openssl").args(make)));
        let path = bench.scratch.join(format!("{name}.pem"));
        provider.certificate = bench.cloud.issue(&bench.request_of(&key), THING, &path).path;
        provider.key = PrivateKey::File(key);
        bench.fetch_with(&provider).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

/// Files as people make them; src/fetch/pem.rs has them all, these go the whole way.
#[test]
fn a_certificate_is_taken_in_each_usual_shape() {
    let bench = Bench::with_key_file("shapes");
    let device = fs::read_to_string(&bench.certificate.path).unwrap();
    let authority = fs::read_to_string(bench.cloud.directory().join("device-ca.pem")).unwrap();
    let json = serde_json::json!({"certificateId": "0a1b", "certificatePem": device});
    for (shape, text) in [
        ("authority first", format!("{authority}{device}")),
        ("glued", format!("{}{authority}", device.trim_end())),
        ("the CLI's JSON", json.to_string()),
        ("\\n", device.replace('\n', "\\n")),
        ("indented", device.replace('\n', "\n    ")),
    ] {
        let mut provider = bench.provider.clone();
        provider.certificate = bench.scratch.join("shape.pem");
        fs::write(&provider.certificate, text).unwrap();
        bench.fetch_with(&provider).unwrap_or_else(|failure| panic!("{shape}: {failure}"));
    }
    // The same reader has the CA file.
    let mut provider = bench.provider.clone();
    let trusted = fs::read_to_string(bench.cloud.ca_file()).unwrap();
    provider.ca_file = Some(bench.scratch.join("ca.pem"));
    fs::write(bench.scratch.join("ca.pem"), format!("{}{trusted}", authority.trim_end())).unwrap();
    bench.fetch_with(&provider).unwrap();
    // An authority alone is told as such.
    provider.certificate = bench.cloud.directory().join("device-ca.pem");
    let failure = bench.fetch_with(&provider).unwrap_err();
    assert_eq!(failure.cause, Cause::KeyMismatch);
    assert!(failure.detail.contains("an authority's"), "{failure}");
}

fn certificates_that_openssl_refuses() {
    let mut bench = Bench::with_key_file("weak");
    for (name, key, digest, words) in [
        ("sha1", &["-newkey", "rsa:2048"][..], "-sha1", "md too weak"),
        ("rsa-1024", &["-newkey", "rsa:1024"], "-sha256", "key too small"),
        (
            "curve",
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
            "-sha256",
            "curve secp256k1",
        ),
    ] {
        let path = bench.scratch.join(format!("{name}.pem"));
        let authority = bench.scratch.join("own-ca.pem");
        run(tied("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Own CA"])
            .arg("-keyout")
            .arg(authority.with_extension("key"))
            .arg("-out")
            .arg(&authority));
        run(tied("openssl")
            .args(["req", "-x509", "-nodes", "-subj", "/CN=press-12", "-days", "30", digest])
            .args(key)
            .arg("-CA")
            .arg(&authority)
            .arg("-CAkey")
            .arg(authority.with_extension("key"))
            .arg("-keyout")
            .arg(path.with_extension("key"))
            .arg("-out")
            .arg(&path));
        bench.provider.key = PrivateKey::File(path.with_extension("key"));
        bench.provider.certificate = path;
        bench.assert_fails(Cause::CertificateTooWeak, &[words]);
    }
    assert!(bench.cloud.requests().is_empty(), "nothing was sent");
}

#[test]
fn a_key_in_a_file_fetches() {
    let bench = Bench::with_key_file("file");
    let credentials = bench.fetch_credentials();
    assert_eq!(credentials.access_key_id, bench.cloud.issued()[0].access_key_id);
}

fn a_pin_file_that_can_t_be_read_is_told() {
    let mut bench = Bench::new("pin-directory");
    let directory = bench.scratch.to_path_buf();
    bench.token_settings().pin = Pin::File(directory);
    bench.assert_fails(Cause::PinFileUnreadable, &["Is a directory"]);
}

fn each_file_has_its_words() {
    let mut bench = Bench::with_key_file("files");
    let good = bench.provider.clone();
    let nothing = bench.scratch.join("nothing.pem");
    let text = bench.scratch.join("text.pem");
    fs::write(&text, "hello\n").unwrap();
    let directory = bench.scratch.to_path_buf();

    for (path, cause, words) in [
        (&nothing, Cause::CertificateMissing, "nothing.pem (No such file"),
        (&text, Cause::CertificateNotPem, "text.pem"),
        (&directory, Cause::CertificateUnreadable, "Is a directory"),
    ] {
        bench.provider.certificate = path.clone();
        bench.assert_fails(cause, &[words]);
    }
    bench.provider = good.clone();
    for (path, cause) in [
        (&nothing, Cause::KeyFileMissing),
        (&text, Cause::KeyFileNotPem),
        (&directory, Cause::KeyFileUnreadable),
    ] {
        bench.provider.key = PrivateKey::File(path.clone());
        bench.assert_fails(cause, &[path.to_str().unwrap()]);
    }
    bench.provider = good;
    for (path, cause) in [
        (&nothing, Cause::CaFileMissing),
        (&text, Cause::CaFileNotPem),
        (&directory, Cause::CaFileUnreadable),
    ] {
        bench.provider.ca_file = Some(path.clone());
        bench.assert_fails(cause, &[path.to_str().unwrap()]);
    }
    assert!(bench.cloud.requests().is_empty());
}

fn without_privileges_it_fetches_and_each_file_it_may_not_read_has_its_words() {
    let mut bench = Bench::new("rights");
    if !bench.drop_privileges() {
        return;
    }
    bench.fetch_credentials();

    let forbidden = bench.scratch.join("forbidden");
    fs::write(&forbidden, "").unwrap();
    fs::set_permissions(&forbidden, Permissions::from_mode(0o000)).unwrap();
    let good = bench.provider.clone();
    type Break = fn(&mut Bench, PathBuf);
    let breaks: [(Cause, Break); 5] = [
        (Cause::CertificateNotPermitted, |bench, path| bench.provider.certificate = path),
        (Cause::CaFileNotPermitted, |bench, path| bench.provider.ca_file = Some(path)),
        (Cause::ModuleNotPermitted, |bench, path| bench.token_settings().module = path),
        (Cause::PinFileNotPermitted, |bench, path| bench.token_settings().pin = Pin::File(path)),
        (Cause::KeyFileNotPermitted, |bench, path| bench.provider.key = PrivateKey::File(path)),
    ];
    for (cause, break_it) in breaks {
        bench.provider = good.clone();
        break_it(&mut bench, forbidden.clone());
        bench.assert_fails(cause, &["forbidden (Permission denied)"]);
    }

    // Where a refusal could not be remembered, no PIN is tried: neither directory is the child's to
    // write to.
    bench.provider = good;
    let log = bench.shim("");
    for directory in [&bench.launcher.state_directory, &bench.launcher.runtime_directory] {
        fs::set_permissions(directory, Permissions::from_mode(0o555)).unwrap();
    }
    bench.assert_fails(Cause::PinUnguarded, &["neither in"]);
    fs::remove_file(bench.launcher.runtime_directory.join("token.lock")).unwrap();
    bench.assert_fails(Cause::TokenLockUnusable, &["token.lock (Permission denied)"]);
    assert_eq!(count(&log, "C_Login"), 0);
}

fn a_key_file_with_a_passphrase_asks_nobody() {
    let mut bench = Bench::with_key_file("passphrase");
    let PrivateKey::File(plain) = &bench.provider.key else { unreachable!() };
    let encrypted = bench.scratch.join("encrypted.pem");
    let arguments = ["pkcs8", "-topk8", "-passout", "pass:secret", "-in"];
    run(tied("openssl").args(arguments).arg(plain).arg("-out").arg(&encrypted));
    bench.provider.key = PrivateKey::File(encrypted);
    bench.assert_fails(Cause::KeyFileNotPem, &["encrypted.pem", "without a passphrase"]);
}
