//! The shape of the provider's answers, whole or spoilt to order.

use std::{convert::Infallible, error::Error, fmt, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    StatusCode,
    body::Frame,
    header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, LOCATION, RETRY_AFTER},
};
use serde_json::{Value, json};

use crate::{
    faults::{Cut, Garbage, ProviderFaults},
    provider::Refusal,
    registry::Issued,
    secrets,
};

pub type Response = hyper::Response<UnsyncBoxBody<Bytes, CutOff>>;

const CHUNK: u64 = 16 * 1024;

pub enum Answer {
    Issued(Issued),
    Refused(Refusal),
    /// A fault says it all.
    Ordered,
}

pub struct Shaped {
    pub response: Response,
    pub error: Option<String>,
}

/// The connection ends here, as ordered.
#[derive(Debug)]
pub struct CutOff;

impl fmt::Display for CutOff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("cut off, as ordered")
    }
}

impl Error for CutOff {}

/// Head and body before the transport's faults.
struct Draft {
    status: StatusCode,
    content_type: &'static str,
    error_type: Option<String>,
    error: Option<String>,
    body: Vec<u8>,
}

pub fn shape(answer: &Answer, faults: &ProviderFaults) -> Result<Shaped, CutOff> {
    if faults.cut == Some(Cut::Headers) {
        return Err(CutOff);
    }
    let mut draft = draft(answer, faults);
    if let Some(garbage) = faults.garbage {
        spoil(&mut draft, garbage);
    }
    if faults.redirect.is_some() {
        draft.status = faults.status.and_then(status).unwrap_or(StatusCode::FOUND);
    }

    let mut response = hyper::Response::builder()
        .status(draft.status)
        .header(CONTENT_TYPE, draft.content_type)
        .header("x-amzn-RequestId", secrets::request_id());
    let optional = [
        (HeaderName::from_static("x-amzn-errortype"), draft.error_type),
        (RETRY_AFTER, faults.retry_after.clone()),
        (LOCATION, faults.redirect.clone()),
        (DATE, (!faults.no_date).then(|| date(faults))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            response = response.header(name, value);
        }
    }
    let (length, body) = body(draft.body, faults);
    let response = response.header(CONTENT_LENGTH, length).body(body).map_err(|error| {
        eprintln!("this fault makes no HTTP: {error}");
        CutOff
    })?;
    Ok(Shaped { response, error: draft.error })
}

fn draft(answer: &Answer, faults: &ProviderFaults) -> Draft {
    let (status, error_type, message) = match answer {
        Answer::Issued(issued) => {
            return Draft {
                status: StatusCode::OK,
                content_type: "application/json",
                error_type: faults.error_type.clone(),
                error: None,
                body: credentials(issued, faults).to_string().into_bytes(),
            };
        }
        Answer::Refused(refusal) => {
            (refusal.status, Some(refusal.error_type.to_owned()), refusal.message.to_owned())
        }
        Answer::Ordered => {
            let status =
                faults.status.and_then(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let reason = status.canonical_reason().unwrap_or("Unknown");
            (
                status,
                faults.error_type.clone(),
                faults.message.clone().unwrap_or_else(|| reason.to_owned()),
            )
        }
    };
    Draft {
        status,
        content_type: "application/json",
        error_type,
        body: json!({ "message": message }).to_string().into_bytes(),
        error: Some(message),
    }
}

fn credentials(issued: &Issued, faults: &ProviderFaults) -> Value {
    let expiration = issued.expiration + offset(faults);
    let mut credentials = json!({
        "accessKeyId": issued.access_key_id,
        "secretAccessKey": issued.secret_access_key,
        "sessionToken": issued.session_token,
        "expiration": expiration.to_rfc3339_opts(SecondsFormat::Secs, true),
    });
    if let Some(replace) = &faults.replace_field {
        match &replace.value {
            Some(value) => credentials[&replace.field] = value.clone(),
            None => {
                drop(credentials.as_object_mut().and_then(|fields| fields.remove(&replace.field)))
            }
        }
    }
    json!({ "credentials": credentials })
}

fn spoil(draft: &mut Draft, garbage: Garbage) {
    (draft.content_type, draft.body) = match garbage {
        Garbage::Html => (
            "text/html",
            b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Welcome to the Wi-Fi</body></html>\n"
                .to_vec(),
        ),
        Garbage::TruncatedJson => ("application/json", draft.body[..draft.body.len() / 2].to_vec()),
        Garbage::Empty => ("application/json", Vec::new()),
        Garbage::Binary => ("application/octet-stream", secrets::noise()),
        Garbage::NotCredentials => ("application/json", br#"{"status":"ok","items":[1,2,3]}"#.to_vec()),
    };
}

/// The body with its announced length, which a cut body does not keep to.
fn body(content: Vec<u8>, faults: &ProviderFaults) -> (u64, UnsyncBoxBody<Bytes, CutOff>) {
    if let Some(size) = faults.huge_body_bytes {
        return (size, huge(size));
    }
    let length = content.len() as u64;
    if faults.cut == Some(Cut::Body) {
        return (length, half(&content));
    }
    match &faults.drip {
        Some(drip) => (length, dripping(content, drip.bytes_per_s)),
        None => (
            length,
            Full::new(Bytes::from(content))
                .map_err(|never: Infallible| match never {})
                .boxed_unsync(),
        ),
    }
}

fn half(content: &[u8]) -> UnsyncBoxBody<Bytes, CutOff> {
    let first = Frame::data(Bytes::copy_from_slice(&content[..content.len() / 2]));
    let cut = async {
        // hyper sends what it has while it waits for more, and throws it away at an error.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Err(CutOff)
    };
    let frames = stream::iter([Ok(first)]).chain(stream::once(cut));
    StreamBody::new(frames).boxed_unsync()
}

fn dripping(content: Vec<u8>, bytes_per_s: f64) -> UnsyncBoxBody<Bytes, CutOff> {
    let pause = Duration::try_from_secs_f64(1.0 / bytes_per_s).unwrap_or(Duration::from_secs(1));
    let frames = stream::unfold(content.into_iter(), move |mut rest| async move {
        let byte = rest.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok(Frame::data(Bytes::from(vec![byte]))), rest))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Begins like an answer and goes on for as long as it is told.
fn huge(size: u64) -> UnsyncBoxBody<Bytes, CutOff> {
    let start: &[u8] = br#"{"credentials":{"accessKeyId":""#;
    let frames = stream::unfold(0, move |sent: u64| async move {
        let length = CHUNK.min(size - sent);
        let chunk: Vec<u8> = (sent..sent + length)
            .map(|at| {
                usize::try_from(at).ok().and_then(|at| start.get(at)).copied().unwrap_or(b'A')
            })
            .collect();
        (length > 0).then(|| (Ok(Frame::data(Bytes::from(chunk))), sent + length))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// IMF-fixdate of RFC 9110.
fn date(faults: &ProviderFaults) -> String {
    let now: DateTime<Utc> = Utc::now() + offset(faults);
    now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn offset(faults: &ProviderFaults) -> TimeDelta {
    faults.date_offset_s.and_then(TimeDelta::try_seconds).unwrap_or_default()
}

fn status(code: u16) -> Option<StatusCode> {
    StatusCode::from_u16(code).ok()
}
