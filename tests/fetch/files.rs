//! Keys in files, and the device's other files.

use std::fs;

use edgerotate::{config::PrivateKey, failure::Cause};

use crate::{
    bench::Bench,
    support::process::{run, tied},
};

#[test]
fn a_key_in_a_file_fetches() {
    let bench = Bench::with_key_file("file");
    let credentials = bench.fetch_credentials();
    assert_eq!(credentials.access_key_id, bench.cloud.issued()[0].access_key_id);
}

#[test]
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

#[test]
fn a_key_file_with_a_passphrase_asks_nobody() {
    let mut bench = Bench::with_key_file("passphrase");
    let PrivateKey::File(plain) = &bench.provider.key else { unreachable!() };
    let encrypted = bench.scratch.join("encrypted.pem");
    let arguments = ["pkcs8", "-topk8", "-passout", "pass:secret", "-in"];
    run(tied("openssl").args(arguments).arg(plain).arg("-out").arg(&encrypted));
    bench.provider.key = PrivateKey::File(encrypted);
    bench.assert_fails(Cause::KeyFileNotPem, &["encrypted.pem", "without a passphrase"]);
}
