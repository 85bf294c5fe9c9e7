//! The request itself: HTTPS with the device's certificate, by libcurl.

use std::{cell::RefCell, env, ffi::c_void};

use curl::easy::{Easy2, Handler, HttpVersion, List, SslVersion, WriteError};
use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
    ssl::SslContextBuilder,
    x509::{X509, X509StoreContextRef, store::X509Store},
};
use zeroize::Zeroizing;

use super::{
    answer::Answer,
    observed::{entries, take_queue},
    transport::{self, Fault, Phase, ServerCertificate},
};
use crate::{
    core::credentials::MAX_ANSWER_BYTES,
    fetch::openssl::{watch_verification, with_ssl_ctx},
    problems::failure::{Cause, Failure},
    settings::Provider,
    system::clock,
};

/// The provider sends about 0.5 KiB of headers; more than this is no provider.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Who the device is, and whom it believes.
pub struct Identity {
    /// The device's certificate, then its chain.
    pub chain: Vec<X509>,
    pub key: PKey<Private>,
    /// Only these are trusted; the system's store if none.
    pub authorities: Option<X509Store>,
}

/// Whether libcurl is built with OpenSSL, without which there is no SSL_CTX to give the key to.
pub fn check_tls_backend() -> Result<(), Failure> {
    let version = curl::Version::get();
    let backend = version.ssl_version().unwrap_or("no TLS");
    if backend.contains("OpenSSL/") {
        return Ok(());
    }
    Err(Failure::new(
        Cause::OpensslMissing,
        format!("libcurl {} uses {backend}", version.version()),
    ))
}

/// Asks once. The answer may be any; a failure means that none came.
pub fn ask(provider: &Provider, identity: Identity) -> Result<Answer, Failure> {
    let certificate =
        identity.chain.first().map(|leaf| transport::certificate_words(leaf)).unwrap_or_default();
    let mut easy = Easy2::new(Exchange::new(identity));
    let setup = |easy: &mut Easy2<Exchange>| configure(easy, provider);
    setup(&mut easy).map_err(|e| {
        Failure::new(Cause::TransportOther, format!("libcurl refuses an option: {e}"))
    })?;

    let _ = take_queue();
    let result = easy.perform();
    let queue = take_queue();
    let Err(error) = result else {
        let status = easy.response_code().unwrap_or_default();
        let exchange = easy.get_mut();
        return Ok(Answer {
            status,
            headers: std::mem::take(&mut exchange.headers),
            body: std::mem::take(&mut exchange.body),
        });
    };
    let passed =
        |time: Result<std::time::Duration, curl::Error>| time.is_ok_and(|time| !time.is_zero());
    let phase = match () {
        () if passed(easy.appconnect_time()) => Phase::Answer,
        () if passed(easy.connect_time()) => Phase::Handshake,
        () if passed(easy.namelookup_time()) => Phase::Connect,
        () => Phase::Lookup,
    };
    let errno = easy.os_errno().unwrap_or_default();
    let exchange = easy.get_mut();
    let mut all = std::mem::take(&mut exchange.setup_errors);
    all.extend(queue);
    let server = SERVER.take();
    Err(transport::explain(&Fault {
        code: error.code(),
        words: error.extra_description().unwrap_or_else(|| error.description()).to_owned(),
        phase,
        errno,
        queue: all,
        too_large: exchange.too_large,
        server,
        certificate,
        provider,
        now: clock::wall(),
    }))
}

fn configure(easy: &mut Easy2<Exchange>, provider: &Provider) -> Result<(), curl::Error> {
    let Provider { host, port, role_alias, .. } = provider;
    // The scheme is ours and redirects are not followed, so nothing but https can be asked.
    easy.url(&format!("https://{host}:{port}/role-aliases/{role_alias}/credentials"))?;
    easy.follow_location(false)?;
    // Empty rather than unset: no proxy, whatever the environment says.
    easy.proxy("")?;
    easy.signal(false)?;
    easy.http_version(HttpVersion::V11)?;
    easy.http_09_allowed(false)?;
    easy.useragent(concat!("edgerotate/", env!("CARGO_PKG_VERSION")))?;
    easy.connect_timeout(provider.connect_timeout)?;
    easy.timeout(provider.fetch_timeout)?;

    easy.ssl_version(SslVersion::Tlsv12)?;
    easy.ssl_verify_peer(true)?;
    easy.ssl_verify_host(true)?;
    match &provider.ca_file {
        // libcurl adds its built-in directory to this; `Exchange::ssl_ctx` takes that away again.
        Some(path) => easy.cainfo(path)?,
        None => {
            // The command-line tool reads these two, the library does not.
            if let Some(file) = env::var_os("SSL_CERT_FILE") {
                easy.cainfo(file)?;
            }
            if let Some(directory) = env::var_os("SSL_CERT_DIR") {
                easy.capath(directory)?;
            }
        }
    }

    let mut headers = List::new();
    headers.append("Accept: application/json")?;
    if let Some(thing) = &provider.thing_name {
        headers.append(&format!("x-amzn-iot-thingname: {thing}"))?;
    }
    easy.http_headers(headers)
}

/// What libcurl calls back into.
struct Exchange {
    identity: Identity,
    headers: Vec<String>,
    header_bytes: usize,
    body: Zeroizing<Vec<u8>>,
    too_large: bool,
    setup_errors: Vec<super::observed::QueueEntry>,
}

impl Exchange {
    fn new(identity: Identity) -> Self {
        Self {
            identity,
            headers: Vec::new(),
            header_bytes: 0,
            // Allocated once: a buffer that grows leaves copies of the secrets behind.
            body: Zeroizing::new(Vec::with_capacity(MAX_ANSWER_BYTES)),
            too_large: false,
            setup_errors: Vec::new(),
        }
    }

    fn configure_tls(&mut self, tls: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        let Identity { chain, key, authorities } = &mut self.identity;
        let (leaf, rest) = chain.split_first().ok_or_else(ErrorStack::get)?;
        tls.set_certificate(leaf)?;
        for certificate in rest {
            tls.add_extra_chain_cert(certificate.clone())?;
        }
        tls.set_private_key(key)?;
        // One answer, one connection: it is asked for once.
        if let Some(authorities) = authorities.take() {
            tls.set_cert_store(authorities);
        }
        watch_verification(tls, witness);
        Ok(())
    }
}

thread_local! {
    /// What the server showed.
    static SERVER: RefCell<Option<ServerCertificate>> = const { RefCell::new(None) };
}

/// Keeps the first certificate that was refused, else the last that was looked at, which is the server's own.
fn witness(ok: bool, context: &X509StoreContextRef) {
    let Some(certificate) = context.current_cert() else {
        return;
    };
    let verdict = if ok { 0 } else { context.error().as_raw() };
    let words = if ok { String::new() } else { context.error().error_string().to_owned() };
    SERVER.with_borrow_mut(|server| {
        if server.as_ref().is_none_or(|server| server.verdict == 0) {
            *server = Some(ServerCertificate::of(certificate, verdict, words));
        }
    });
}

impl Handler for Exchange {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        if self.body.len() + data.len() > MAX_ANSWER_BYTES {
            self.too_large = true;
            return Ok(0);
        }
        self.body.extend_from_slice(data);
        Ok(data.len())
    }

    fn header(&mut self, line: &[u8]) -> bool {
        self.header_bytes += line.len();
        if self.header_bytes > MAX_HEADER_BYTES {
            self.too_large = true;
            return false;
        }
        // A status line begins a new answer: what a 100 said before is not the answer's.
        if line.starts_with(b"HTTP/") {
            self.headers.clear();
        } else {
            self.headers.push(String::from_utf8_lossy(line).into_owned());
        }
        true
    }

    fn ssl_ctx(&mut self, ctx: *mut c_void) -> Result<(), curl::Error> {
        with_ssl_ctx(ctx, |tls| self.configure_tls(tls)).map_err(|errors| {
            self.setup_errors = entries(&errors);
            curl::Error::new(curl_sys::CURLE_SSL_CERTPROBLEM)
        })
    }
}
