//! Where a failed fetch stands among the steps, and what the update gate makes of it.

use super::step::Step;
use crate::{
    problems::{failure::Cause, finding::Gate},
    settings::{PrivateKey, Provider},
};

/// The step that a cause belongs to. The steps before it went well.
pub fn step(cause: Cause, provider: &Provider) -> Step {
    match cause {
        Cause::CertificateMissing
        | Cause::CertificateNotPermitted
        | Cause::CertificateUnreadable => Step::CertificateFile,
        Cause::CertificateNotPem | Cause::CertificateTooWeak => Step::Certificate,
        Cause::KeyFileMissing | Cause::KeyFileNotPermitted | Cause::KeyFileUnreadable => {
            Step::KeyFile
        }
        Cause::KeyMismatch | Cause::SignatureMismatch => Step::Pair,
        Cause::CaFileMissing
        | Cause::CaFileNotPermitted
        | Cause::CaFileUnreadable
        | Cause::CaFileNotPem
        | Cause::CaFileExpired
        | Cause::SystemCaMissing => Step::CaFile,
        Cause::OpensslMissing if is_file(provider) => Step::Key,
        Cause::OpensslMissing
        | Cause::EngineMissing
        | Cause::ProviderMissing
        | Cause::ModuleMissing
        | Cause::ModuleNotPermitted
        | Cause::ModuleNotLoadable
        | Cause::ModuleNotPkcs11
        | Cause::ModuleRefuses
        | Cause::ModuleNotStarted => Step::Module,
        Cause::TokenLockUnusable
        | Cause::TokenBusy
        | Cause::TokenMissing
        | Cause::TokenAbsent
        | Cause::TokenNotInitialized
        | Cause::TokenAmbiguous => Step::Token,
        Cause::KeyFileNotPem
        | Cause::KeyUriInvalid
        | Cause::KeyObjectMissing
        | Cause::PinAtEachSignature
        | Cause::PublicKeyMissing
        | Cause::TokenFault => Step::Key,
        Cause::PinFileMissing
        | Cause::PinFileNotPermitted
        | Cause::PinFileUnreadable
        | Cause::PinFileEmpty => Step::PinFile,
        Cause::PinUnfit
        | Cause::PinNeeded
        | Cause::PinNotSet
        | Cause::PinUnguarded
        | Cause::PinIncorrect
        | Cause::PinLocked
        | Cause::TokenLockedOut
        | Cause::LoginUnanswered
        | Cause::PinExpired
        | Cause::PinRefusedEarlier
        | Cause::PinUncertain => Step::Pin,
        Cause::Dns
        | Cause::ConnectRefused
        | Cause::Unreachable
        | Cause::ConnectTimeout
        | Cause::ProxyUnreachable
        | Cause::ProxyRefused
        | Cause::ProxyFileUnusable
        | Cause::ConnectionCut
        | Cause::TransportOther => Step::Endpoint,
        Cause::ServerNotTrusted
        | Cause::ServerOtherHost
        | Cause::ServerCertificateExpired
        | Cause::ServerCertificateNotYetValid
        | Cause::TlsStalled
        | Cause::TlsHandshake
        | Cause::TlsVersion
        | Cause::DeviceCertificateExpired
        | Cause::DeviceCertificateRevoked
        | Cause::DeviceCertificateUnknown
        | Cause::DeviceCertificateRejected => Step::Tls,
        Cause::Timeout
        | Cause::ThingNotAttached
        | Cause::CertificateNotAccepted
        | Cause::AccessDenied
        | Cause::Forbidden
        | Cause::RoleNotAssumable
        | Cause::DurationTooLong
        | Cause::BadRequest
        | Cause::RoleAliasMissing
        | Cause::NotFound
        | Cause::Redirected
        | Cause::RequestTimeout
        | Cause::Throttled
        | Cause::ServerError
        | Cause::UnexpectedStatus
        | Cause::AnswerTooLarge
        | Cause::AnswerNotUnderstood
        | Cause::AlreadyExpired => Step::RoleAlias,
        // In a file there is nothing that could hang.
        Cause::FetchHung | Cause::FetchCrashed | Cause::FetchBroken | Cause::FetchNotStarted => {
            if is_file(provider) {
                Step::Key
            } else {
                Step::Module
            }
        }
    }
}

fn is_file(provider: &Provider) -> bool {
    matches!(provider.key, PrivateKey::File(_))
}

/// What the gate makes of it: with another image, would this device get further?
///
/// What only a device without provisioning lacks (certificate, key file, PIN) warns, and so does
/// all that AWS and the network answer for. A file that is there and may not be read is the image's
/// doing: it made the users.
pub fn gate(cause: Cause) -> Gate {
    match cause {
        Cause::CertificateNotPermitted
        | Cause::KeyFileNotPermitted
        | Cause::PinFileNotPermitted
        | Cause::CaFileNotPermitted
        | Cause::CaFileMissing
        | Cause::CaFileNotPem
        | Cause::SystemCaMissing
        | Cause::OpensslMissing
        | Cause::EngineMissing
        | Cause::ProviderMissing
        | Cause::ModuleMissing
        | Cause::ModuleNotPermitted
        | Cause::ModuleNotLoadable
        | Cause::ModuleNotPkcs11
        | Cause::PinAtEachSignature
        | Cause::KeyUriInvalid => Gate::Fails,
        // A bus, a helper of the module's, a directory that the service manager makes: they may
        // come.
        Cause::ModuleRefuses
        | Cause::ModuleNotStarted
        | Cause::TokenLockUnusable
        | Cause::TokenMissing
        | Cause::TokenAbsent
        | Cause::TokenNotInitialized
        | Cause::KeyObjectMissing
        | Cause::TokenFault
        | Cause::LoginUnanswered
        | Cause::PinUnguarded
        | Cause::FetchHung
        | Cause::FetchCrashed
        | Cause::FetchBroken
        | Cause::FetchNotStarted => Gate::FailsAtLast,
        // Of this device, of AWS, or of the network.
        Cause::CertificateMissing
        | Cause::CertificateUnreadable
        | Cause::CertificateNotPem
        | Cause::CertificateTooWeak
        | Cause::CaFileExpired
        | Cause::ProxyUnreachable
        | Cause::ProxyRefused
        | Cause::ProxyFileUnusable
        | Cause::TlsStalled
        | Cause::KeyFileMissing
        | Cause::KeyFileUnreadable
        | Cause::KeyFileNotPem
        | Cause::KeyMismatch
        | Cause::PublicKeyMissing
        | Cause::SignatureMismatch
        | Cause::TokenLockedOut
        | Cause::CaFileUnreadable
        | Cause::TokenBusy
        | Cause::TokenAmbiguous
        | Cause::PinFileMissing
        | Cause::PinFileUnreadable
        | Cause::PinFileEmpty
        | Cause::PinUnfit
        | Cause::PinNeeded
        | Cause::PinNotSet
        | Cause::PinIncorrect
        | Cause::PinLocked
        | Cause::PinExpired
        | Cause::PinRefusedEarlier
        | Cause::PinUncertain
        | Cause::Dns
        | Cause::ConnectRefused
        | Cause::Unreachable
        | Cause::ConnectTimeout
        | Cause::Timeout
        | Cause::ConnectionCut
        | Cause::TransportOther
        | Cause::ServerNotTrusted
        | Cause::ServerOtherHost
        | Cause::ServerCertificateExpired
        | Cause::ServerCertificateNotYetValid
        | Cause::TlsHandshake
        | Cause::TlsVersion
        | Cause::DeviceCertificateExpired
        | Cause::DeviceCertificateRevoked
        | Cause::DeviceCertificateUnknown
        | Cause::DeviceCertificateRejected
        | Cause::ThingNotAttached
        | Cause::CertificateNotAccepted
        | Cause::AccessDenied
        | Cause::Forbidden
        | Cause::RoleNotAssumable
        | Cause::DurationTooLong
        | Cause::BadRequest
        | Cause::RoleAliasMissing
        | Cause::NotFound
        | Cause::Redirected
        | Cause::RequestTimeout
        | Cause::Throttled
        | Cause::ServerError
        | Cause::UnexpectedStatus
        | Cause::AnswerTooLarge
        | Cause::AnswerNotUnderstood
        | Cause::AlreadyExpired => Gate::Warns,
    }
}
