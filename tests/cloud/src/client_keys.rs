//! Clients' signatures by OpenSSL: the device may have any key that the device authority signed.
//!
//! rustls with ring knows neither P-521 nor keys that are for RSA-PSS alone. So it looks at the chain of
//! a client's certificate, and the handshake's signature is verified here.

use std::sync::Arc;

use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    rsa::Padding,
    sign::{RsaPssSaltlen, Verifier},
    x509::X509,
};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

/// Looks at chains as `chains` does, and takes signatures of each kind in `SCHEMES`.
#[derive(Debug)]
pub struct AnyKey {
    pub chains: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.chains.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.iter().map(|(code, ..)| SignatureScheme::from(*code)).collect()
    }
}

fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let code = u16::from(signature.scheme);
    let Some((_, digest, padding)) = SCHEMES.iter().find(|(known, ..)| *known == code) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    match is_signature(message, certificate, signature.signature(), digest(), *padding) {
        Ok(true) => Ok(HandshakeSignatureValid::assertion()),
        Ok(false) => Err(CertificateError::BadSignature.into()),
        Err(error) => Err(Error::General(format!("the client's signature: {error}"))),
    }
}

fn is_signature(
    message: &[u8],
    certificate: &[u8],
    signature: &[u8],
    digest: MessageDigest,
    padding: Option<Padding>,
) -> Result<bool, ErrorStack> {
    let key = X509::from_der(certificate)?.public_key()?;
    let mut verifier = Verifier::new(digest, &key)?;
    if let Some(padding) = padding {
        verifier.set_rsa_padding(padding)?;
        if padding == Padding::PKCS1_PSS {
            verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
    }
    verifier.verify_oneshot(signature, message)
}

type Scheme = (u16, fn() -> MessageDigest, Option<Padding>);

/// TLS's numbers of the signatures that are taken (RFC 8446, 4.2.3).
const SCHEMES: &[Scheme] = &[
    // ecdsa_secp256r1_sha256, secp384r1_sha384, secp521r1_sha512
    (0x0403, MessageDigest::sha256, None),
    (0x0503, MessageDigest::sha384, None),
    (0x0603, MessageDigest::sha512, None),
    // rsa_pss_rsae: an RSA key
    (0x0804, MessageDigest::sha256, Some(Padding::PKCS1_PSS)),
    (0x0805, MessageDigest::sha384, Some(Padding::PKCS1_PSS)),
    (0x0806, MessageDigest::sha512, Some(Padding::PKCS1_PSS)),
    // rsa_pss_pss: a key that is for RSA-PSS alone
    (0x0809, MessageDigest::sha256, Some(Padding::PKCS1_PSS)),
    (0x080a, MessageDigest::sha384, Some(Padding::PKCS1_PSS)),
    (0x080b, MessageDigest::sha512, Some(Padding::PKCS1_PSS)),
    // rsa_pkcs1, in TLS 1.2 alone
    (0x0401, MessageDigest::sha256, Some(Padding::PKCS1)),
    (0x0501, MessageDigest::sha384, Some(Padding::PKCS1)),
    (0x0601, MessageDigest::sha512, Some(Padding::PKCS1)),
];
