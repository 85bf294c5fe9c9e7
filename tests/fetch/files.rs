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
    support::process::{run, tied},
};

// Each is a test, and shows these causes.
cases! {
    a_pin_file_that_can_t_be_read_is_told: PinFileUnreadable;
    each_file_has_its_words: CertificateMissing CertificateNotPem CertificateUnreadable KeyFileMissing KeyFileNotPem KeyFileUnreadable CaFileMissing CaFileNotPem CaFileUnreadable;
    without_privileges_it_fetches_and_each_file_it_may_not_read_has_its_words: CertificateNotPermitted CaFileNotPermitted ModuleNotPermitted PinFileNotPermitted KeyFileNotPermitted PinUnguarded TokenLockUnusable;
    a_key_file_with_a_passphrase_asks_nobody: KeyFileNotPem;
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

    // Where a refusal could not be remembered, no PIN is tried: neither directory is the child's to write to.
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
