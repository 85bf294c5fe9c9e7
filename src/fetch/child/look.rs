//! A look at the device's own part of a fetch: everything that goes before the network, told part
//! by part.
//!
//! The proof that a key can be used is a signature. It is made here and checked here, so it works
//! offline too.

use chrono::{DateTime, Utc};
use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    nid::Nid,
    pkey::{Id, PKey, Private},
    x509::{X509, X509Ref},
};

use super::{
    key::{self, ChildState},
    proof::{self, Certified},
    request,
    text::printable,
    transport::name_words,
};
use crate::{
    fetch::{
        material,
        protocol::{CertificateFacts, FetchOrder, KeyFacts, Looked, Purpose},
    },
    problems::failure::{Cause, Failure},
    settings::PrivateKey,
};

pub fn look(order: &FetchOrder, kept: &mut ChildState) -> Looked {
    let provider = &order.provider;
    let chain = material::certificates(&provider.certificate);
    let authorities = provider.ca_file.as_deref().map(|path| material::authorities(path).map(drop));
    let proxy_file = request::proxy_user(provider).map(drop).err();
    if order.purpose == Purpose::LookAtFiles {
        let certificate = Some(certificate(chain, order));
        let (key, without_pin, pair) = (None, None, None);
        return Looked { certificate, authorities, proxy_file, key, without_pin, pair };
    }
    let opened = request::check_tls_backend().and_then(|()| key::open(order, kept));
    let without_pin = match (&opened, &provider.key) {
        (Err(failure), PrivateKey::Token(token)) if is_of_pin(failure.cause) => {
            Some(kept.look_without_pin(token))
        }
        _ => None,
    };
    let certified = match &chain {
        Ok(chain) => Some(Certified::of(chain, &provider.certificate)),
        Err(_) => None,
    };
    let remember = |failure| key::remember(failure, order, kept);
    let pair = match (&opened, &certified) {
        (Ok((key, words)), Some(Ok(certified))) => {
            Some(proof::check_match(certified, key, words).map_err(remember))
        }
        (Ok(_), Some(Err(failure))) => Some(Err(failure.clone())),
        _ => None,
    };
    let key = opened.and_then(|(key, words)| {
        // With a certificate of another key, the key's own public half has to do.
        let certified = certified.as_ref().filter(|_| matches!(pair, Some(Ok(()))));
        let certified = certified.and_then(|certified| certified.as_ref().ok());
        match &pair {
            // It could not be proven, whatever the signature of that proof was.
            Some(Err(failure)) if failure.cause != Cause::KeyMismatch => Err(failure.clone()),
            _ => proof::prove(&key, certified, &words).map_err(remember),
        }
        .map(|()| KeyFacts { kind: kind(&key) })
    });
    Looked {
        certificate: Some(certificate(chain, order)),
        authorities,
        proxy_file,
        key: Some(key),
        without_pin,
        pair,
    }
}

fn certificate(
    chain: Result<Vec<X509>, Failure>,
    order: &FetchOrder,
) -> Result<CertificateFacts, Failure> {
    let chain = chain?;
    let facts = chain.first().and_then(|leaf| facts(leaf));
    facts.ok_or_else(|| {
        let path = order.provider.certificate.display().to_string();
        Failure::new(Cause::CertificateNotPem, path)
    })
}

/// Whether it was found before the module was asked anything, so that nothing is known of the
/// module.
fn is_of_pin(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::PinFileMissing
            | Cause::PinFileNotPermitted
            | Cause::PinFileUnreadable
            | Cause::PinFileEmpty
            | Cause::PinUnfit
            | Cause::PinUnguarded
            | Cause::PinRefusedEarlier
            | Cause::PinUncertain
    )
}

fn kind(key: &PKey<Private>) -> String {
    let name = match key.id() {
        Id::EC => "EC",
        Id::RSA => "RSA",
        Id::ED25519 => "Ed25519",
        Id::ED448 => "Ed448",
        _ => "of another kind",
    };
    format!("{name}, {} bits", key.bits())
}

fn facts(certificate: &X509Ref) -> Option<CertificateFacts> {
    let subject = certificate.subject_name();
    let common_name = subject.entries_by_nid(Nid::COMMONNAME).next();
    Some(CertificateFacts {
        subject: name_words(subject),
        common_name: common_name
            .and_then(|entry| entry.data().to_string().ok())
            .map(|name| printable(&name, 128)),
        not_before: time(certificate.not_before())?,
        not_after: time(certificate.not_after())?,
    })
}

fn time(time: &Asn1TimeRef) -> Option<DateTime<Utc>> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    DateTime::from_timestamp(i64::from(since.days) * 86_400 + i64::from(since.secs), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_certificate_s_times() {
        for (text, expected) in [
            ("20491231235959Z", "2049-12-31T23:59:59+00:00"),
            ("20180118081806Z", "2018-01-18T08:18:06+00:00"),
        ] {
            let asn1 = Asn1Time::from_str_x509(text).unwrap();
            assert_eq!(time(&asn1).unwrap().to_rfc3339(), expected);
        }
    }
}
