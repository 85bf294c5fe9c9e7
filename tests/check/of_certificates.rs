//! The certificate, and the clock that it is judged by.

use std::{fs, path::Path};

use edgerotate::problems::finding::Finding;
use serde_json::{Value, json};

use crate::{
    cases::{CASE, Case},
    harness::{Bench, Mend},
    support::{
        device::THING,
        process::{run, tied},
    },
};

/// A certificate for the token's key that is valid from then until then.
fn valid(bench: &Bench, not_before: &str, not_after: &str) -> Mend {
    let request = bench.token.certificate_request(THING);
    let order = json!({
        "csr": request, "thing": THING, "not_before": not_before, "not_after": not_after,
    });
    let answer = bench.cloud.control("POST", "/certificates", Some(&order));
    fs::write(bench.path("other.pem"), answer["certificate_pem"].as_str().unwrap()).unwrap();
    Mend::nothing()
}

fn in_days(days: i64) -> String {
    (chrono::Utc::now() + chrono::TimeDelta::days(days)).to_rfc3339()
}

fn faulty(bench: &Bench, fault: &Value) -> Mend {
    bench.cloud.provider_fault(fault);
    let control = bench.cloud.healer();
    Mend::by(control)
}

/// A key in a file and a certificate that nobody but this device's owner issued, for another thing.
fn for_another_thing(bench: &Bench) -> Mend {
    let make = |path: &Path| {
        run(tied("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args(["-days", "3650", "-subj", "/CN=line-7-press-13", "-out"])
            .arg(path)
            .arg("-keyout")
            .arg(path.with_extension("key")));
    };
    make(&bench.path("other.pem"));
    Mend::nothing()
}

const OTHER: &[(&str, &str)] = &[("CERTIFICATE", "DEVICE/other.pem")];

pub const CASES: &[Case] = &[
    Case {
        finding: Finding::CertificateExpired,
        code: 69,
        settings: OTHER,
        given: |bench| valid(bench, "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"),
        line: "WRONG certificate the device's certificate has expired: CN=AWS IoT Certificate, at \
         2021-01-01T00:00:00Z; \
               now it is *Z",
        remedy: "issue a new certificate for this device's key, and put it in the place of \
         DEVICE/other.pem",
        ..CASE
    },
    Case {
        finding: Finding::CertificateNotYetValid,
        code: 69,
        settings: OTHER,
        given: |bench| valid(bench, "2045-01-01T00:00:00Z", "2046-01-01T00:00:00Z"),
        line: "WRONG certificate the device's certificate is not valid yet: CN=AWS IoT \
         Certificate, before \
               2045-01-01T00:00:00Z; now it is *Z",
        remedy: "set this device's clock, which is probably behind (timedatectl)",
        ..CASE
    },
    Case {
        finding: Finding::CertificateExpiresSoon,
        settings: OTHER,
        given: |bench| valid(bench, &in_days(-300), &in_days(20)),
        line: "warning certificate the device's certificate expires soon: CN=AWS IoT Certificate, \
         at *Z, in 19 days",
        remedy: "issue a new certificate for this device's key before then, and put it in the \
         place of DEVICE/other.pem",
        ..CASE
    },
    Case {
        finding: Finding::ThingNameDiffers,
        code: 77,
        settings: &[("CERTIFICATE", "DEVICE/other.pem"), ("PRIVATE_KEY", "DEVICE/other.key")],
        given: for_another_thing,
        line: "warning thing name the certificate names another thing than EDGEROTATE_THING_NAME: \
               EDGEROTATE_THING_NAME=line-7-press-12, certificate CN=line-7-press-13",
        remedy: "see that the certificate is this device's, and attached to that thing in AWS IoT",
        ..CASE
    },
    Case {
        finding: Finding::ClockOff,
        given: |bench| faulty(bench, &json!({"date_offset_s": 150})),
        line: "warning clock this device's clock is off: 1* s behind the provider's",
        remedy: "look at the time synchronisation (timedatectl); S3 refuses uploads from 15 \
         minutes on",
        ..CASE
    },
    Case {
        finding: Finding::ClockWrong,
        code: 75,
        given: |bench| faulty(bench, &json!({"date_offset_s": 3601})),
        line: "WRONG clock this device's clock is so far off that S3 refuses uploads: 360* s \
         behind the provider's",
        remedy: "set it, and look at the time synchronisation (timedatectl)",
        ..CASE
    },
    Case {
        finding: Finding::NoDate,
        given: |bench| faulty(bench, &json!({"no_date": true})),
        line: "warning clock the provider's answer has no Date to compare the clock with",
        remedy: "look for a proxy that changes the answer",
        ..CASE
    },
];
