//! What can go wrong with a fetch, and what a person does about it.
//!
//! One table holds every cause that is told apart: its stable name, how the daemon treats it, the
//! exit code, what happened in words, and what to do. Logs, `--json`, `check` and the documentation
//! read this table, so that none of them can say something else.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{core::class::Class, problems::exit_code};

/// Why a fetch gave no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub cause: Cause,
    /// What was found here: a host, a path, the peer's message. Never a secret.
    pub detail: String,
    /// What the provider asked for with `Retry-After`.
    pub retry_after: Option<Duration>,
}

macro_rules! causes {
    ($($cause:ident $name:literal $class:ident $exit:ident $what:literal $remedy:literal;)*) => {
        /// The causes that are told apart. The names in kebab case are stable: logs and `--json`
        /// carry them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Cause {
            $(#[doc = $what] #[serde(rename = $name)] $cause,)*
        }

        impl Cause {
            /// Every cause, in the order of a fetch: files, token, network, TLS, the provider's
            /// answer, the child.
            pub const ALL: &[Self] = &[$(Self::$cause),*];

            /// The stable name, in kebab case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$cause => $name),* }
            }

            /// How the daemon treats it.
            pub fn class(self) -> Class {
                match self { $(Self::$cause => Class::$class),* }
            }

            /// What a command that ends with it exits with.
            pub fn exit_code(self) -> u8 {
                match self { $(Self::$cause => exit_code::$exit),* }
            }

            /// What happened, without what was found here.
            pub fn what(self) -> &'static str {
                match self { $(Self::$cause => $what),* }
            }

            /// What a person does about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$cause => $remedy),* }
            }
        }
    };
}

causes! {
    // The device's own files.
    CertificateMissing "certificate-missing" Setup DEVICE
        "the device's certificate is not there"
        "put it there, or correct EDGEROTATE_CERTIFICATE";
    CertificateNotPermitted "certificate-not-permitted" Setup NOT_PERMITTED
        "the device's certificate may not be read"
        "let edgerotate's user read the file and pass its directories";
    CertificateUnreadable "certificate-unreadable" Setup DEVICE
        "the device's certificate cannot be read"
        "name a file in EDGEROTATE_CERTIFICATE, or look at the file system it is on";
    CertificateNotPem "certificate-not-pem" Setup DEVICE
        "the device's certificate file holds no certificate in PEM"
        "put the device's certificate there as AWS IoT gave it: PEM, between -----BEGIN \
         CERTIFICATE----- and -----END CERTIFICATE-----";
    CertificateTooWeak "certificate-too-weak" Setup DEVICE
        "this device's OpenSSL refuses the device's certificate"
        "issue a certificate that is signed with SHA-256 or better, for an EC key (P-256, P-384, \
         P-521) or an RSA key of 2048 bits or more";
    KeyFileMissing "key-file-missing" Setup DEVICE
        "the private key file is not there"
        "put it there, or correct EDGEROTATE_PRIVATE_KEY";
    KeyFileNotPermitted "key-file-not-permitted" Setup NOT_PERMITTED
        "the private key file may not be read"
        "let edgerotate's user, and nobody else, read the file";
    KeyFileUnreadable "key-file-unreadable" Setup DEVICE
        "the private key file cannot be read"
        "name a file in EDGEROTATE_PRIVATE_KEY, or look at the file system it is on";
    KeyFileNotPem "key-file-not-pem" Setup DEVICE
        "the private key file holds no unencrypted private key in PEM"
        "put the key there as PEM without a passphrase";
    KeyMismatch "key-mismatch" Setup DEVICE
        "the certificate belongs to another key"
        "install the certificate that was issued for this key, or name the right key";
    CaFileMissing "ca-file-missing" Setup DEVICE
        "the file of trusted authorities is not there"
        "put Amazon Root CA 1 there as PEM, or correct EDGEROTATE_CA_FILE";
    CaFileNotPermitted "ca-file-not-permitted" Setup NOT_PERMITTED
        "the file of trusted authorities may not be read"
        "let edgerotate's user read the file and pass its directories";
    CaFileUnreadable "ca-file-unreadable" Setup DEVICE
        "the file of trusted authorities cannot be read"
        "name a file in EDGEROTATE_CA_FILE, or look at the file system it is on";
    CaFileNotPem "ca-file-not-pem" Setup DEVICE
        "the file of trusted authorities holds no certificate in PEM"
        "put Amazon Root CA 1 there as PEM";
    SystemCaMissing "system-ca-missing" Setup DEVICE
        "the system's store of trusted authorities is not there"
        "install ca-certificates, or name a CA file in EDGEROTATE_CA_FILE";

    // OpenSSL and its ways to the token.
    OpensslMissing "openssl-missing" Setup DEVICE
        "libcurl is not built with OpenSSL"
        "install libcurl's OpenSSL flavour: a key in a token is used through OpenSSL";
    EngineMissing "engine-missing" Setup DEVICE
        "OpenSSL's pkcs11 engine is not there"
        "install it (Debian: libengine-pkcs11-openssl, Yocto: libp11, Nix: \
         OPENSSL_ENGINES=${libp11}/lib/engines), or set EDGEROTATE_PKCS11_ROUTE=provider";
    ProviderMissing "provider-missing" Setup DEVICE
        "OpenSSL's pkcs11 provider is not there"
        "install it (Debian and Yocto: pkcs11-provider, Nix: \
         OPENSSL_MODULES=${pkcs11-provider}/lib/ossl-modules), or set \
         EDGEROTATE_PKCS11_ROUTE=engine";
    ModuleMissing "module-missing" Setup DEVICE
        "the PKCS#11 module is not there"
        "install the HSM vendor's module, or correct EDGEROTATE_PKCS11_MODULE";
    ModuleNotPermitted "module-not-permitted" Setup NOT_PERMITTED
        "the PKCS#11 module may not be read"
        "let edgerotate's user read the file and pass its directories";
    ModuleNotLoadable "module-not-loadable" Setup DEVICE
        "the PKCS#11 module cannot be loaded"
        "install the module built for this device, with the libraries it needs";
    ModuleNotPkcs11 "module-not-pkcs11" Setup DEVICE
        "the PKCS#11 module is a library of another kind"
        "name the library that has C_GetFunctionList in EDGEROTATE_PKCS11_MODULE";
    ModuleNotStarted "module-not-started" Device DEVICE
        "the PKCS#11 module does not start"
        "look at what stands behind it: the chip and its bus, its device node and the rights of \
         edgerotate's user to it, its daemon (pcscd, pkcsslotd, tpm2-abrmd, tee-supplicant, a \
         p11-kit server), its own settings; docs/hsm.md has what each module's codes mean";
    ModuleRefuses "module-refuses" Setup DEVICE
        "the PKCS#11 module refuses to start"
        "look at its own settings: EDGEROTATE_MODULE_ENVIRONMENT names where they are, and \
         docs/hsm.md has what each module's codes mean";
    TokenLockUnusable "token-lock-unusable" Setup NOT_PERMITTED
        "the lock that orders the token's users cannot be taken"
        "let edgerotate's user write to its runtime directory";
    TokenBusy "token-busy" Passing AWAY
        "another edgerotate uses the token"
        "it passes by itself, as a rule; if it stays, fuser -v with the lock's path names the \
         process that holds it";
    TokenMissing "token-missing" Setup DEVICE
        "no such token"
        "correct token= in EDGEROTATE_PRIVATE_KEY";
    TokenAbsent "token-absent" Device DEVICE
        "the PKCS#11 module sees no token at all"
        "look at the HSM, at what stands behind the module (pcscd, pkcsslotd, tpm2-abrmd, \
         tee-supplicant, a p11-kit server), and at the rights of edgerotate's user to the device; \
         only then set a token up";
    TokenNotInitialized "token-not-initialized" Setup DEVICE
        "the token is not initialized"
        "look first at the rights of edgerotate's user to the token's files, and at where its \
         module looks for them; then set the token up as docs/hsm.md says (an ATECC608 looks so \
         until its data zone is locked)";
    TokenAmbiguous "token-ambiguous" Setup SETTINGS
        "more than one token fits the key's URI"
        "add serial=… to EDGEROTATE_PRIVATE_KEY; the PIN is not tried on several tokens";
    KeyUriInvalid "key-uri-invalid" Setup SETTINGS
        "OpenSSL does not understand the key's URI"
        "write EDGEROTATE_PRIVATE_KEY as in RFC 7512: pkcs11:token=…;object=…;type=private";
    KeyObjectMissing "key-object-missing" Setup DEVICE
        "the token has no such private key"
        "correct object= or id= in EDGEROTATE_PRIVATE_KEY (pkcs11-tool --list-objects shows what \
         is there)";
    PinAtEachSignature "pin-at-each-signature" Setup SETTINGS
        "the key asks for the PIN again at each signature (CKA_ALWAYS_AUTHENTICATE), and gets none"
        "use such a key by EDGEROTATE_PKCS11_ROUTE=engine, with a PIN file; or make one that does \
         not ask";
    PublicKeyMissing "public-key-missing" Setup DEVICE
        "the token has the private key and not its public half"
        "write the device's certificate into the token, with the key's id: pkcs11-tool \
         --write-object device.der --type cert --id …";
    SignatureMismatch "signature-mismatch" Setup DEVICE
        "the key's signature does not fit the certificate"
        "install the certificate that was issued for this key, or name the right key; if they \
         belong together, the token signs wrongly";
    TokenFault "token-fault" Device DEVICE
        "the token failed"
        "if it stays, look at the HSM, its bus, who else uses it, and its vendor's log";

    // The PIN.
    PinFileMissing "pin-file-missing" Setup DEVICE
        "the PIN file is not there"
        "put it there, or correct EDGEROTATE_PKCS11_PIN_FILE";
    PinFileNotPermitted "pin-file-not-permitted" Setup NOT_PERMITTED
        "the PIN file may not be read"
        "let edgerotate's user, and nobody else, read the file";
    PinFileUnreadable "pin-file-unreadable" Setup DEVICE
        "the PIN file cannot be read"
        "name a file in EDGEROTATE_PKCS11_PIN_FILE, or look at the file system it is on";
    PinFileEmpty "pin-file-empty" Setup DEVICE
        "the PIN file is empty"
        "write the token's user PIN into it; for one in /run/credentials: into the file that \
         LoadCredential= names, and restart edgerotate";
    PinUnfit "pin-unfit" Setup DEVICE
        "the PIN is not valid text"
        "the PIN is one line of UTF-8 text and nothing else, without blanks or quotes around it; \
         it was not tried";
    PinNeeded "pin-needed" Setup SETTINGS
        "the token asks for a PIN and the settings name none"
        "name a PIN file in EDGEROTATE_PKCS11_PIN_FILE";
    PinNotSet "pin-not-set" Setup DEVICE
        "the token has no user PIN yet"
        "finish setting up the token (pkcs11-tool --init-pin)";
    PinUnguarded "pin-unguarded" Setup NOT_PERMITTED
        "the PIN is not tried, as its refusal could not be remembered"
        "let edgerotate's user write to its state directory";
    PinIncorrect "pin-incorrect" PinRefused NOT_PERMITTED
        "the token refused the PIN"
        "it is not tried again, as tokens lock after a few wrong ones: correct the PIN file";
    PinLocked "pin-locked" PinRefused NOT_PERMITTED
        "the token is locked after too many wrong PINs"
        "unlock it with the SO PIN, correct the PIN file, then run edgerotate check --pin-changed";
    TokenLockedOut "token-locked-out" Setup NOT_PERMITTED
        "the token is locked for a time: too many wrong PINs, or power cuts, which a TPM counts as \
         such"
        "it unlocks itself, and the PIN is tried again slowly; sooner by tpm2_dictionarylockout \
         --clear-lockout (docs/hsm.md tells how to set its limits)";
    LoginUnanswered "login-unanswered" Setup DEVICE
        "logins to the token end without an answer, one after the other"
        "the PIN was taken before and is tried slowly: look at what ends the login (the PKCS#11 \
         module, the HSM's bus, its daemon)";
    PinExpired "pin-expired" PinRefused NOT_PERMITTED
        "the token's PIN has expired"
        "set a new user PIN, then write it into the PIN file";
    PinRefusedEarlier "pin-refused-earlier" PinRefused NOT_PERMITTED
        "the token refused this PIN earlier, so it is not tried again"
        "correct the PIN in its file; if the PIN is right, run edgerotate check --pin-changed";
    PinUncertain "pin-uncertain" PinRefused NOT_PERMITTED
        "the PIN is not tried again, as the token may have refused it: the fetch ended twice in \
         the middle of the login"
        "look at what ended it (the PKCS#11 module, the HSM's bus, the power) and at the PIN, then \
         run edgerotate check --pin-changed";

    // The network.
    Dns "dns" Passing AWAY
        "the provider's name cannot be resolved"
        "check EDGEROTATE_ENDPOINT and the device's DNS";
    ConnectRefused "connect-refused" Passing AWAY
        "the connection was refused"
        "check the port in EDGEROTATE_ENDPOINT and the firewall";
    Unreachable "unreachable" Passing AWAY
        "the provider cannot be reached"
        "check the device's network and routes";
    ProxyUnreachable "proxy-unreachable" Passing AWAY
        "the proxy cannot be reached, or does not reach the provider"
        "check EDGEROTATE_PROXY, and the proxy itself";
    ProxyRefused "proxy-refused" Setup SETTINGS
        "the proxy refuses the connection to the provider"
        "have the proxy let CONNECT to this host and port through; where it asks for a user (407), \
         check EDGEROTATE_PROXY_USER_FILE";
    ProxyFileUnusable "proxy-file-unusable" Setup DEVICE
        "the file with the proxy's user and password cannot be used"
        "write one line USER:PASSWORD into the file that EDGEROTATE_PROXY_USER_FILE names, and let \
         edgerotate's user, and nobody else, read it";
    TlsStalled "tls-stalled" Passing AWAY
        "the connection stands, and the TLS handshake gets no answer"
        "look at the MTU on the way (large packets are lost: try ip link set dev DEVICE mtu 1280) \
         and at firewalls that inspect TLS";
    ConnectTimeout "connect-timeout" Passing AWAY
        "no connection in time"
        "check the network, and that connections to this port are let through";
    Timeout "timeout" Passing AWAY
        "no whole answer in time"
        "check the network's quality, or raise EDGEROTATE_FETCH_TIMEOUT";
    ConnectionCut "connection-cut" Passing AWAY
        "the connection was cut"
        "if it stays, look for a firewall or proxy in between";
    TransportOther "transport-other" Passing AWAY
        "the request failed"
        "if it stays, look at the network between device and provider";

    // TLS: what we think of the server.
    ServerNotTrusted "server-not-trusted" Setup SETTINGS
        "the server's certificate comes from an authority that is not trusted here"
        "check EDGEROTATE_CA_FILE (AWS: Amazon Root CA 1) and that nothing intercepts TLS";
    ServerOtherHost "server-other-host" Setup SETTINGS
        "the server's certificate is for another host"
        "check EDGEROTATE_ENDPOINT (aws iot describe-endpoint --endpoint-type \
         iot:CredentialProvider)";
    CaFileExpired "ca-file-expired" Setup DEVICE
        "an authority in the CA file has expired"
        "put the newer one (AWS: Amazon Root CA 1) into EDGEROTATE_CA_FILE; or set the device's \
         clock if it is ahead";
    ServerCertificateExpired "server-certificate-expired" Passing AWAY
        "the server's certificate has expired"
        "set the device's clock if it is ahead; else the server must renew it";
    ServerCertificateNotYetValid "server-certificate-not-yet-valid" Passing AWAY
        "the server's certificate is not valid yet"
        "set the device's clock: it is probably behind";

    // TLS: what the server thinks of us.
    TlsHandshake "tls-handshake" Passing AWAY
        "the TLS handshake failed"
        "if it stays, check that EDGEROTATE_ENDPOINT speaks TLS and nothing intercepts it";
    TlsVersion "tls-version" Setup AWAY
        "the server and this device have no TLS version or cipher in common"
        "check EDGEROTATE_ENDPOINT, and OpenSSL's configuration (TLS 1.2 is the least)";
    DeviceCertificateExpired "device-certificate-expired" Setup DEVICE
        "the server says that the device's certificate has expired"
        "issue a new certificate for this device's key";
    DeviceCertificateRevoked "device-certificate-revoked" Setup NOT_PERMITTED
        "the server says that the device's certificate is revoked"
        "activate the certificate in AWS IoT, or issue a new one";
    DeviceCertificateUnknown "device-certificate-unknown" Setup NOT_PERMITTED
        "the server does not know the device's certificate or its issuer"
        "register and activate the certificate in the AWS account and region of the endpoint";
    DeviceCertificateRejected "device-certificate-rejected" Setup NOT_PERMITTED
        "the server rejects the device's certificate"
        "check that it is an active client certificate of this AWS account and region";

    // The provider's answer.
    ThingNotAttached "thing-not-attached" Setup NOT_PERMITTED
        "the provider does not accept the thing name"
        "attach the certificate to that thing, or correct EDGEROTATE_THING_NAME";
    CertificateNotAccepted "certificate-not-accepted" Setup NOT_PERMITTED
        "the provider does not accept the certificate on this endpoint"
        "activate the certificate in the AWS account and region of this endpoint";
    AccessDenied "access-denied" Setup NOT_PERMITTED
        "the provider denies access to the role alias"
        "see that the certificate is ACTIVE in AWS IoT, and that a policy which allows \
         iot:AssumeRoleWithCertificate on the role alias is attached to it";
    Forbidden "forbidden" Setup NOT_PERMITTED
        "the provider forbids the request"
        "check certificate, thing, policy and role alias in AWS IoT";
    RoleNotAssumable "role-not-assumable" Setup NOT_PERMITTED
        "the provider cannot assume the role"
        "let credentials.iot.amazonaws.com assume it in the role's trust policy, and check the \
         alias's role";
    DurationTooLong "duration-too-long" Setup SETTINGS
        "the role alias lasts longer than its role allows"
        "lower the alias's credential duration or raise the role's maximum session duration";
    BadRequest "bad-request" Setup SETTINGS
        "the provider does not accept the request"
        "check EDGEROTATE_ROLE_ALIAS and EDGEROTATE_THING_NAME";
    RoleAliasMissing "role-alias-missing" Setup SETTINGS
        "the provider knows no such role alias"
        "check EDGEROTATE_ROLE_ALIAS, and that the alias is in the endpoint's account and region";
    NotFound "not-found" Setup SETTINGS
        "the server knows no such path"
        "check that EDGEROTATE_ENDPOINT is the credential provider's (aws iot describe-endpoint \
         --endpoint-type iot:CredentialProvider)";
    Redirected "redirected" Setup SETTINGS
        "the server answers with a redirect, which is not followed"
        "check EDGEROTATE_ENDPOINT, and that no captive portal or proxy is in between";
    RequestTimeout "request-timeout" Passing AWAY
        "the provider waited too long for the request"
        "if it stays, check the network's quality";
    Throttled "throttled" Passing AWAY
        "the provider asks for fewer requests"
        "it is tried again later; if it stays, look at how often the fleet asks";
    ServerError "server-error" Passing AWAY
        "the provider has a fault"
        "it is tried again; if it stays, look at the AWS health dashboard";
    UnexpectedStatus "unexpected-status" Setup AWAY
        "the server answers with an unexpected status"
        "check that EDGEROTATE_ENDPOINT is the credential provider's and no proxy is in between";
    AnswerTooLarge "answer-too-large" Passing AWAY
        "the answer is too large"
        "check that EDGEROTATE_ENDPOINT is the credential provider's";
    AnswerNotUnderstood "answer-not-understood" Passing AWAY
        "the answer is not what the credential provider answers"
        "check that EDGEROTATE_ENDPOINT is the credential provider's; if it stays, report it";
    AlreadyExpired "already-expired" Passing AWAY
        "the credentials had already expired when they came"
        "if it stays, look at the provider's clock and at caches in between";

    // The child process that fetches.
    FetchHung "fetch-hung" Passing DEVICE
        "the fetch did not end in time and was killed"
        "if it stays, the PKCS#11 module hangs: look at the HSM, its bus and its vendor's service";
    FetchCrashed "fetch-crashed" Passing DEVICE
        "the fetch crashed"
        "if it stays, the PKCS#11 module crashes: update it, or report the crash to its vendor";
    FetchBroken "fetch-broken" Passing DEVICE
        "the fetch ended without a proper reply"
        "if it stays, report it with journalctl -u edgerotate and the settings' \
         EDGEROTATE_LOG=debug";
    FetchNotStarted "fetch-not-started" Passing DEVICE
        "the fetch could not be started"
        "look at memory, process limits and the rights of the program file";
}

impl Failure {
    /// A failure without a `Retry-After`.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into(), retry_after: None }
    }

    pub fn class(&self) -> Class {
        self.cause.class()
    }

    pub fn exit_code(&self) -> u8 {
        self.cause.exit_code()
    }

    /// One line: what happened and what was found.
    pub fn without_remedy(&self) -> String {
        let mut line = self.cause.what().to_owned();
        if !self.detail.is_empty() {
            line.push_str(": ");
            // A detail may quote a peer: whatever it sends, the line stays one line.
            line.extend(self.detail.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        line
    }
}

/// One line: what happened, what was found, what to do.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.without_remedy(), self.cause.remedy())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut names = HashSet::new();
        for &cause in Cause::ALL {
            let name = cause.name();
            assert!(names.insert(name), "{name} twice");
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{name}"
            );
            assert_eq!(serde_json::to_value(cause).unwrap(), name);
            for text in [cause.what(), cause.remedy()] {
                assert!(
                    !text.is_empty() && !text.contains('\n') && !text.ends_with('.'),
                    "{name}: {text}"
                );
            }
            for word in cause.remedy().split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                let known = crate::settings::SETTINGS.iter().any(|setting| setting.name == word);
                assert!(known || !word.starts_with("EDGEROTATE_"), "{name}: {word}");
            }
            assert!([69, 75, 77, 78].contains(&cause.exit_code()));
            assert_eq!(
                cause.class() == Class::PinRefused,
                name.starts_with("pin-")
                    && cause.exit_code() == 77
                    && !matches!(cause, Cause::PinFileNotPermitted | Cause::PinUnguarded),
                "{name}"
            );
        }
    }

    #[test]
    fn is_one_line_whatever_a_peer_said() {
        let failure = Failure::new(Cause::ServerError, "HTTP 503\r\nfoo\u{1b}[31m");
        assert_eq!(
            failure.to_string(),
            "the provider has a fault: HTTP 503  foo [31m; it is tried again; \
             if it stays, look at the AWS health dashboard"
        );
    }
}
