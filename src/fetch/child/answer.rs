//! The provider's answer: its status, headers and body, and what each of them means.
//!
//! Source of the messages: AWS IoT Core developer guide, "Authorizing direct calls to AWS services
//! using AWS IoT Core credential provider", and the answers of the service itself.

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::text::printable;
use crate::{
    core::{
        by_name::{ByName, TextField},
        credentials::Credentials,
    },
    fetch::protocol::FetchReply,
    problems::failure::{Cause, Failure},
};

/// As much of a peer's words as a log line should hold.
const MAX_WORDS: usize = 200;

/// An answer as it came.
#[derive(Default)]
pub struct HttpAnswer {
    pub status: u32,
    /// Lines as they came, of the last answer only (a 100 may come before it).
    pub headers: Vec<String>,
    pub body: Zeroizing<Vec<u8>>,
}

impl HttpAnswer {
    /// The first header of this name, trimmed.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn date(&self) -> Option<String> {
        self.header("date").map(|date| printable(date, 64))
    }

    /// What came of the request.
    pub fn into_reply(self) -> FetchReply {
        let date = self.date();
        match self.credentials() {
            Ok(credentials) => FetchReply::Credentials { credentials, date },
            Err(failure) => FetchReply::Failed { failure, date },
        }
    }

    fn credentials(&self) -> Result<Credentials, Failure> {
        if self.status != 200 {
            return Err(self.refusal());
        }
        let credentials = Credentials::from_answer(&self.body).map_err(|what| {
            let what = self.other_body().unwrap_or(what);
            Failure::new(Cause::AnswerNotUnderstood, self.in_words(&what))
        })?;
        // Both times are the provider's: whatever the device's clock says, these credentials are of
        // no use.
        if let Some(date) =
            self.header("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok())
        {
            if credentials.expiration <= date {
                let what = format!(
                    "expiration {}, Date {}",
                    credentials.expiration.to_rfc3339(),
                    date.to_rfc3339()
                );
                return Err(Failure::new(Cause::AlreadyExpired, what));
            }
        }
        Ok(credentials)
    }

    /// What the body is, where its headers say that it is none of the provider's.
    fn other_body(&self) -> Option<String> {
        let kind = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with("text/html") {
            return Some("a page (text/html): a proxy or a portal answers in its place".to_owned());
        }
        let encoding =
            self.header("content-encoding").filter(|e| !e.eq_ignore_ascii_case("identity"));
        encoding.map(|encoding| {
            format!("a body in {}, which nobody asked for", printable(encoding, 40))
        })
    }

    fn refusal(&self) -> Failure {
        let message = self.message();
        let said = message.to_lowercase();
        let cause = match self.status {
            300..=399 => Cause::Redirected,
            400 if said.contains("unable to assume") => Cause::RoleNotAssumable,
            400 if said.contains("durationseconds") => Cause::DurationTooLong,
            400 => Cause::BadRequest,
            403 if said.contains("thing name") => Cause::ThingNotAttached,
            403 if said.contains("certificate is invalid") => Cause::CertificateNotAccepted,
            403 if said.contains("access denied") => Cause::AccessDenied,
            401 | 403 => Cause::Forbidden,
            404 if said.contains("role alias") => Cause::RoleAliasMissing,
            404 => Cause::NotFound,
            408 => Cause::RequestTimeout,
            429 => Cause::Throttled,
            500..=599 => Cause::ServerError,
            _ => Cause::UnexpectedStatus,
        };
        let what = match (cause, self.header("location")) {
            (Cause::Redirected, Some(location)) => {
                format!("to {}", printable(without_secrets(location), MAX_WORDS))
            }
            _ => message,
        };
        let mut failure = Failure::new(cause, self.in_words(&what));
        failure.retry_after = self.retry_after();
        failure
    }

    /// `HTTP 403, Access Denied, AccessDeniedException, request 1234`.
    fn in_words(&self, what: &str) -> String {
        let mut words = vec![format!("HTTP {}", self.status)];
        if !what.is_empty() {
            words.push(what.to_owned());
        }
        if let Some(kind) = self.header("x-amzn-errortype") {
            // Some services append `:http://…`.
            words.push(printable(kind.split(':').next().unwrap_or_default(), 80));
        }
        if let Some(id) = self.header("x-amzn-requestid") {
            words.push(format!("request {}", printable(id, 80)));
        }
        words.join(", ")
    }

    /// The provider's own words; nothing where the body is of another kind (a proxy's page).
    fn message(&self) -> String {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Said {
            message: TextField,
            /// As some clients saw it.
            #[serde(rename = "Message")]
            capital: TextField,
        }
        let said = serde_json::from_slice::<ByName<Said>>(&self.body).map(|said| said.0);
        let Said { message, capital } = said.unwrap_or_default();
        let text = message.text("message").or_else(|_| capital.text("Message"));
        text.map(|text| printable(text.expose(), MAX_WORDS)).unwrap_or_default()
    }

    /// `Retry-After` in seconds, or as a time, which counts from the answer's own `Date`.
    fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?;
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = DateTime::parse_from_rfc2822(value).ok()?;
        let from = DateTime::parse_from_rfc2822(self.header("date")?).ok()?;
        Some((until - from).to_std().unwrap_or_default())
    }
}

/// A URL without its query and fragment, which may hold a session token. One with a user and a
/// password in it is not shown at all.
fn without_secrets(url: &str) -> &str {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    if url.contains('@') { "a URL with a user's name in it" } else { url }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Date: Thu, 18 Jan 2018 08:18:06 GMT\r\n";

    fn answer(status: u32, headers: &[&str], body: &str) -> HttpAnswer {
        HttpAnswer {
            status,
            headers: headers.iter().map(|&line| line.to_owned()).collect(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    fn refused(status: u32, headers: &[&str], body: &str) -> Failure {
        match answer(status, headers, body).into_reply() {
            FetchReply::Failed { failure, .. } => failure,
            FetchReply::Credentials { .. } => panic!("credentials"),
        }
    }

    #[test]
    fn a_redirect_is_shown_without_what_may_be_secret() {
        for (location, shown) in [
            ("https://login.example/a?X-Amz-Security-Token=AgoG#b", "to https://login.example/a"),
            ("https://login.example/#token=AgoG", "to https://login.example/"),
            ("https://user:AgoG@login.example/", "to a URL with a user's name in it"),
        ] {
            let failure = refused(302, &[&format!("Location: {location}")], "");
            assert_eq!(failure.cause, Cause::Redirected);
            assert!(failure.detail.ends_with(shown), "{}", failure.detail);
        }
    }

    #[test]
    fn a_message_is_told_beside_another_one() {
        let body = r#"{"Message":"Forbidden","message":"Access Denied"}"#;
        assert_eq!(refused(403, &[], body).cause, Cause::AccessDenied);
        let body = r#"{"Message":"Access Denied","message":null}"#;
        assert_eq!(refused(403, &[], body).cause, Cause::AccessDenied);
    }

    #[test]
    fn a_body_of_somebody_else_is_named_by_its_headers() {
        for (header, what) in [
            ("Content-Type: text/html; charset=utf-8", "a page (text/html)"),
            ("Content-Encoding: gzip", "a body in gzip"),
        ] {
            let failure = refused(200, &[header], "<html>");
            assert_eq!(failure.cause, Cause::AnswerNotUnderstood);
            assert!(failure.detail.contains(what), "{}", failure.detail);
        }
    }

    #[test]
    fn each_refusal_has_its_cause() {
        for (status, message, cause) in [
            (
                400,
                "Unable to assume the role, or the role to assume does not exist",
                Cause::RoleNotAssumable,
            ),
            (
                400,
                "The requested CredentialDurationSeconds exceeds the MaxSessionDuration set for \
                 the role",
                Cause::DurationTooLong,
            ),
            (400, "Bad", Cause::BadRequest),
            (403, "Invalid thing name passed", Cause::ThingNotAttached),
            (403, "Access Denied", Cause::AccessDenied),
            (403, "Certificate is invalid on this endpoint", Cause::CertificateNotAccepted),
            (403, "Forbidden", Cause::Forbidden),
            (404, "Role alias does not exist", Cause::RoleAliasMissing),
            (404, "no", Cause::NotFound),
            (408, "", Cause::RequestTimeout),
            (429, "Rate exceeded", Cause::Throttled),
            (500, "", Cause::ServerError),
            (503, "", Cause::ServerError),
            (302, "", Cause::Redirected),
            (204, "", Cause::UnexpectedStatus),
            (418, "", Cause::UnexpectedStatus),
        ] {
            for field in ["message", "Message"] {
                let body = format!("{{\"{field}\":\"{message}\"}}");
                let failure = refused(status, &[], &body);
                assert_eq!(failure.cause, cause, "{status} {message}");
                assert!(
                    failure.detail.contains(message)
                        && failure.detail.contains(&status.to_string())
                );
            }
        }
    }

    #[test]
    fn says_who_said_what() {
        let headers = [
            DATE,
            "x-amzn-ErrorType: AccessDeniedException:http://x/\r\n",
            "X-Amzn-RequestId: 7f3a\r\n",
        ];
        let failure = refused(403, &headers, "{\"message\":\"Access Denied\"}");
        assert_eq!(failure.detail, "HTTP 403, Access Denied, AccessDeniedException, request 7f3a");
        let failure = refused(302, &["Location: https://login.example/\r\n"], "<html>");
        assert_eq!(failure.detail, "HTTP 302, to https://login.example/");
    }

    #[test]
    fn retry_after_in_both_forms() {
        assert_eq!(
            refused(503, &["retry-after: 7\r\n"], "").retry_after,
            Some(Duration::from_secs(7))
        );
        let at = "Retry-After: Thu, 18 Jan 2018 08:19:06 GMT\r\n";
        assert_eq!(refused(503, &[DATE, at], "").retry_after, Some(Duration::from_secs(60)));
        assert_eq!(refused(503, &[at], "").retry_after, None, "without a Date it means nothing");
        assert_eq!(
            refused(503, &[DATE, "Retry-After: Thu, 18 Jan 2018 08:10:00 GMT"], "").retry_after,
            Some(Duration::ZERO)
        );
        assert_eq!(refused(503, &["Retry-After: -1"], "").retry_after, None);
        assert_eq!(refused(503, &["Retry-After: soon"], "").retry_after, None);
    }

    #[test]
    fn the_answer_itself() {
        let body = r#"{"credentials":{"accessKeyId":"ASIAEXAMPLE","secretAccessKey":"wJalr/XUtn+FEMI=",
            "sessionToken":"AgoGb3JpZ2lu","expiration":"2018-01-18T09:18:06Z"}}"#;
        let reply = answer(200, &["date: Thu, 18 Jan 2018 08:18:06 GMT\r\n"], body).into_reply();
        let FetchReply::Credentials { credentials, date } = reply else { panic!("{reply:?}") };
        assert_eq!(credentials.access_key_id, "ASIAEXAMPLE");
        assert_eq!(date.as_deref(), Some("Thu, 18 Jan 2018 08:18:06 GMT"));

        let late = "Date: Thu, 18 Jan 2018 09:18:06 GMT";
        assert_eq!(refused(200, &[late], body).cause, Cause::AlreadyExpired);
        assert_eq!(
            refused(200, &["x-amzn-requestid: 1"], "<html>").detail,
            "HTTP 200, not JSON (line 1, column 1), request 1"
        );
    }
}
