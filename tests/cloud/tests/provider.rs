//! The credential provider, asked by curl: each answer and each fault.

#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use std::{fs, process::Command};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use support::{Cloud, Device, Reply, cloud, curl, openssl, wait_for};

const THING: Option<&str> = Some("device-1");

fn cloud_and_device() -> (tempfile::TempDir, Cloud, Device) {
    let (scratch, cloud) = cloud(&[]);
    let device = Device::new(&cloud, scratch.path(), "device-1");
    (scratch, cloud, device)
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, message: &str) {
    assert_eq!(reply.status, Some(status), "{reply:?}");
    assert_eq!(reply.json(), json!({ "message": message }));
    assert!(reply.header("x-amzn-ErrorType").is_some(), "{reply:?}");
    assert!(reply.header("x-amzn-RequestId").is_some(), "{reply:?}");
}

#[test]
fn credentials_look_like_those_of_aws() {
    let (_scratch, cloud, device) = cloud_and_device();
    for tls in [["--tls-max", "1.2"], ["--tlsv1.3", "--silent"]] {
        let reply = device.ask_with(&cloud, THING, &tls);
        assert_eq!(reply.status, Some(200), "{reply:?}");
        let credentials = &reply.json()["credentials"];
        let field = |name: &str| credentials[name].as_str().unwrap();
        assert!(field("accessKeyId").starts_with("ASIA") && field("accessKeyId").len() == 20);
        assert_eq!(field("secretAccessKey").len(), 40);
        assert_eq!(field("sessionToken").len(), 700);
        assert_eq!(field("expiration").len(), "2018-01-18T09:18:06Z".len());
        let lifetime = expiration(&reply) - date(&reply);
        assert!(
            (TimeDelta::seconds(895)..=TimeDelta::seconds(900)).contains(&lifetime),
            "{lifetime}"
        );
    }
}

#[test]
fn a_device_may_have_any_usual_key() {
    let (scratch, cloud) = cloud(&[]);
    let kinds: [(&str, &[&str]); 5] = [
        ("p-256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("p-384", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("p-521", &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        ("rsa", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("rsa-pss", &["RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ];
    for (thing, key) in kinds {
        let device = Device::with_key(&cloud, scratch.path(), thing, key);
        for tls in [["--tls-max", "1.2"], ["--tlsv1.3", "--silent"]] {
            // OpenSSL's client shows rustls no such certificate in TLS 1.2.
            if thing == "rsa-pss" && tls[1] == "1.2" {
                continue;
            }
            let reply = device.ask_with(&cloud, Some(thing), &tls);
            assert_eq!(reply.status, Some(200), "{thing}, {tls:?}: {reply:?}");
        }
    }
}

#[test]
fn a_request_that_another_key_signed_gets_no_certificate() {
    let (scratch, cloud, device) = cloud_and_device();
    let request = fs::read_to_string(device.certificate.with_extension("csr")).unwrap();
    // The last bytes of it are the signature.
    let (head, tail) = request.trim_end().rsplit_once("-----END").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    let last = lines.pop().unwrap();
    let turned: String = last.chars().map(|c| if c == 'A' { 'B' } else { 'A' }).collect();
    let doctored = format!("{}\n{turned}\n-----END{tail}\n", lines.join("\n"));
    let (status, answer) = cloud.try_control("POST", "/certificates", &json!({ "csr": doctored }));
    assert_eq!(status, 400, "{answer}");
    drop(scratch);
}

#[test]
fn each_refusal_has_its_words() {
    let (_scratch, cloud, device) = cloud_and_device();
    let certificate = |setting: &str| format!("/certificates/{}/{setting}", device.id);
    let alias = |settings| cloud.set_role_alias(settings);

    assert_refused(&device.ask(&cloud, Some("device-2")), 403, "Invalid thing name passed");
    cloud.control("PUT", &certificate("things"), &json!({ "things": ["device-1", "device-2"] }));
    assert_eq!(device.ask(&cloud, Some("device-2")).status, Some(200));

    for status in ["INACTIVE", "REVOKED"] {
        cloud.control("PUT", &certificate("status"), &json!({ "status": status }));
        assert_refused(&device.ask(&cloud, THING), 403, "Access Denied");
    }
    cloud.control("PUT", &certificate("status"), &json!({ "status": "ACTIVE" }));

    cloud.control("POST", &certificate("policy"), &json!({ "attached": false }));
    assert_refused(&device.ask(&cloud, THING), 403, "Access Denied");
    cloud.control("POST", &certificate("policy"), &json!({ "attached": true }));

    alias(json!({ "role_exists": false }));
    let no_role = "Unable to assume the role, or the role to assume does not exist";
    assert_refused(&device.ask(&cloud, THING), 400, no_role);
    alias(json!({ "role_exists": true, "lifetime_s": 7200, "max_session_s": 3600 }));
    let too_long =
        "The requested CredentialDurationSeconds exceeds the MaxSessionDuration set for the role";
    assert_refused(&device.ask(&cloud, THING), 400, too_long);
    alias(json!({ "max_session_s": 43200 }));
    assert_eq!(device.ask(&cloud, THING).status, Some(200));

    let other_endpoint = cloud.text("endpoint").replace("abc123", "xyz789");
    let url = format!("{other_endpoint}/role-aliases/{}/credentials", cloud.text("role_alias"));
    let reply = device.get(&cloud, THING, &url, &[]);
    assert_refused(&reply, 403, "Certificate is invalid on this endpoint");

    cloud.control("DELETE", "/role-aliases/edgerotate-role-alias", &json!(null));
    assert_refused(&device.ask(&cloud, THING), 404, "Role alias does not exist");
}

#[test]
fn the_handshake_lets_in_only_the_devices_of_this_cloud() {
    let (scratch, cloud, mut device) = cloud_and_device();
    let url = format!("{}/role-aliases/edgerotate-role-alias/credentials", cloud.text("endpoint"));
    let stranger = scratch.path().join("stranger.pem");
    openssl(&[
        "req",
        "-x509",
        "-new",
        "-subj",
        "/CN=stranger",
        "-days",
        "2",
        "-key",
        device.key.to_str().unwrap(),
        "-out",
        stranger.to_str().unwrap(),
    ]);
    let own = std::mem::replace(&mut device.certificate, stranger);
    let reply = device.ask(&cloud, THING);
    assert_eq!(reply.status, None, "{reply:?}");
    device.certificate = own;

    let without = curl().args(["--cacert", cloud.text("ca_file"), &url]).output().unwrap();
    assert!(!without.status.success());

    let past = json!({ "not_before": "2020-01-01T00:00:00Z", "not_after": "2021-01-01T00:00:00Z" });
    let expired = Device::with(&cloud, scratch.path(), "old-device", past);
    let reply = expired.ask(&cloud, None);
    assert_eq!(reply.status, None, "{reply:?}");
    assert!(reply.complaint.contains("expired"), "{reply:?}");

    let by_address = url.replace("abc123.credentials.iot.eu-central-1.localhost", "127.0.0.1");
    let reply = device.get(&cloud, THING, &by_address, &[]);
    assert!(reply.complaint.contains("unrecognized name"), "{reply:?}");

    let wrong_ca = device.ask_with(&cloud, THING, &["--cacert", cloud.text("wrong_ca_file")]);
    assert_eq!(wrong_ca.exit, 60, "{wrong_ca:?}");

    // A client that hangs up is told of a moment later.
    let failed: Vec<Value> = wait_for("five failed handshakes", || {
        let lines = cloud.requests();
        let failed: Vec<_> = lines.into_iter().filter(|line| line["side"] == "tls").collect();
        (failed.len() >= 5).then_some(failed)
    });
    assert_eq!(failed.len(), 5, "{failed:?}");
    assert!(failed.iter().all(|line| line["error"].is_string()), "{failed:?}");
}

#[test]
fn an_ordered_error_is_answered_as_often_as_ordered() {
    let (_scratch, cloud, device) = cloud_and_device();
    cloud.break_provider(json!({
        "status": 503, "message": "down for a while", "error_type": "ServiceUnavailableException",
        "retry_after": "soon-ish", "count": 2,
    }));
    for _ in 0..2 {
        let reply = device.ask(&cloud, THING);
        assert_refused(&reply, 503, "down for a while");
        assert_eq!(reply.header("x-amzn-errortype"), Some("ServiceUnavailableException"));
        assert_eq!(reply.header("Retry-After"), Some("soon-ish"));
    }
    assert_eq!(device.ask(&cloud, THING).status, Some(200));
}

#[test]
fn slow_answers_outlast_the_patience_of_the_client() {
    let (_scratch, cloud, device) = cloud_and_device();
    let impatient = || device.ask_with(&cloud, THING, &["--max-time", "3"]);
    cloud.break_provider(json!({ "delay_s": 600 }));
    let reply = impatient();
    assert_eq!((reply.exit, reply.status), (28, None), "{reply:?}");

    cloud.break_provider(json!({ "drip": { "bytes_per_s": 10 } }));
    let reply = impatient();
    assert_eq!((reply.exit, reply.status), (28, Some(200)), "{reply:?}");

    cloud.break_provider(json!({ "drip": { "bytes_per_s": 100_000 } }));
    assert!(device.ask(&cloud, THING).json()["credentials"].is_object());
}

#[test]
fn connections_are_cut_where_ordered() {
    let (_scratch, cloud, device) = cloud_and_device();
    cloud.break_provider(json!({ "cut": "handshake", "count": 1 }));
    let reply = device.ask(&cloud, THING);
    assert_eq!((reply.exit, reply.status), (35, None), "{reply:?}");

    cloud.break_provider(json!({ "cut": "headers" }));
    let reply = device.ask(&cloud, THING);
    assert_ne!(reply.exit, 0, "{reply:?}");
    assert_eq!(reply.status, None, "{reply:?}");

    cloud.break_provider(json!({ "cut": "body" }));
    let reply = device.ask(&cloud, THING);
    assert_ne!(reply.exit, 0, "{reply:?}");
    assert_eq!(reply.status, Some(200), "{reply:?}");
    let announced: usize = reply.header("content-length").unwrap().parse().unwrap();
    assert!(reply.body.len() < announced, "{reply:?}");

    cloud.heal_provider();
    assert_eq!(device.ask(&cloud, THING).status, Some(200));
}

#[test]
fn refused_connections_are_refused_by_the_kernel() {
    let (_scratch, cloud, device) = cloud_and_device();
    cloud.break_provider(json!({ "refuse_connections": true }));
    assert_eq!(device.ask(&cloud, THING).exit, 7);
    cloud.heal_provider();
    assert_eq!(device.ask(&cloud, THING).status, Some(200));
}

#[test]
fn garbage_is_garbage() {
    let (_scratch, cloud, device) = cloud_and_device();
    let answer = |kind: &str| {
        cloud.break_provider(json!({ "garbage": kind }));
        let reply = device.ask(&cloud, THING);
        assert_eq!((reply.exit, reply.status), (0, Some(200)), "{kind}: {reply:?}");
        reply
    };
    assert!(answer("html").body.starts_with(b"<!DOCTYPE html>"));
    assert!(answer("empty").body.is_empty());
    assert_eq!(answer("binary").body.len(), 1024);
    assert!(answer("not-credentials").json()["credentials"].is_null());
    let truncated = answer("truncated-json");
    assert!(truncated.body.starts_with(b"{\"credentials\""));
    assert!(serde_json::from_slice::<Value>(&truncated.body).is_err());
}

#[test]
fn a_huge_body_has_the_size_ordered() {
    let (_scratch, cloud, device) = cloud_and_device();
    cloud.break_provider(json!({ "huge_body_bytes": 1_000_000 }));
    let reply = device.ask(&cloud, THING);
    assert_eq!(reply.body.len(), 1_000_000);
    assert!(reply.body.starts_with(b"{\"credentials\""));
}

#[test]
fn a_wrong_clock_shows_in_both_times() {
    let (_scratch, cloud, device) = cloud_and_device();
    let ten_years = TimeDelta::days(3650);
    cloud.break_provider(json!({ "date_offset_s": ten_years.num_seconds() }));
    let reply = device.ask(&cloud, THING);
    assert!(date(&reply) - Utc::now() > TimeDelta::days(3649), "{reply:?}");
    assert!(
        (TimeDelta::seconds(895)..=TimeDelta::seconds(900))
            .contains(&(expiration(&reply) - date(&reply)))
    );

    cloud.break_provider(json!({ "no_date": true }));
    let reply = device.ask(&cloud, THING);
    assert_eq!((reply.status, reply.header("date")), (Some(200), None));
}

#[test]
fn a_field_can_be_anything_or_nothing() {
    let (_scratch, cloud, device) = cloud_and_device();
    for value in [json!("bad value\nPATH=/tmp"), json!(null), json!(7)] {
        cloud.break_provider(
            json!({ "replace_field": { "field": "sessionToken", "value": value } }),
        );
        assert_eq!(
            device.ask(&cloud, THING).json()["credentials"].get("sessionToken"),
            Some(&value)
        );
    }
    cloud.break_provider(json!({ "replace_field": { "field": "sessionToken" } }));
    assert_eq!(device.ask(&cloud, THING).json()["credentials"].get("sessionToken"), None);
}

#[test]
fn a_bad_server_certificate_is_refused_by_the_client() {
    let (_scratch, cloud, device) = cloud_and_device();
    for (kind, complaint) in [
        ("expired", "certificate has expired"),
        ("wrong-host", "no alternative certificate subject name matches"),
        ("untrusted", "unable to get local issuer"),
    ] {
        cloud.break_provider(json!({ "server_certificate": kind }));
        let reply = device.ask(&cloud, THING);
        assert_eq!(reply.exit, 60, "{kind}: {reply:?}");
        assert!(reply.complaint.contains(complaint), "{kind}: {reply:?}");
    }
}

#[test]
fn a_redirect_points_elsewhere() {
    let (_scratch, cloud, device) = cloud_and_device();
    cloud.break_provider(json!({ "redirect": "https://elsewhere.example/" }));
    let reply = device.ask(&cloud, THING);
    assert_eq!(
        (reply.status, reply.header("location")),
        (Some(302), Some("https://elsewhere.example/"))
    );
}

#[test]
fn a_mistake_in_an_order_is_told() {
    let (_scratch, cloud, _device) = cloud_and_device();
    for faults in [
        json!({ "stauts": 500 }),
        json!({ "status": 99 }),
        json!({ "refuse_connections": true, "count": 1 }),
        json!({ "cut": "handshake", "status": 500 }),
    ] {
        let (status, answer) = cloud.try_control("PUT", "/faults/provider", &faults);
        assert_eq!(status, 400, "{faults}");
        assert!(answer["message"].is_string(), "{answer}");
    }
    assert_eq!(cloud.try_control("GET", "/nothing", &json!(null)).0, 404);
}

#[test]
fn nothing_secret_is_logged_or_shown() {
    let (_scratch, cloud, device) = cloud_and_device();
    let session = device.session(&cloud, THING);
    let shown = [
        fs::read_to_string(cloud.directory.join("requests.jsonl")).unwrap(),
        cloud.control("GET", "/requests?since=0", &json!(null)).to_string(),
        cloud.control("GET", "/state", &json!(null)).to_string(),
    ];
    for text in shown {
        assert!(text.contains(&session.key));
        assert!(!text.contains(&session.secret));
        assert!(!text.contains(session.token.as_deref().unwrap()));
    }
    let open_to_others = Command::new("find")
        .arg(&cloud.directory)
        .args(["-name", "*.key", "-perm", "/077"])
        .output();
    assert!(open_to_others.unwrap().stdout.is_empty());
}

fn expiration(reply: &Reply) -> DateTime<Utc> {
    reply.json()["credentials"]["expiration"].as_str().unwrap().parse().unwrap()
}

fn date(reply: &Reply) -> DateTime<Utc> {
    DateTime::parse_from_rfc2822(reply.header("date").unwrap()).unwrap().to_utc()
}
