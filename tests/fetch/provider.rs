//! The provider's answers: each refusal, each fault.

use std::time::Duration;

use edgerotate::{fetch::protocol::FetchReply, problems::failure::Cause};
use serde_json::json;

use crate::bench::Bench;

// Each is a test, and shows these causes.
cases! {
    what_the_provider_itself_refuses: ThingNotAttached RoleAliasMissing AccessDenied RoleNotAssumable DurationTooLong;
    each_status: BadRequest Forbidden NotFound RequestTimeout UnexpectedStatus Throttled ServerError CertificateNotAccepted Redirected;
    answers_that_are_none: AnswerNotUnderstood AlreadyExpired AnswerTooLarge;
    connections_that_end: ConnectionCut Timeout;
}

fn what_the_provider_itself_refuses() {
    let mut bench = Bench::with_key_file("refusals");
    let id = bench.certificate.id.clone();
    let alias = format!("/role-aliases/{}", bench.provider.role_alias);
    let good = bench.provider.clone();

    bench.provider.thing_name = Some("another-thing".to_owned());
    bench.assert_fails(
        Cause::ThingNotAttached,
        &["HTTP 403, Invalid thing name passed, AccessDeniedException, request "],
    );
    bench.provider.thing_name = None;
    bench.fetch_credentials();
    bench.provider = good.clone();
    bench.provider.role_alias = "no-such-alias".to_owned();
    bench.assert_fails(Cause::RoleAliasMissing, &["HTTP 404, Role alias does not exist"]);
    bench.provider = good;

    let policy = |attached: bool| {
        bench.cloud.control(
            "PUT",
            &format!("/certificates/{id}/policy"),
            Some(&json!({"attached": attached})),
        );
    };
    policy(false);
    bench.assert_fails(Cause::AccessDenied, &["iot:AssumeRoleWithCertificate"]);
    policy(true);
    bench.cloud.control("PUT", &alias, Some(&json!({"role_exists": false})));
    bench.assert_fails(Cause::RoleNotAssumable, &["Unable to assume the role"]);
    bench.cloud.control(
        "PUT",
        &alias,
        Some(&json!({"role_exists": true, "lifetime_s": 7200, "max_session_s": 3600})),
    );
    bench.assert_fails(Cause::DurationTooLong, &["MaxSessionDuration"]);
    bench.cloud.control(
        "PUT",
        &format!("/certificates/{id}/status"),
        Some(&json!({"status": "INACTIVE"})),
    );
    bench.assert_fails(Cause::AccessDenied, &[]);
}

fn each_status() {
    let bench = Bench::with_key_file("status");
    for (status, cause) in [
        (400, Cause::BadRequest),
        (401, Cause::Forbidden),
        (403, Cause::Forbidden),
        (404, Cause::NotFound),
        (408, Cause::RequestTimeout),
        (418, Cause::UnexpectedStatus),
        (429, Cause::Throttled),
        (500, Cause::ServerError),
        (503, Cause::ServerError),
    ] {
        bench.cloud.provider_fault(&json!({"status": status, "message": "so it is"}));
        bench.assert_fails(cause, &[&format!("HTTP {status}, so it is")]);
    }
    bench.cloud.provider_fault(
        &json!({"status": 403, "message": "Certificate is invalid on this endpoint"}),
    );
    bench.assert_fails(Cause::CertificateNotAccepted, &[]);
    bench.cloud.provider_fault(&json!({"redirect": "https://login.example/"}));
    bench.assert_fails(Cause::Redirected, &["to https://login.example/"]);
}

#[test]
fn retry_after() {
    let bench = Bench::with_key_file("retry-after");
    for (value, seconds) in [("7", Some(7)), ("soon", None)] {
        bench.cloud.provider_fault(&json!({"status": 503, "retry_after": value}));
        assert_eq!(bench.fetch_failure().retry_after, seconds.map(Duration::from_secs));
    }
}

fn answers_that_are_none() {
    let bench = Bench::with_key_file("answers");
    for garbage in ["html", "truncated-json", "empty", "binary", "not-credentials"] {
        bench.cloud.provider_fault(&json!({"garbage": garbage}));
        bench.assert_fails(Cause::AnswerNotUnderstood, &["HTTP 200"]);
    }
    for (fault, words) in [
        (json!({"replace_field": {"field": "sessionToken"}}), "sessionToken is missing"),
        (
            json!({"replace_field": {"field": "accessKeyId", "value": "A B"}}),
            "accessKeyId has a character",
        ),
        (
            json!({"replace_field": {"field": "expiration", "value": "soon"}}),
            "expiration is not a time",
        ),
    ] {
        bench.cloud.provider_fault(&fault);
        bench.assert_fails(Cause::AnswerNotUnderstood, &[words]);
    }
    bench.cloud.provider_fault(
        &json!({"replace_field": {"field": "expiration", "value": "2018-01-18T09:18:06Z"}}),
    );
    bench.assert_fails(Cause::AlreadyExpired, &["2018-01-18T09:18:06"]);
    bench.cloud.provider_fault(&json!({"huge_body_bytes": 1_000_000}));
    bench.assert_fails(Cause::AnswerTooLarge, &[]);
}

fn connections_that_end() {
    let mut bench = Bench::with_key_file("cuts");
    for cut in ["handshake", "headers", "body"] {
        bench.cloud.provider_fault(&json!({"cut": cut}));
        bench.assert_fails(Cause::ConnectionCut, &[]);
    }
    bench.provider.fetch_timeout = Duration::from_secs(2);
    for fault in [json!({"delay_s": 600}), json!({"drip": {"bytes_per_s": 1}})] {
        bench.cloud.provider_fault(&fault);
        bench.assert_fails(Cause::Timeout, &["not whole within 2 s"]);
    }
}

#[test]
fn the_date_is_handed_on() {
    let bench = Bench::with_key_file("date");
    let date = || match bench.fetch() {
        FetchReply::Credentials { date, .. } | FetchReply::Failed { date, .. } => date,
    };
    assert!(date().unwrap().ends_with(" GMT"));
    bench.cloud.provider_fault(&json!({"status": 503}));
    assert!(date().unwrap().ends_with(" GMT"));
    bench.cloud.provider_fault(&json!({"no_date": true}));
    assert_eq!(date(), None);
}
