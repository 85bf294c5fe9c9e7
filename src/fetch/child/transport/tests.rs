//! What libcurl, OpenSSL and servers say, and the causes that are made of it.

use std::{path::PathBuf, time::Duration};

use super::*;
use crate::settings::PrivateKey;

fn provider() -> Provider {
    Provider {
        host: "x.credentials.iot.eu-west-1.amazonaws.com".to_owned(),
        port: 443,
        role_alias: "alias".to_owned(),
        thing_name: None,
        certificate: PathBuf::from("/data/device.pem"),
        key: PrivateKey::File(PathBuf::from("/data/device.key")),
        ca_file: Some(PathBuf::from("/etc/ca.pem")),
        proxy: None,
        connect_timeout: Duration::from_secs(10),
        fetch_timeout: Duration::from_secs(30),
        fetch_deadline: Duration::from_secs(60),
        lead: Duration::from_secs(300),
        boot_spread: Duration::ZERO,
    }
}

fn fault<'a>(provider: &'a Provider, code: u32, words: &str) -> TransportFault<'a> {
    TransportFault {
        code,
        words: words.to_owned(),
        phase: Phase::Handshake,
        errno: 0,
        queue: Vec::new(),
        too_large: false,
        proxy_status: 0,
        server: None,
        certificate: "CN=device-1, valid until Nov 22 12:00:00 2027 GMT".to_owned(),
        provider,
        now: DateTime::UNIX_EPOCH,
    }
}

fn ssl(code: u32, reason: &str) -> Vec<QueueEntry> {
    let (library, reason) = ("SSL routines".to_owned(), reason.to_owned());
    vec![QueueEntry { library, code, reason, data: String::new() }]
}

/// libcurl's codes and words as 7.88 (OpenSSL 3.0) and 8.14 (OpenSSL 3.5) gave them.
#[test]
fn what_libcurl_says() {
    let provider = provider();
    for (code, words, cause) in [
        (6, "Could not resolve host: x", Cause::Dns),
        (
            7,
            "Failed to connect to x port 443 after 3 ms: Couldn't connect to server",
            Cause::Unreachable,
        ),
        (28, "SSL connection timeout", Cause::TlsStalled),
        (28, "Connection timed out after 1001 milliseconds", Cause::ConnectTimeout),
        (
            35,
            "OpenSSL/3.0.22: error:0A00010B:SSL routines::wrong version number",
            Cause::TlsHandshake,
        ),
        (
            35,
            "TLS connect error: error:0A000126:SSL routines::unexpected eof while reading",
            Cause::ConnectionCut,
        ),
        (
            35,
            "OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to x:443 ",
            Cause::ConnectionCut,
        ),
        (52, "Empty reply from server", Cause::ConnectionCut),
        (
            56,
            "OpenSSL SSL_read: OpenSSL/3.0.22: error:0A000126:SSL routines::unexpected eof while \
             reading, errno 0",
            Cause::ConnectionCut,
        ),
        (18, "transfer closed with 434 bytes remaining to read", Cause::ConnectionCut),
        (
            56,
            "OpenSSL SSL_read: OpenSSL/3.0.22: error:0A000415:SSL routines::sslv3 alert \
             certificate expired, errno 0",
            Cause::DeviceCertificateExpired,
        ),
        (
            56,
            "OpenSSL SSL_read: OpenSSL/3.5.7: error:0A000418:SSL routines::tlsv1 alert unknown ca, \
             errno 0",
            Cause::DeviceCertificateUnknown,
        ),
        (
            35,
            "OpenSSL/3.0.22: error:0A00042E:SSL routines::tlsv1 alert protocol version",
            Cause::TlsVersion,
        ),
        (35, "OpenSSL/3.0.22: error:41800090:PKCS#11 module::Operation active", Cause::TokenFault),
        (
            35,
            "TLS connect error: error:40800030:pkcs11::Some problem has occurred with the token \
             and/or slot",
            Cause::TokenFault,
        ),
        (35, "OpenSSL/3.0.22: error:418000A0:PKCS#11 module::PIN incorrect", Cause::PinIncorrect),
        (
            60,
            "SSL certificate problem: unable to get local issuer certificate",
            Cause::ServerNotTrusted,
        ),
        (
            60,
            "SSL: no alternative certificate subject name matches target host name 'x'",
            Cause::ServerOtherHost,
        ),
        (77, "error setting certificate file: /etc/ca.pem", Cause::CaFileNotPem),
        (8, "Weird server reply", Cause::AnswerNotUnderstood),
        (1, "Received HTTP/0.9 when not allowed", Cause::AnswerNotUnderstood),
        (27, "Out of memory", Cause::TransportOther),
    ] {
        let failure = explain(&fault(&provider, code, words));
        assert_eq!(failure.cause, cause, "{code} {words}: {failure}");
    }
}

#[test]
fn what_the_phase_and_the_system_say() {
    let provider = provider();
    let with = |change: &dyn Fn(&mut TransportFault)| {
        let mut fault = fault(&provider, 28, "Operation timed out");
        change(&mut fault);
        explain(&fault)
    };
    assert_eq!(with(&|f| f.phase = Phase::Lookup).cause, Cause::Dns);
    assert_eq!(with(&|f| f.phase = Phase::Connect).cause, Cause::ConnectTimeout);
    assert_eq!(with(&|f| f.phase = Phase::Answer).cause, Cause::Timeout);
    let refused = with(&|f| (f.code, f.errno) = (7, nix::libc::ECONNREFUSED));
    assert_eq!(refused.cause, Cause::ConnectRefused);
    assert_eq!(refused.detail, "x.credentials.iot.eu-west-1.amazonaws.com:443");
    assert_eq!(with(&|f| f.too_large = true).cause, Cause::AnswerTooLarge);
}

#[test]
fn alerts_by_their_number_whatever_openssl_calls_them() {
    let provider = provider();
    for (number, reason, cause) in [
        (42, "sslv3 alert bad certificate", Cause::DeviceCertificateRejected),
        (44, "sslv3 alert certificate revoked", Cause::DeviceCertificateRevoked),
        (45, "ssl/tls alert certificate expired", Cause::DeviceCertificateExpired),
        (46, "sslv3 alert certificate unknown", Cause::DeviceCertificateUnknown),
        (48, "tlsv1 alert unknown ca", Cause::DeviceCertificateUnknown),
        (49, "tlsv1 alert access denied", Cause::DeviceCertificateRejected),
        // The server could not verify the signature: the token made it, not AWS.
        (51, "tlsv1 alert decrypt error", Cause::TokenFault),
        (116, "tlsv13 alert certificate required", Cause::DeviceCertificateRejected),
        (40, "sslv3 alert handshake failure", Cause::TlsVersion),
        (112, "tlsv1 unrecognized name", Cause::ServerOtherHost),
        (80, "tlsv1 alert internal error", Cause::TlsHandshake),
    ] {
        for code in [35, 56] {
            let mut fault = fault(&provider, code, "");
            fault.queue = ssl(1000 + number, reason);
            let failure = explain(&fault);
            assert_eq!(failure.cause, cause, "{failure}");
            if failure.cause.name().starts_with("device-") {
                assert!(failure.detail.contains("CN=device-1, valid until"), "{failure}");
            }
        }
    }
}

#[test]
fn a_certificate_out_of_its_time_is_shown_beside_the_devices_clock() {
    let provider = provider();
    for (verdict, cause) in
        [(9, Cause::ServerCertificateNotYetValid), (10, Cause::ServerCertificateExpired)]
    {
        let mut fault = fault(&provider, 60, "SSL certificate problem");
        let subject = "CN=x".to_owned();
        fault.server = Some(ServerCertificate { verdict, subject, ..ServerCertificate::default() });
        let failure = explain(&fault);
        assert_eq!(failure.cause, cause);
        assert!(failure.detail.contains("here it is 1970-01-01T00:00:00Z"), "{failure}");
    }
}

#[test]
fn what_a_server_calls_itself_stays_one_line() {
    let provider = provider();
    let mut fault = fault(&provider, 60, "SSL certificate problem: self-signed certificate");
    fault.server = Some(ServerCertificate {
        verdict: 18,
        words: "self-signed certificate".to_owned(),
        issuer: "CN=a\n\u{1b}[2Jb".to_owned(),
        ..ServerCertificate::default()
    });
    let failure = explain(&fault);
    assert_eq!(failure.cause, Cause::ServerNotTrusted);
    assert!(!failure.to_string().contains(['\n', '\u{1b}']));
}
