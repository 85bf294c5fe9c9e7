//! The device's own files: looked at before anything is asked, because libcurl and OpenSSL explain a missing or
//! wrong file badly.

use std::{fs, io, path::Path};

use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
    x509::{
        X509,
        store::{X509Store, X509StoreBuilder},
        verify::X509VerifyFlags,
    },
};
use zeroize::Zeroizing;

use crate::problems::failure::{Cause, Failure};

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

/// The device's certificate, then the rest of its chain.
pub fn certificates(path: &Path) -> Result<Vec<X509>, Failure> {
    let pem = fs::read(path).map_err(|e| CERTIFICATE.failure(path, &e))?;
    stack(&pem).ok_or_else(|| Failure::new(Cause::CertificateNotPem, path.display().to_string()))
}

/// The authorities of the CA file, and nothing else: libcurl would trust its built-in directory beside them.
pub fn authorities(path: &Path) -> Result<X509Store, Failure> {
    let pem = fs::read(path).map_err(|e| CA_FILE.failure(path, &e))?;
    let not_pem = || Failure::new(Cause::CaFileNotPem, path.display().to_string());
    let certificates = stack(&pem).ok_or_else(not_pem)?;
    // The flags are libcurl's: an intermediate authority in the file is enough of an anchor.
    let build = || -> Result<X509Store, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for certificate in certificates {
            store.add_cert(certificate)?;
        }
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::TRUSTED_FIRST)?;
        Ok(store.build())
    };
    build().map_err(|_| not_pem())
}

fn stack(pem: &[u8]) -> Option<Vec<X509>> {
    X509::stack_from_pem(pem).ok().filter(|certificates| !certificates.is_empty())
}

/// A key from a PEM file.
pub fn key(path: &Path) -> Result<PKey<Private>, Failure> {
    let pem = Zeroizing::new(fs::read(path).map_err(|e| KEY_FILE.failure(path, &e))?);
    // An empty passphrase rather than OpenSSL's own callback, which would prompt.
    PKey::private_key_from_pem_passphrase(&pem, b"")
        .map_err(|_| Failure::new(Cause::KeyFileNotPem, path.display().to_string()))
}

/// Whether the certificate was issued for the key.
pub fn check_match(
    chain: &[X509],
    certificate: &Path,
    key: &PKey<Private>,
    key_words: &str,
) -> Result<(), Failure> {
    let fits = match chain.first().map(|leaf| leaf.public_key()) {
        Some(Ok(public)) => public.public_eq(key),
        _ => {
            return Err(Failure::new(Cause::CertificateNotPem, certificate.display().to_string()));
        }
    };
    if fits {
        return Ok(());
    }
    Err(Failure::new(
        Cause::KeyMismatch,
        format!("certificate {}, key {key_words}", certificate.display()),
    ))
}
