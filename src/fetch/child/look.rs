//! A look at the device's own part of a fetch: everything that goes before the network, told part by part.
//!
//! The proof that a key can be used is a signature. It is made here and checked here, so it works offline too.

use chrono::{DateTime, Utc};
use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{HasPublic, Id, PKey, PKeyRef, Private},
    sign::{Signer, Verifier},
    x509::{X509, X509Ref},
};

use super::{
    Kept,
    observed::{entries, in_words},
    request,
    text::printable,
    transport::{name_words, signing_cause},
};
use crate::{
    fetch::{
        child, material,
        protocol::{CertificateFacts, KeyFacts, Looked, Order, Purpose},
    },
    problems::failure::{Cause, Failure},
    settings::PrivateKey,
};

/// What is signed: a text that means nothing to anybody.
const TEXT: &[u8] = b"edgerotate looks whether this key signs";

const MAX_WORDS: usize = 300;

pub fn look(order: &Order, kept: &mut Kept) -> Looked {
    let provider = &order.provider;
    let chain = material::certificates(&provider.certificate);
    let authorities = provider.ca_file.as_deref().map(|path| material::authorities(path).map(drop));
    if order.purpose == Purpose::LookAtFiles {
        let certificate = Some(certificate(chain, order));
        return Looked { certificate, authorities, key: None, without_pin: None, pair: None };
    }
    let opened = request::check_tls_backend().and_then(|()| child::open(order, kept));
    let without_pin = match (&opened, &provider.key) {
        (Err(failure), PrivateKey::Token(token)) if is_of_pin(failure.cause) => {
            Some(kept.look_without_pin(token))
        }
        _ => None,
    };
    let pair = match (&opened, &chain) {
        (Ok((key, words)), Ok(chain)) => {
            Some(material::check_match(chain, &provider.certificate, key, words))
        }
        _ => None,
    };
    let key = opened.and_then(|(key, words)| {
        let proven = sign(&key).map_err(|e| {
            let said = printable(&in_words(&entries(&e)), MAX_WORDS);
            let failure =
                Failure::new(signing_cause(&said), format!("{words} (while it signed: {said})"));
            child::remember(failure, order, kept)
        })?;
        if !proven {
            let what = format!("{words} (its signature does not fit its public key)");
            return Err(Failure::new(Cause::TokenFault, what));
        }
        Ok(KeyFacts { kind: kind(&key) })
    });
    Looked {
        certificate: Some(certificate(chain, order)),
        authorities,
        key: Some(key),
        without_pin,
        pair,
    }
}

fn certificate(
    chain: Result<Vec<X509>, Failure>,
    order: &Order,
) -> Result<CertificateFacts, Failure> {
    let chain = chain?;
    let facts = chain.first().and_then(|leaf| facts(leaf));
    facts.ok_or_else(|| {
        let path = order.provider.certificate.display().to_string();
        Failure::new(Cause::CertificateNotPem, path)
    })
}

/// Whether it was found before the module was asked anything, so that nothing is known of the module.
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

fn sign(key: &PKey<Private>) -> Result<bool, ErrorStack> {
    // Edwards curves have a digest of their own.
    let digest = match key.id() {
        Id::ED25519 | Id::ED448 => None,
        _ => Some(MessageDigest::sha256()),
    };
    let mut signer = match digest {
        Some(digest) => Signer::new(digest, key)?,
        None => Signer::new_without_digest(key)?,
    };
    let signature = signer.sign_oneshot_to_vec(TEXT)?;
    verify(key, digest, &signature)
}

fn verify(
    key: &PKeyRef<impl HasPublic>,
    digest: Option<MessageDigest>,
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let mut verifier = match digest {
        Some(digest) => Verifier::new(digest, key)?,
        None => Verifier::new_without_digest(key)?,
    };
    verifier.verify_oneshot(signature, TEXT)
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

    #[test]
    fn a_key_proves_itself() {
        for key in [PKey::generate_ed25519().unwrap(), {
            let group = openssl::ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
            PKey::from_ec_key(openssl::ec::EcKey::generate(&group).unwrap()).unwrap()
        }] {
            assert!(sign(&key).unwrap());
            assert!(
                kind(&key).ends_with("25519, 253 bits")
                    || kind(&key) == "EC, 256 bits"
                    || kind(&key).starts_with("Ed25519")
            );
        }
    }
}
