//! S3, used by boto3 and the AWS CLI.

#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use support::{Cloud, Device, Session, cloud, text, tool};

const ROW: &str = "a row\n";
const ROW_SHA256: &str = "140b5b71bbaf238a9615661509906ff2245f9b843cc53ece02bd1c1d7d2b975c";

/// Of credentials that expire while a request is under way, in seconds.
const LIFETIME: i64 = 15;

fn cloud_and_device() -> (tempfile::TempDir, Cloud, Device) {
    let (scratch, cloud) = cloud(&[]);
    let device = Device::new(&cloud, scratch.path(), "device-1");
    (scratch, cloud, device)
}

/// Makes calls with boto3.
#[track_caller]
fn boto3(cloud: &Cloud, session: &Session, scratch: &Path, calls: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/s3_calls.py");
    let output = session
        .client(&tool("venv/bin/python"), scratch)
        .arg(script)
        .args([cloud.text("s3_endpoint"), cloud.text("bucket")])
        .args(calls)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_put_fails(cloud: &Cloud, session: &Session, scratch: &Path, code: &str, status: u16) {
    assert_eq!(boto3(cloud, session, scratch, &["put:a"]), json!({ "put:a": [code, status] }));
    let last = cloud.requests().pop().unwrap();
    assert_eq!(
        json!([
            last["side"],
            last["operation"],
            last["status"],
            last["error"],
            last["key"],
            last["access_key_id"]
        ]),
        json!(["s3", "PutObject", status, code, "a", session.key]),
    );
}

#[test]
fn boto3_does_what_it_does_at_aws() {
    let (scratch, cloud, device) = cloud_and_device();
    let session = device.session(&cloud, Some("device-1"));
    for session in [session, cloud.permanent()] {
        let calls = [
            "put:d/1",
            "put:d/2",
            "put:d/e/3",
            "get:d/1",
            "head:d/1",
            "list_v2:d/",
            "list_v1:d/",
            "directories:d/",
            "copy:d/1",
            "presigned:d/1",
            "multipart:m",
            "location",
            "head_bucket",
            "get:none",
            "delete:none",
            "delete:m",
            "delete_all:d/",
            "list_v2:",
        ];
        let expected = json!({
            "put:d/1": "ok", "put:d/2": "ok", "put:d/e/3": "ok", "get:d/1": "ok", "head:d/1": "ok",
            "list_v2:d/": ["d/1", "d/2", "d/e/3"],
            "list_v1:d/": ["d/1", "d/2", "d/e/3"],
            "directories:d/": ["d/e/"],
            "copy:d/1": "ok", "presigned:d/1": "ok", "multipart:m": "ok", "location": "eu-central-1", "head_bucket": "ok",
            "get:none": ["NoSuchKey", 404],
            "delete:none": "ok", "delete:m": "ok",
            "delete_all:d/": ["d/1", "d/1-copy", "d/2", "d/e/3"],
            "list_v2:": [],
        });
        assert_eq!(boto3(&cloud, &session, scratch.path(), &calls), expected);
    }
    let put = cloud.requests().into_iter().find(|line| line["operation"] == "PutObject").unwrap();
    assert_eq!(
        (&put["thing"], &put["key"], &put["error"]),
        (&json!("device-1"), &json!("d/1"), &json!(null))
    );
    assert!(put["bytes"].as_u64() >= Some(6000), "{put}");
}

#[test]
fn each_flaw_of_a_credential_has_its_error() {
    let (scratch, cloud, device) = cloud_and_device();
    let good = device.session(&cloud, None);
    let other = device.session(&cloud, None);
    let fails = |session: Session, code, status| {
        assert_put_fails(&cloud, &session, scratch.path(), code, status)
    };

    fails(Session { secret: other.secret, ..good.clone() }, "SignatureDoesNotMatch", 403);
    fails(Session { token: other.token, ..good.clone() }, "InvalidToken", 400);
    fails(Session { token: None, ..good.clone() }, "InvalidAccessKeyId", 403);
    fails(
        Session { key: "ASIAAAAAAAAAAAAAAAAA".to_owned(), ..good.clone() },
        "InvalidAccessKeyId",
        403,
    );
    fails(Session { token: good.token.clone(), ..cloud.permanent() }, "InvalidToken", 400);

    cloud.set_role_alias(json!({ "lifetime_s": 0 }));
    fails(device.session(&cloud, None), "ExpiredToken", 400);
    assert_eq!(boto3(&cloud, &good, scratch.path(), &["put:a"])["put:a"], "ok");

    let endpoint = cloud.text("s3_endpoint");
    let anonymous = support::curl().arg(format!("{endpoint}/replica/a")).output().unwrap();
    assert!(text(&anonymous.stdout).contains("<Code>AccessDenied</Code>"));
    let cli = good
        .client(&tool("venv/bin/aws"), scratch.path())
        .args([
            "--endpoint-url",
            endpoint,
            "--region",
            "us-east-1",
            "s3api",
            "list-objects-v2",
            "--bucket",
            "replica",
        ])
        .output()
        .unwrap();
    assert!(text(&cli.stderr).contains("AuthorizationHeaderMalformed"), "{}", text(&cli.stderr));
}

/// As at AWS, whose S3 looks at the expiry when a request comes in.
#[test]
fn what_came_in_before_the_expiry_is_good_to_its_end() {
    let (_scratch, cloud, device) = cloud_and_device();
    cloud.set_role_alias(json!({ "lifetime_s": LIFETIME }));
    cloud.control("PUT", "/faults/s3", &json!({ "delay_s": LIFETIME + 1, "count": 1 }));
    let session = device.session(&cloud, None);
    let put = || {
        support::curl()
            .args([
                "--request",
                "PUT",
                "--data-binary",
                ROW,
                "--aws-sigv4",
                "aws:amz:eu-central-1:s3",
            ])
            .args(["--user", &format!("{}:{}", session.key, session.secret)])
            .args([
                "--header",
                &format!("x-amz-security-token: {}", session.token.as_ref().unwrap()),
            ])
            .args(["--header", &format!("x-amz-content-sha256: {ROW_SHA256}")])
            .arg(format!("{}/replica/late", cloud.text("s3_endpoint")))
            .output()
            .unwrap();
        cloud.requests().pop().unwrap()
    };
    let late = put();
    assert_eq!((&late["status"], &late["error"]), (&json!(200), &Value::Null), "{late}");
    let (signed, arrived) = (late["signed"].as_f64().unwrap(), late["arrived"].as_f64().unwrap());
    assert!((0.0..LIFETIME as f64).contains(&(arrived - signed)), "{late}");
    assert!(late["time"].as_f64().unwrap() > arrived + LIFETIME as f64, "{late}");
    assert_eq!(put()["error"], "ExpiredToken");
}

#[test]
fn nobody_leaves_the_bucket() {
    let (scratch, cloud, device) = cloud_and_device();
    let session = device.session(&cloud, None);
    let calls = ["put_elsewhere:a", "create_bucket", "buckets", "put:a/../../b"];
    let denied = json!(["AccessDenied", 403]);
    let results = boto3(&cloud, &session, scratch.path(), &calls);
    assert_eq!(
        results,
        json!({
            "put_elsewhere:a": denied, "create_bucket": denied, "buckets": denied,
            "put:a/../../b": ["InvalidURI", 400],
        })
    );
}

#[test]
fn a_thing_keeps_to_its_prefix() {
    let (scratch, cloud, device) = cloud_and_device();
    cloud.set_role_alias(json!({ "prefix_per_thing": true }));
    let session = device.session(&cloud, Some("device-1"));
    let permanent = cloud.permanent();
    assert_eq!(
        boto3(&cloud, &permanent, scratch.path(), &["put:device-2/a"])["put:device-2/a"],
        "ok"
    );

    let own = [
        "put:device-1/a",
        "get:device-1/a",
        "list_v2:device-1/",
        "delete_two:device-1/a",
        "delete_all:device-1/",
    ];
    let results = boto3(&cloud, &session, scratch.path(), &own[..4]);
    assert!(
        results
            .as_object()
            .unwrap()
            .values()
            .all(|result| result == "ok" || *result == json!(["device-1/a"]))
    );
    let foreign = [
        "put:device-2/b",
        "get:device-2/a",
        "list_v2:",
        "list_v2:device-2/",
        "delete:device-2/a",
        "delete_two:device-2/a",
    ];
    let results = boto3(&cloud, &session, scratch.path(), &foreign);
    assert!(
        results.as_object().unwrap().values().all(|result| *result == json!(["AccessDenied", 403])),
        "{results}"
    );
    assert_eq!(
        boto3(&cloud, &permanent, scratch.path(), &["get:device-2/a"])["get:device-2/a"],
        "ok"
    );

    let nameless = device.session(&cloud, None);
    assert_put_fails(&cloud, &nameless, scratch.path(), "AccessDenied", 403);
}

#[test]
fn ordered_faults_of_s3_strike_and_heal() {
    let (scratch, cloud, device) = cloud_and_device();
    let session = device.session(&cloud, None);
    let order = |faults| cloud.control("PUT", "/faults/s3", &faults);
    let put = || boto3(&cloud, &session, scratch.path(), &["put:a"])["put:a"].clone();

    order(json!({ "status": 503, "count": 1 }));
    assert_eq!(put(), json!(["SlowDown", 503]));
    assert_eq!(put(), json!("ok"));
    order(json!({ "code": "RequestTimeout" }));
    assert_eq!(put(), json!(["RequestTimeout", 400]));
    order(json!({ "delay_s": 600 }));
    assert_eq!(put(), json!(["ReadTimeoutError", null]));
    order(json!({ "refuse_connections": true }));
    assert_eq!(put(), json!(["EndpointConnectionError", null]));
    cloud.control("DELETE", "/faults/s3", &json!(null));
    assert_eq!(put(), json!("ok"));
    let gone = cloud
        .requests()
        .into_iter()
        .filter(|line| line["error"] == "the connection ended before the answer")
        .count();
    assert_eq!(gone, 1);
}

#[test]
fn the_aws_cli_copies_lists_and_removes() {
    let (scratch, cloud, device) = cloud_and_device();
    let session = device.session(&cloud, Some("device-1"));
    let file = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let aws = |arguments: &[&str]| {
        let output = session
            .client(&tool("venv/bin/aws"), scratch.path())
            .args(["--endpoint-url", cloud.text("s3_endpoint")])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    // Large enough that the CLI sends it in parts.
    let (sent, received) = (file("sent"), file("received"));
    fs::write(&sent, ROW.repeat(2_000_000)).unwrap();
    aws(&["s3", "cp", &sent, "s3://replica/files/one", "--no-progress"]);
    aws(&["s3", "cp", "s3://replica/files/one", &received, "--no-progress"]);
    assert!(fs::read(&sent).unwrap() == fs::read(&received).unwrap());
    assert!(aws(&["s3", "ls", "s3://replica/files/"]).contains("one"));
    aws(&["s3", "rm", "s3://replica/files", "--recursive"]);
    assert!(!aws(&["s3api", "list-objects-v2", "--bucket", "replica"]).contains("one"));
}
