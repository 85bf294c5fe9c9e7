//! Whether a key and a certificate belong together: by comparison, or by a signature that is
//! verified in software.
//!
//! Nothing is verified through the token. OpenSSL takes a public key into the provider that has the
//! private one, and there pkcs11-provider 1.0 finds no key, 1.3.0 waits for itself, and what is
//! left in a TPM without a resource manager fails every later fetch. So the certificate's key is
//! taken apart, put together anew from its numbers, and used by functions that know no provider.

use std::path::Path;

use openssl::{
    bn::BigNumContext,
    ec::{EcKey, EcPoint, PointConversionForm},
    ecdsa::EcdsaSig,
    error::ErrorStack,
    hash::{MessageDigest, hash},
    pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public},
    rsa::{Padding, Rsa},
    sign::{Signer, Verifier},
    x509::X509,
};

use super::{
    observed::{entries, in_words, take_queue},
    text::printable,
    transport::signing_cause,
};
use crate::{
    fetch::{openssl::give_public_half, pem},
    problems::failure::{Cause, Failure},
};

/// What is signed: a text that means nothing to anybody.
const TEXT: &[u8] = b"edgerotate looks whether this key signs";

const MAX_WORDS: usize = 300;

/// A certificate's public key, and the file it is from.
pub struct Certified<'a> {
    pub key: PKey<Public>,
    pub file: &'a Path,
    /// It is no device's.
    is_authority: bool,
}

impl<'a> Certified<'a> {
    pub fn of(chain: &[X509], file: &'a Path) -> Result<Self, Failure> {
        let is_authority = chain.first().is_some_and(pem::is_authority);
        match chain.first().map(|leaf| leaf.public_key()) {
            Some(Ok(key)) => Ok(Self { key, file, is_authority }),
            _ => {
                let _ = take_queue();
                Err(Failure::new(Cause::CertificateNotPem, file.display().to_string()))
            }
        }
    }

    fn with(&self, cause: Cause, key_words: &str) -> Failure {
        let authority = match self.is_authority {
            true => " (an authority's: the device's own is missing in it)",
            false => "",
        };
        let file = self.file.display();
        Failure::new(cause, format!("certificate {file}{authority}, key {key_words}"))
    }
}

/// Whether the certificate was issued for the key.
///
/// A key whose public half the token does not have gets the certificate's, and has to prove by a
/// signature that it is its own. Vendors' tools and imports often leave the private key alone.
pub fn check_match(
    certified: &Certified,
    key: &PKey<Private>,
    key_words: &str,
) -> Result<(), Failure> {
    if certified.key.public_eq(key) {
        return Ok(());
    }
    let _ = take_queue();
    let has_public_half = key.public_key_to_der().is_ok();
    let _ = take_queue();
    if has_public_half {
        return Err(certified.with(Cause::KeyMismatch, key_words));
    }
    if !give_public_half(key, &certified.key) {
        let _ = take_queue();
        return Err(Failure::new(Cause::PublicKeyMissing, key_words));
    }
    prove(key, Some(certified), key_words)
}

/// Has the key sign, and looks whether the signature fits the certificate; the key itself, where
/// there is none.
///
/// # Errors
/// That the token failed, refused a PIN, or signed something else.
pub fn prove(
    key: &PKey<Private>,
    certified: Option<&Certified>,
    key_words: &str,
) -> Result<(), Failure> {
    // What is left in OpenSSL's queue from before would be taken for this signature's.
    let _ = take_queue();
    let digest = match key.id() {
        // Edwards curves have a digest of their own.
        Id::ED25519 | Id::ED448 => None,
        _ => Some(MessageDigest::sha256()),
    };
    let signature = sign(key, digest).map_err(|e| {
        let said = printable(&in_words(&entries(&e)), MAX_WORDS);
        Failure::new(signing_cause(&said), format!("{key_words} (while it signed: {said})"))
    })?;
    let verified = match certified {
        Some(certified) => verify(&certified.key, digest, &signature),
        // A token need not give the public half away, and there is no certificate that would: that
        // it signs must do.
        None if key.public_key_to_der().is_err() => {
            let _ = take_queue();
            Ok(true)
        }
        None => verify(key, digest, &signature),
    };
    match (verified, certified) {
        (Ok(true), _) => Ok(()),
        (Ok(false), Some(certified)) => Err(certified.with(Cause::SignatureMismatch, key_words)),
        (Ok(false), None) => {
            let what = format!("{key_words} (its signature does not fit its public key)");
            Err(Failure::new(Cause::TokenFault, what))
        }
        (Err(e), _) => {
            let said = printable(&in_words(&entries(&e)), MAX_WORDS);
            let what = format!("{key_words} (it signed; while that was verified: {said})");
            Err(Failure::new(Cause::TokenFault, what))
        }
    }
}

fn sign(key: &PKey<Private>, digest: Option<MessageDigest>) -> Result<Vec<u8>, ErrorStack> {
    let mut signer = match digest {
        Some(digest) => Signer::new(digest, key)?,
        None => Signer::new_without_digest(key)?,
    };
    signer.sign_oneshot_to_vec(TEXT)
}

fn verify(
    key: &PKeyRef<impl HasPublic>,
    digest: Option<MessageDigest>,
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    match (key.id(), digest) {
        (Id::EC, Some(digest)) => {
            let key = key.ec_key()?;
            let mut context = BigNumContext::new()?;
            let form = PointConversionForm::UNCOMPRESSED;
            let bytes = key.public_key().to_bytes(key.group(), form, &mut context)?;
            let point = EcPoint::from_bytes(key.group(), &bytes, &mut context)?;
            let key = EcKey::from_public_key(key.group(), &point)?;
            EcdsaSig::from_der(signature)?.verify(&hash(digest, TEXT)?, &key)
        }
        (Id::RSA, Some(digest)) => {
            let key = key.rsa()?;
            let key = Rsa::from_public_components(key.n().to_owned()?, key.e().to_owned()?)?;
            let mut opened = vec![0; key.size() as usize];
            // It fails where the padding is none: where another key signed.
            let Ok(length) = key.public_decrypt(signature, &mut opened, Padding::PKCS1) else {
                let _ = take_queue();
                return Ok(false);
            };
            let info = [SHA256_INFO, &*hash(digest, TEXT)?].concat();
            Ok(opened[..length] == info)
        }
        (_, digest) => {
            let mut verifier = match digest {
                Some(digest) => Verifier::new(digest, key)?,
                None => Verifier::new_without_digest(key)?,
            };
            verifier.verify_oneshot(signature, TEXT)
        }
    }
}

/// What stands before a SHA-256 digest in an RSA signature (RFC 8017, section 9.2, note 1).
const SHA256_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

#[cfg(test)]
mod tests {
    use openssl::{ec::EcGroup, nid::Nid};

    use super::*;

    fn p_256() -> PKey<Private> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn certified(key: &PKey<Private>) -> Certified<'static> {
        let key = PKey::public_key_from_der(&key.public_key_to_der().unwrap()).unwrap();
        Certified { key, file: Path::new("/c.pem"), is_authority: false }
    }

    #[test]
    fn a_signature_proves_the_pair_and_no_other() {
        let rsa = || PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let edwards = || PKey::generate_ed25519().unwrap();
        for (key, other) in [(p_256(), p_256()), (rsa(), rsa()), (edwards(), edwards())] {
            assert_eq!(prove(&key, Some(&certified(&key)), "k"), Ok(()));
            assert_eq!(prove(&key, None, "k"), Ok(()));
            assert_eq!(check_match(&certified(&key), &key, "k"), Ok(()));
            let failure = prove(&key, Some(&certified(&other)), "k").unwrap_err();
            assert_eq!(failure.cause, Cause::SignatureMismatch, "{failure}");
            let failure = check_match(&certified(&other), &key, "k").unwrap_err();
            assert_eq!(failure.cause, Cause::KeyMismatch);
        }
    }
}
