//! The request itself: HTTPS with the device's certificate, by libcurl.

use std::{cell::RefCell, env, ffi::c_void, fs};

use curl::easy::{Auth, Easy2, Handler, HttpVersion, List, SslVersion, WriteError};
use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
    ssl::SslContextBuilder,
    x509::{X509, X509StoreContextRef},
};
use zeroize::Zeroizing;

use super::{
    answer::HttpAnswer,
    observed::{entries, take_queue},
    transport::{self, Phase, ServerCertificate, TransportFault},
};
use crate::{
    core::{credentials::MAX_ANSWER_BYTES, secret::Secret},
    fetch::{
        material::{Authorities, io_words},
        openssl::{watch_verification, with_ssl_ctx},
    },
    problems::failure::{Cause, Failure},
    settings::{Provider, Proxy},
    system::clock,
};

/// The provider sends about 0.5 KiB of headers; more than this is no provider.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Who the device is, and whom it believes.
pub struct ClientIdentity {
    /// The device's certificate, then its chain.
    pub chain: Vec<X509>,
    pub key: PKey<Private>,
    /// Only these are trusted; the system's store if none.
    pub authorities: Option<Authorities>,
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

/// Asks once, with the proxy's user and password if it has one. The answer may be any; a failure
/// means that none came.
pub fn ask(
    provider: &Provider,
    identity: ClientIdentity,
    proxy_user: Option<(String, Secret)>,
) -> Result<HttpAnswer, Failure> {
    let certificate =
        identity.chain.first().map(|leaf| transport::certificate_words(leaf)).unwrap_or_default();
    let mut easy = Easy2::new(Exchange::new(identity, proxy_user));
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
        return Ok(HttpAnswer {
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
    let proxy_status = easy.http_connectcode().unwrap_or_default();
    let exchange = easy.get_mut();
    let mut all = std::mem::take(&mut exchange.setup_errors);
    all.extend(queue);
    let server = SERVER.take();
    Err(transport::explain(&TransportFault {
        code: error.code(),
        words: error.extra_description().unwrap_or_else(|| error.description()).to_owned(),
        phase,
        errno,
        queue: all,
        too_large: exchange.too_large,
        proxy_status,
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
    match &provider.proxy {
        Some(proxy) => use_proxy(easy, proxy)?,
        // Empty rather than unset: no proxy, whatever the environment says.
        None => easy.proxy("")?,
    }
    // What the environment has in NO_PROXY is not asked either.
    easy.noproxy("")?;
    easy.signal(false)?;
    easy.http_version(HttpVersion::V11)?;
    easy.http_09_allowed(false)?;
    easy.useragent(concat!("edgerotate/", env!("CARGO_PKG_VERSION")))?;
    easy.connect_timeout(provider.connect_timeout)?;
    easy.timeout(provider.fetch_timeout)?;

    easy.ssl_version(SslVersion::Tlsv12)?;
    easy.ssl_verify_peer(true)?;
    easy.ssl_verify_host(true)?;
    match easy.get_ref().identity.authorities.as_ref().map(|authorities| authorities.pem.clone()) {
        // libcurl adds its built-in directory to this; `Exchange::ssl_ctx` takes that away again.
        Some(pem) => easy.ssl_cainfo_blob(&pem)?,
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

fn use_proxy(easy: &mut Easy2<Exchange>, proxy: &Proxy) -> Result<(), curl::Error> {
    easy.proxy(&proxy.url)?;
    easy.http_proxy_tunnel(true)?;
    // An https proxy proves itself by the system's authorities: the CA file is the provider's.
    if let Some(file) = env::var_os("SSL_CERT_FILE").and_then(|file| file.into_string().ok()) {
        easy.proxy_cainfo(&file)?;
    }
    easy.get_mut().proxy_handshakes = is_https(proxy);
    let Some((user, password)) = easy.get_mut().proxy_user.take() else { return Ok(()) };
    easy.proxy_auth(Auth::new().basic(true))?;
    easy.proxy_username(&user)?;
    easy.proxy_password(password.expose())
}

fn is_https(proxy: &Proxy) -> bool {
    proxy.url.starts_with("https:")
}

/// User and password for the proxy; none if the settings name no file of them.
///
/// # Errors
/// The file can't be read, or is not one line with a colon.
pub fn proxy_user(provider: &Provider) -> Result<Option<(String, Secret)>, Failure> {
    let file = provider.proxy.as_ref().and_then(|proxy| proxy.user_file.as_ref());
    let Some(path) = file else { return Ok(None) };
    let unusable = |words: &str| {
        Failure::new(Cause::ProxyFileUnusable, format!("{} ({words})", path.display()))
    };
    let bytes = Zeroizing::new(fs::read(path).map_err(|e| unusable(&io_words(&e)))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("it is no UTF-8 text"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains(['\n', '\r', '\0', '\u{feff}']) {
        return Err(unusable("it is not one line of text"));
    }
    match line.split_once(':') {
        Some((user, password)) if !user.is_empty() => {
            Ok(Some((user.to_owned(), Secret::new(password.to_owned()))))
        }
        _ => Err(unusable("it has no USER:PASSWORD")),
    }
}

/// What libcurl calls back into.
struct Exchange {
    proxy_user: Option<(String, Secret)>,
    /// libcurl's next handshake is the one with the proxy, which is not shown the device's
    /// certificate.
    proxy_handshakes: bool,
    identity: ClientIdentity,
    headers: Vec<String>,
    header_bytes: usize,
    body: Zeroizing<Vec<u8>>,
    too_large: bool,
    setup_errors: Vec<super::observed::QueueEntry>,
}

impl Exchange {
    fn new(identity: ClientIdentity, proxy_user: Option<(String, Secret)>) -> Self {
        Self {
            proxy_user,
            proxy_handshakes: false,
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
        let ClientIdentity { chain, key, authorities } = &mut self.identity;
        let (leaf, rest) = chain.split_first().ok_or_else(ErrorStack::get)?;
        tls.set_certificate(leaf)?;
        for certificate in rest {
            tls.add_extra_chain_cert(certificate.clone())?;
        }
        tls.set_private_key(key)?;
        // One answer, one connection: it is asked for once.
        if let Some(authorities) = authorities.take() {
            tls.set_cert_store(authorities.store);
        }
        watch_verification(tls, witness);
        Ok(())
    }
}

thread_local! {
    /// What the server showed.
    static SERVER: RefCell<Option<ServerCertificate>> = const { RefCell::new(None) };
}

/// Keeps the first certificate that was refused, else the last that was looked at, which is the
/// server's own.
fn witness(ok: bool, context: &X509StoreContextRef) {
    let Some(certificate) = context.current_cert() else {
        return;
    };
    let verdict = if ok { 0 } else { context.error().as_raw() };
    let words = if ok { String::new() } else { context.error().error_string().to_owned() };
    SERVER.with_borrow_mut(|server| {
        if server.as_ref().is_none_or(|server| server.verdict == 0) {
            *server =
                Some(ServerCertificate::of(certificate, verdict, words, context.error_depth()));
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
        if std::mem::take(&mut self.proxy_handshakes) {
            return Ok(());
        }
        with_ssl_ctx(ctx, |tls| self.configure_tls(tls)).map_err(|errors| {
            self.setup_errors = entries(&errors);
            curl::Error::new(curl_sys::CURLE_SSL_CERTPROBLEM)
        })
    }
}
