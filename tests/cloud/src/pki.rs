//! The authorities and certificates of the cloud.
//!
//! Three roots that know nothing of each other: the one servers are checked against (it plays Amazon Root CA 1), a
//! wrong one, so that a test can trust the wrong authority or meet an untrusted server, and the one that devices'
//! certificates come from. They are kept in the directory; the server's certificates are made anew at each start.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use openssl::{
    asn1::{Asn1Integer, Asn1Time},
    bn::{BigNum, MsbOption},
    hash::MessageDigest,
    nid::Nid,
    pkey::PKey,
    x509::{
        X509, X509Builder, X509NameBuilder, X509Req,
        extension::{
            AuthorityKeyIdentifier, BasicConstraints as Constraints, ExtendedKeyUsage, KeyUsage,
            SubjectKeyIdentifier,
        },
    },
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{Failure, files};

pub struct Pki {
    pub server_root: Authority,
    pub wrong_root: Authority,
    pub device_root: Authority,
}

pub struct Authority {
    pub certificate_file: PathBuf,
    key_file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate with its key, as rustls takes them.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Pki {
    /// Takes up the authorities in `directory`, or makes them.
    pub fn open(directory: &Path) -> Result<Self, Failure> {
        let authority = |file, name| Authority::open(directory, file, name);
        Ok(Self {
            server_root: authority("ca", "Test Root CA 1 (plays Amazon Root CA 1)")?,
            wrong_root: authority("wrong-ca", "Unrelated Test Root CA")?,
            device_root: authority("device-ca", "Test Device CA (plays AWS IoT)")?,
        })
    }
}

impl Authority {
    fn open(directory: &Path, file: &str, name: &str) -> Result<Self, Failure> {
        let certificate_file = directory.join(file).with_extension("pem");
        let key_file = directory.join(file).with_extension("key");
        if !certificate_file.exists() {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::default();
            params.distinguished_name = distinguished_name(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.not_before = rcgen::date_time_ymd(2015, 5, 26);
            params.not_after = rcgen::date_time_ymd(2050, 1, 1);
            files::write_private(&key_file, key.serialize_pem().as_bytes())?;
            files::write_public(&certificate_file, params.self_signed(&key)?.pem().as_bytes())?;
        }
        let key = KeyPair::from_pem(&fs::read_to_string(&key_file)?)?;
        let pem = fs::read_to_string(&certificate_file)?;
        let certificate = der(&pem)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key)?;
        Ok(Self { certificate_file, key_file, issuer, certificate })
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// A server's certificate for `host`; one that ended yesterday if `expired`.
    pub fn server(&self, host: &str, expired: bool) -> Result<Identity, Failure> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.distinguished_name = distinguished_name(host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::days(30);
        params.not_after = now + Duration::days(if expired { -1 } else { 365 });
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        Ok((vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    /// A device's certificate in PEM, as `CreateCertificateFromCsr` answers it: AWS keeps the key of
    /// the request and puts its own name and dates in.
    ///
    /// The key may be of any kind that OpenSSL can verify the request with: EC on each curve, RSA,
    /// RSA-PSS.
    pub fn device(
        &self,
        csr: &str,
        not_before: Option<DateTime<Utc>>,
        not_after: Option<DateTime<Utc>>,
    ) -> Result<String, Failure> {
        let request = X509Req::from_pem(csr.as_bytes())?;
        let key = request.public_key()?;
        if !request.verify(&key)? {
            return Err("the request is not signed with its own key".into());
        }
        let issuer = X509::from_der(&self.certificate)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_nid(Nid::COMMONNAME, "AWS IoT Certificate")?;

        let mut certificate = X509Builder::new()?;
        certificate.set_version(2)?;
        let mut serial = BigNum::new()?;
        serial.rand(127, MsbOption::ONE, false)?;
        let serial = Asn1Integer::from_bn(&serial)?;
        certificate.set_serial_number(&serial)?;
        certificate.set_issuer_name(issuer.subject_name())?;
        certificate.set_subject_name(&name.build())?;
        let not_before = not_before.unwrap_or_else(|| Utc::now() - TimeDelta::minutes(2));
        let not_before = Asn1Time::from_unix(not_before.timestamp())?;
        certificate.set_not_before(&not_before)?;
        let not_after = match not_after {
            Some(time) => Asn1Time::from_unix(time.timestamp())?,
            None => Asn1Time::from_str("20491231235959Z")?,
        };
        certificate.set_not_after(&not_after)?;
        certificate.set_pubkey(&key)?;

        let constraints = Constraints::new().critical().build()?;
        certificate.append_extension(constraints)?;
        certificate.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        certificate.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
        let context = certificate.x509v3_context(Some(&issuer), None);
        let identifiers = [
            SubjectKeyIdentifier::new().build(&context)?,
            AuthorityKeyIdentifier::new().keyid(true).build(&context)?,
        ];
        for identifier in identifiers {
            certificate.append_extension(identifier)?;
        }
        let authority = PKey::private_key_from_pem(&fs::read(&self.key_file)?)?;
        certificate.sign(&authority, MessageDigest::sha256())?;
        Ok(String::from_utf8(certificate.build().to_pem()?)?)
    }
}

/// AWS names a certificate by the SHA-256 of its DER form.
pub fn certificate_id(certificate: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn der(pem: &str) -> Result<CertificateDer<'static>, Failure> {
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| format!("not a certificate in PEM: {error}").into())
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
