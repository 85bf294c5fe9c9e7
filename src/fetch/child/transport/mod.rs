//! Why no answer came: from libcurl's code, OpenSSL's error queue and the server's certificate to a
//! cause.

use chrono::{DateTime, SecondsFormat, Utc};
use openssl::x509::X509Ref;

use super::{
    observed::{QueueEntry, in_words, quotes_module},
    text::printable,
};
use crate::{
    problems::failure::{Cause, Failure},
    settings::Provider,
};

#[cfg(test)]
mod tests;

const MAX_WORDS: usize = 300;
/// As many of a certificate's names as a log line should hold.
const MAX_NAMES: usize = 5;

/// How far the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Lookup,
    Connect,
    Handshake,
    Answer,
}

/// The certificate the server showed: the one that was refused, else the last that was looked at,
/// its own.
#[derive(Clone, Debug, Default)]
pub struct ServerCertificate {
    /// X509_V_ERR_…, 0 if nothing was wrong with it.
    pub verdict: i32,
    pub words: String,
    pub subject: String,
    pub issuer: String,
    /// An authority that signed itself, and not the server's own certificate.
    pub is_root: bool,
    pub names: Vec<String>,
    pub not_before: String,
    pub not_after: String,
}

/// All that was seen of a request without an answer.
pub struct TransportFault<'a> {
    pub code: u32,
    pub words: String,
    pub phase: Phase,
    pub errno: i32,
    pub queue: Vec<QueueEntry>,
    /// The answer went past a bound and was given up.
    pub too_large: bool,
    /// What the proxy answered to CONNECT; 0 if nothing, or if there is none.
    pub proxy_status: u32,
    pub server: Option<ServerCertificate>,
    /// The device's own certificate, in words.
    pub certificate: String,
    pub provider: &'a Provider,
    /// What the device's clock says, right or wrong.
    pub now: DateTime<Utc>,
}

pub fn explain(fault: &TransportFault) -> Failure {
    let Provider { host, port, .. } = fault.provider;
    let at = |cause, words: &str| {
        let words = printable(words, MAX_WORDS);
        Failure::new(
            cause,
            if words.is_empty() {
                format!("{host}:{port}")
            } else {
                format!("{host}:{port} ({words})")
            },
        )
    };
    if let Some(failure) = of_proxy(fault) {
        return failure;
    }
    if fault.too_large {
        return at(Cause::AnswerTooLarge, "given up after 64 KiB of body or 16 KiB of headers");
    }
    // The device's own half failed, in the middle of the handshake.
    let queue: Vec<QueueEntry> = fault.queue.iter().filter(|e| e.is_modules()).cloned().collect();
    if !queue.is_empty() || quotes_module(&fault.words) {
        let words = format!("while it signed: {} {}", fault.words, in_words(&queue));
        return at(signing_cause(&words), &words);
    }
    if fault
        .queue
        .iter()
        .any(|e| e.reason == "key values mismatch" || e.reason == "key type mismatch")
    {
        return at(Cause::KeyMismatch, &fault.certificate);
    }
    if let Some(alert) = alert(fault) {
        let words = match alert.cause {
            Cause::TlsVersion | Cause::TlsHandshake | Cause::ServerOtherHost => alert.words,
            Cause::TokenFault => {
                format!("the server can't verify the token's signature: alert {}", alert.words)
            }
            _ => format!("alert {}; {}", alert.words, fault.certificate),
        };
        return at(alert.cause, &words);
    }
    match fault.code {
        curl_sys::CURLE_COULDNT_RESOLVE_HOST => at(Cause::Dns, &fault.words),
        curl_sys::CURLE_COULDNT_CONNECT => match fault.errno {
            nix::libc::ECONNREFUSED => at(Cause::ConnectRefused, ""),
            _ => at(Cause::Unreachable, &fault.words),
        },
        curl_sys::CURLE_OPERATION_TIMEDOUT => timed_out(fault, at),
        curl_sys::CURLE_PEER_FAILED_VERIFICATION => not_verified(fault, at),
        curl_sys::CURLE_SSL_CACERT_BADFILE => match &fault.provider.ca_file {
            Some(path) => Failure::new(Cause::CaFileNotPem, path.display().to_string()),
            None => Failure::new(Cause::SystemCaMissing, printable(&fault.words, MAX_WORDS)),
        },
        _ if fault.queue.iter().any(|e| is_version_reason(&e.reason)) => {
            at(Cause::TlsVersion, &in_words(&fault.queue))
        }
        // Through an https proxy's TLS libcurl only sees the handshake end, not that this side did
        // not trust the server.
        curl_sys::CURLE_SSL_CONNECT_ERROR
            if fault.server.as_ref().is_some_and(|server| server.verdict != 0) =>
        {
            not_verified(fault, at)
        }
        curl_sys::CURLE_SSL_CONNECT_ERROR => {
            // A cut in the middle has nothing in the queue but the end of the stream.
            let cut =
                fault.words.contains("SSL_ERROR_SYSCALL") || fault.words.contains("unexpected eof");
            at(if cut { Cause::ConnectionCut } else { Cause::TlsHandshake }, &fault.words)
        }
        curl_sys::CURLE_GOT_NOTHING
        | curl_sys::CURLE_SEND_ERROR
        | curl_sys::CURLE_RECV_ERROR
        | curl_sys::CURLE_PARTIAL_FILE => at(Cause::ConnectionCut, &fault.words),
        curl_sys::CURLE_UNSUPPORTED_PROTOCOL | CURLE_WEIRD_SERVER_REPLY => {
            at(Cause::AnswerNotUnderstood, &fault.words)
        }
        code => at(
            Cause::TransportOther,
            &format!("libcurl code {code}: {} {}", fault.words, in_words(&fault.queue)),
        ),
    }
}

/// What the proxy is to blame for.
fn of_proxy(fault: &TransportFault) -> Option<Failure> {
    let Provider { host, port, .. } = fault.provider;
    let proxy = &fault.provider.proxy.as_ref()?.url;
    let at = |cause, words: &str| {
        let words = printable(words, MAX_WORDS);
        Some(Failure::new(cause, format!("{host}:{port} by way of {proxy} ({words})")))
    };
    match (fault.proxy_status, fault.code) {
        (200..=299, _) => None,
        (0, curl_sys::CURLE_OPERATION_TIMEDOUT) => {
            at(Cause::ProxyUnreachable, &format!("no tunnel in time: {}", fault.words))
        }
        // Until the tunnel stands, all that fails is between this device and the proxy.
        (0, _) if !fault.too_large => at(Cause::ProxyUnreachable, &fault.words),
        (0, _) => None,
        (status @ 500..=599, _) => at(Cause::ProxyUnreachable, &format!("it answers {status}")),
        (407, _) => {
            at(Cause::ProxyRefused, "it answers 407: it wants a user and a password, or others")
        }
        (status, _) => at(Cause::ProxyRefused, &format!("it answers {status}")),
    }
}

/// Some keys ask for the PIN again at each signature: a PIN that is refused there is refused all
/// the same.
pub fn signing_cause(words: &str) -> Cause {
    [
        ("PIN incorrect", Cause::PinIncorrect),
        ("Invalid PIN", Cause::PinIncorrect),
        ("PIN locked", Cause::TokenLockedOut),
        ("PIN expired", Cause::PinExpired),
        // Nobody is asked for anything but a PIN while a key signs.
        ("UI routines", Cause::PinAtEachSignature),
    ]
    .into_iter()
    .find_map(|(reason, cause)| words.contains(reason).then_some(cause))
    .unwrap_or(Cause::TokenFault)
}

/// Something that speaks TLS but not HTTP. curl-sys knows it by its older name only.
const CURLE_WEIRD_SERVER_REPLY: u32 = 8;

fn timed_out(fault: &TransportFault, at: impl Fn(Cause, &str) -> Failure) -> Failure {
    let connect = fault.provider.connect_timeout.as_secs_f32();
    let whole = fault.provider.fetch_timeout.as_secs_f32();
    match fault.phase {
        Phase::Lookup => at(Cause::Dns, &fault.words),
        // Which of the two it was libcurl's times do not tell, its words do.
        Phase::Connect | Phase::Handshake if fault.words.starts_with("SSL ") => at(
            Cause::TlsStalled,
            &format!("no handshake within {connect} s of the start: {}", fault.words),
        ),
        Phase::Connect | Phase::Handshake => {
            at(Cause::ConnectTimeout, &format!("not up within {connect} s: {}", fault.words))
        }
        Phase::Answer => {
            at(Cause::Timeout, &format!("not whole within {whole} s: {}", fault.words))
        }
    }
}

fn not_verified(fault: &TransportFault, at: impl Fn(Cause, &str) -> Failure) -> Failure {
    let server = fault.server.clone().unwrap_or_default();
    let now = fault.now.to_rfc3339_opts(SecondsFormat::Secs, true);
    match server.verdict {
        // X509_V_ERR_CERT_NOT_YET_VALID
        9 => at(
            Cause::ServerCertificateNotYetValid,
            &format!("{} is valid from {}; here it is {now}", server.subject, server.not_before),
        ),
        // X509_V_ERR_CERT_HAS_EXPIRED, and it is a root: those come out of the CA file, not from
        // the server.
        10 if server.is_root && fault.provider.ca_file.is_some() => {
            let path = fault.provider.ca_file.iter().map(|path| path.display().to_string());
            let words = format!(
                "{} was valid until {}; here it is {now}",
                server.subject, server.not_after
            );
            Failure::new(Cause::CaFileExpired, format!("{} ({words})", path.collect::<String>()))
        }
        // X509_V_ERR_CERT_HAS_EXPIRED
        10 => at(
            Cause::ServerCertificateExpired,
            &format!("{} was valid until {}; here it is {now}", server.subject, server.not_after),
        ),
        0 if fault.words.contains("subject name") || fault.words.contains("subjectAltName") => {
            at(Cause::ServerOtherHost, &format!("it is for {}", server.names.join(", ")))
        }
        _ => {
            let trusted = match &fault.provider.ca_file {
                Some(path) => format!("CA file {}", path.display()),
                None => "the system's store".to_owned(),
            };
            let words = if server.words.is_empty() { &fault.words } else { &server.words };
            at(
                Cause::ServerNotTrusted,
                &format!("{words}; issued by {}; trusted is {trusted}", server.issuer),
            )
        }
    }
}

struct Alert {
    cause: Cause,
    words: String,
}

/// The server's TLS alert: OpenSSL's reason is 1000 and the alert's number. libcurl's words hold it
/// where the queue was emptied before it could be read.
fn alert(fault: &TransportFault) -> Option<Alert> {
    let from_queue = fault
        .queue
        .iter()
        .find(|e| e.library == "SSL routines" && (1000..1256).contains(&e.code))
        .map(|e| (e.code - 1000, e.reason.clone()));
    let (number, reason) = from_queue.or_else(|| {
        let (_, words) = fault.words.split_once(" alert ")?;
        let words = words.split(',').next().unwrap_or_default();
        let number = ALERTS.iter().find(|(_, name)| *name == words).map(|(number, _)| *number)?;
        Some((number, words.to_owned()))
    })?;
    let words = reason.split_once("alert ").map_or(reason.as_str(), |(_, words)| words).to_owned();
    let cause = match number {
        // "decrypt error": the server could not verify the signature, which the token made.
        51 => Cause::TokenFault,
        42 | 43 | 49 | 116 => Cause::DeviceCertificateRejected,
        44 => Cause::DeviceCertificateRevoked,
        45 => Cause::DeviceCertificateExpired,
        46 | 48 => Cause::DeviceCertificateUnknown,
        40 | 70 | 71 => Cause::TlsVersion,
        112 => Cause::ServerOtherHost,
        _ => Cause::TlsHandshake,
    };
    Some(Alert { cause, words })
}

/// The alerts that a client meets, in OpenSSL's words.
const ALERTS: &[(u32, &str)] = &[
    (40, "handshake failure"),
    (42, "bad certificate"),
    (43, "unsupported certificate"),
    (44, "certificate revoked"),
    (45, "certificate expired"),
    (46, "certificate unknown"),
    (47, "illegal parameter"),
    (48, "unknown ca"),
    (49, "access denied"),
    (50, "decode error"),
    (51, "decrypt error"),
    (70, "protocol version"),
    (71, "insufficient security"),
    (80, "internal error"),
    (112, "unrecognized name"),
    (116, "certificate required"),
];

fn is_version_reason(reason: &str) -> bool {
    [
        "unsupported protocol",
        "no protocols available",
        "no shared cipher",
        "wrong ssl version",
        "version too low",
    ]
    .contains(&reason)
}

impl ServerCertificate {
    pub fn of(certificate: &X509Ref, verdict: i32, words: String, depth: u32) -> Self {
        let names = certificate.subject_alt_names().into_iter().flatten();
        Self {
            verdict,
            words,
            subject: name_words(certificate.subject_name()),
            issuer: name_words(certificate.issuer_name()),
            is_root: depth > 0
                && certificate
                    .subject_name()
                    .try_cmp(certificate.issuer_name())
                    .is_ok_and(|order| order.is_eq()),
            names: names
                .filter_map(|name| name.dnsname().map(|name| printable(name, 100)))
                .take(MAX_NAMES)
                .collect(),
            not_before: certificate.not_before().to_string(),
            not_after: certificate.not_after().to_string(),
        }
    }
}

/// `CN=device-1, valid until Nov 22 12:00:00 2027 GMT`.
pub fn certificate_words(certificate: &X509Ref) -> String {
    format!("{}, valid until {}", name_words(certificate.subject_name()), certificate.not_after())
}

pub fn name_words(name: &openssl::x509::X509NameRef) -> String {
    let parts = name.entries().map(|entry| {
        let kind = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().map(|value| printable(&value, 80)).unwrap_or_default();
        format!("{kind}={value}")
    });
    parts.collect::<Vec<_>>().join(", ")
}
