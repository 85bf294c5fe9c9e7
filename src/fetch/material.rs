//! The device's own files: looked at before anything is asked, because libcurl and OpenSSL explain
//! a missing or wrong file badly.

use std::{fs, io, path::Path};

use openssl::{
    error::ErrorStack,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{SslContextBuilder, SslMethod},
    x509::{
        X509,
        store::{X509Store, X509StoreBuilder},
        verify::X509VerifyFlags,
    },
};
use zeroize::Zeroizing;

use crate::{
    fetch::pem,
    problems::failure::{Cause, Failure},
};

/// What becomes of a file that is missing, forbidden, unreadable.
pub struct FileCauses {
    pub missing: Cause,
    pub not_permitted: Cause,
    pub unreadable: Cause,
}

pub const CERTIFICATE: FileCauses = FileCauses {
    missing: Cause::CertificateMissing,
    not_permitted: Cause::CertificateNotPermitted,
    unreadable: Cause::CertificateUnreadable,
};
pub const KEY_FILE: FileCauses = FileCauses {
    missing: Cause::KeyFileMissing,
    not_permitted: Cause::KeyFileNotPermitted,
    unreadable: Cause::KeyFileUnreadable,
};
pub const CA_FILE: FileCauses = FileCauses {
    missing: Cause::CaFileMissing,
    not_permitted: Cause::CaFileNotPermitted,
    unreadable: Cause::CaFileUnreadable,
};

pub const PIN_FILE: FileCauses = FileCauses {
    missing: Cause::PinFileMissing,
    not_permitted: Cause::PinFileNotPermitted,
    unreadable: Cause::PinFileUnreadable,
};

impl FileCauses {
    pub fn failure(&self, path: &Path, error: &io::Error) -> Failure {
        let cause = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => self.missing,
            io::ErrorKind::PermissionDenied => self.not_permitted,
            _ => self.unreadable,
        };
        Failure::new(cause, format!("{} ({})", path.display(), io_words(error)))
    }
}

/// The error without Rust's ` (os error 2)`.
pub fn io_words(error: &io::Error) -> String {
    let words = error.to_string();
    words.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The device's certificate, then the rest of its chain; in that order, whatever the file's.
///
/// # Errors
/// The file can't be read, holds none, or this device's OpenSSL does not take the certificate.
pub fn certificates(path: &Path) -> Result<Vec<X509>, Failure> {
    let bytes = fs::read(path).map_err(|e| CERTIFICATE.failure(path, &e))?;
    let certificates = pem::certificates(&bytes).map_err(|words| {
        Failure::new(Cause::CertificateNotPem, format!("{} ({words})", path.display()))
    })?;
    let chain = pem::in_order(certificates);
    match refusal(&chain) {
        Some(words) => {
            Err(Failure::new(Cause::CertificateTooWeak, format!("{} ({words})", path.display())))
        }
        None => Ok(chain),
    }
}

/// Why this OpenSSL, or AWS IoT, does not take a certificate: found out before the network is
/// asked, since libcurl would make a failed request of it.
fn refusal(chain: &[X509]) -> Option<String> {
    let tried = || -> Result<(), ErrorStack> {
        let mut tls = SslContextBuilder::new(SslMethod::tls_client())?;
        let (leaf, rest) = chain.split_first().ok_or_else(ErrorStack::get)?;
        tls.set_certificate(leaf)?;
        rest.iter().try_for_each(|one| tls.add_extra_chain_cert(one.clone()))
    };
    if let Err(errors) = tried() {
        let reason = errors.errors().iter().find_map(|error| error.reason());
        return Some(format!("OpenSSL: {}", reason.unwrap_or("it is not taken")));
    }
    // These are what AWS IoT takes; with another curve OpenSSL would show the server no certificate
    // at all.
    let curve = chain.first()?.public_key().ok()?.ec_key().ok()?.group().curve_name()?;
    let is_known = [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1].contains(&curve);
    let name = curve.short_name().unwrap_or("unknown");
    (!is_known).then(|| format!("its key is on the curve {name}; known are P-256, P-384 and P-521"))
}

/// Who is trusted, and nobody else.
pub struct Authorities {
    pub store: X509Store,
    /// The same for libcurl, which reads nothing but plain PEM.
    pub pem: Vec<u8>,
}

/// The authorities of the CA file, and nothing else: libcurl would trust its built-in directory
/// beside them.
pub fn authorities(path: &Path) -> Result<Authorities, Failure> {
    let bytes = fs::read(path).map_err(|e| CA_FILE.failure(path, &e))?;
    let not_pem =
        |words: &str| Failure::new(Cause::CaFileNotPem, format!("{} ({words})", path.display()));
    let certificates = pem::certificates(&bytes).map_err(|words| not_pem(&words))?;
    // The flags are libcurl's: an intermediate authority in the file is enough of an anchor.
    let build = || -> Result<Authorities, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        let mut pem = Vec::new();
        for certificate in certificates {
            pem.extend(certificate.to_pem()?);
            store.add_cert(certificate)?;
        }
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::TRUSTED_FIRST)?;
        Ok(Authorities { store: store.build(), pem })
    };
    build().map_err(|_| not_pem("OpenSSL does not take them"))
}

/// A key from a PEM file.
pub fn key(path: &Path) -> Result<PKey<Private>, Failure> {
    let bytes = Zeroizing::new(fs::read(path).map_err(|e| KEY_FILE.failure(path, &e))?);
    // An empty passphrase rather than OpenSSL's own callback, which would prompt.
    PKey::private_key_from_pem_passphrase(&bytes, b"").map_err(|_| {
        let words = pem::without_key(&bytes);
        Failure::new(Cause::KeyFileNotPem, format!("{} ({words})", path.display()))
    })
}
