//! The provider's TLS: which certificate it shows, and which clients it lets in.
//!
//! A client without a certificate of the device authority does not get through the handshake. Whether the certificate
//! is registered and active is asked later, of each request.

use std::{io, sync::Arc};

use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{
    LazyConfigAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        server::{Acceptor, WebPkiClientVerifier, danger::ClientCertVerifier},
    },
    server::TlsStream,
};

use crate::{
    Failure,
    client_keys::AnyKey,
    faults::{Cut, ProviderFaults, ServerCertificate},
    pki::{Identity, Pki},
};

/// A fatal alert `unrecognized_name` (112) as a whole TLS record.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

pub struct Tls {
    good: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    wrong_host: Arc<ServerConfig>,
    untrusted: Arc<ServerConfig>,
    /// `.credentials.iot.REGION.localhost`
    domain: String,
}

pub struct Peer {
    pub sni: String,
    pub certificate: Vec<u8>,
}

/// A handshake that came to nothing.
pub struct Refused {
    pub sni: Option<String>,
    pub reason: String,
}

impl Tls {
    pub fn new(pki: &Pki, domain: &str) -> Result<Self, Failure> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(pki.device_root.certificate())?;
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()?;
        let clients: Arc<dyn ClientCertVerifier> = Arc::new(AnyKey { chains: clients });
        let config = |identity| server_config(&provider, &clients, identity);
        // As at AWS, one certificate serves the endpoints of all accounts.
        let name = format!("*{domain}");
        Ok(Self {
            good: config(pki.server_root.server(&name, false)?)?,
            expired: config(pki.server_root.server(&name, true)?)?,
            wrong_host: config(pki.server_root.server("elsewhere.example", false)?)?,
            untrusted: config(pki.wrong_root.server(&name, false)?)?,
            domain: domain.to_owned(),
        })
    }

    pub async fn accept(
        &self,
        stream: TcpStream,
        faults: &ProviderFaults,
    ) -> Result<(TlsStream<TcpStream>, Peer), Refused> {
        let refused = |sni: Option<&str>, reason: &str| Refused {
            sni: sni.map(str::to_owned),
            reason: reason.into(),
        };
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream)
            .await
            .map_err(|error| refused(None, &error.to_string()))?;
        let sni = start.client_hello().server_name().map(str::to_owned);
        if faults.cut == Some(Cut::Handshake) {
            return Err(refused(sni.as_deref(), "cut in the handshake, as ordered"));
        }
        let Some(name) = sni.clone().filter(|name| self.is_an_endpoint(name)) else {
            // The client may be gone already.
            let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
            return Err(refused(
                sni.as_deref(),
                "unrecognized_name: the server name is no endpoint of this service",
            ));
        };
        let config = match faults.server_certificate {
            None => &self.good,
            Some(ServerCertificate::Expired) => &self.expired,
            Some(ServerCertificate::WrongHost) => &self.wrong_host,
            Some(ServerCertificate::Untrusted) => &self.untrusted,
        };
        let stream = start
            .into_stream(Arc::clone(config))
            .await
            .map_err(|error: io::Error| refused(sni.as_deref(), &error.to_string()))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate =
            certificate.ok_or_else(|| refused(sni.as_deref(), "no client certificate"))?.to_vec();
        Ok((stream, Peer { sni: name, certificate }))
    }

    /// The wildcard stands for one label.
    fn is_an_endpoint(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        name.strip_suffix(&self.domain)
            .is_some_and(|label| !label.is_empty() && !label.contains('.'))
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    clients: &Arc<dyn ClientCertVerifier>,
    (chain, key): Identity,
) -> Result<Arc<ServerConfig>, Failure> {
    // The ring provider and both TLS 1.2 and 1.3, whatever else is compiled in.
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::clone(clients))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
