//! A network whose only way out is a proxy.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use edgerotate::{
    problems::failure::Cause,
    settings::{PrivateKey, Proxy as Setting},
};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

use crate::{bench::Bench, support::token::write_private};

// Each is a test, and shows these causes.
cases! {
    what_the_proxy_answers_is_told: ProxyUnreachable ProxyRefused;
    a_user_file_that_is_none: ProxyFileUnusable;
}

/// Nothing listens there: only the proxy knows the way.
const BEHIND: u16 = 444;

#[test]
fn the_proxy_is_the_way_and_reads_nothing() {
    let mut bench = Bench::with_key_file("proxy-way");
    let proxy = Proxy::start(&mut bench, Kind::Plain, "HTTP/1.1 200 Connection established");
    bench.fetch_credentials();
    let heads = proxy.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 1, "{heads:?}");
    let connect = format!("CONNECT {}:{BEHIND} HTTP/1.1\r\n", bench.provider.host);
    assert!(heads[0].starts_with(&connect), "{heads:?}");
    assert!(!heads[0].contains("Authorization"), "{heads:?}");
}

#[test]
fn user_and_password_come_from_a_file_and_go_to_the_proxy_alone() {
    let mut bench = Bench::with_key_file("proxy-user");
    let proxy = Proxy::start(&mut bench, Kind::Plain, "HTTP/1.1 200 OK");
    let file = bench.scratch.join("proxy-user");
    write_private(&file, "press:s3cret:word\n");
    bench.provider.proxy.as_mut().unwrap().user_file = Some(file);
    bench.fetch_credentials();
    let heads = proxy.heads.lock().unwrap().concat();
    let sent = openssl::base64::encode_block(b"press:s3cret:word");
    assert!(heads.contains(&format!("Proxy-Authorization: Basic {sent}\r\n")), "{heads}");
}

/// The handshake with the proxy is none of the device's certificate, and the CA file none of the
/// proxy's.
#[test]
fn a_proxy_that_speaks_tls_is_one_handshake_more() {
    let mut bench = Bench::with_key_file("proxy-tls");
    let _proxy = Proxy::start(&mut bench, Kind::Tls, "HTTP/1.1 200 OK");
    let failure = bench.fetch_failure();
    assert_eq!(failure.cause, Cause::ProxyUnreachable, "nobody vouches for it: {failure}");
    let own = bench.scratch.join("proxy-cert.pem");
    bench.launcher.environment.push(("SSL_CERT_FILE".into(), own.into()));
    bench.fetch_credentials();
    // The provider is checked against the CA file all the same.
    bench.provider.ca_file = Some(bench.cloud.wrong_ca_file());
    assert_eq!(bench.fetch_failure().cause, Cause::ServerNotTrusted);
}

fn what_the_proxy_answers_is_told() {
    let mut bench = Bench::with_key_file("proxy-answers");
    for (answer, cause, words) in [
        ("HTTP/1.1 407 Proxy Authentication Required", Cause::ProxyRefused, "answers 407"),
        ("HTTP/1.1 403 Forbidden", Cause::ProxyRefused, "answers 403"),
        ("HTTP/1.1 502 Bad Gateway", Cause::ProxyUnreachable, "answers 502"),
    ] {
        let proxy = Proxy::start(&mut bench, Kind::Plain, answer);
        let url = bench.provider.proxy.as_ref().unwrap().url.clone();
        bench.assert_fails(cause, &[words, &url]);
        assert_eq!(proxy.heads.lock().unwrap().len(), 1);
    }
    bench.provider.proxy.as_mut().unwrap().url = "http://127.0.0.1:1".to_owned();
    bench.assert_fails(Cause::ProxyUnreachable, &["by way of http://127.0.0.1:1"]);
    bench.provider.proxy.as_mut().unwrap().url = "http://no-such-proxy.invalid:3128".to_owned();
    bench.assert_fails(Cause::ProxyUnreachable, &["no-such-proxy.invalid"]);
    assert!(bench.cloud.requests().is_empty());
}

fn a_user_file_that_is_none() {
    let mut bench = Bench::with_key_file("proxy-file");
    let _proxy = Proxy::start(&mut bench, Kind::Plain, "HTTP/1.1 200 OK");
    let file = bench.scratch.join("proxy-user");
    bench.provider.proxy.as_mut().unwrap().user_file = Some(file.clone());
    bench.assert_fails(Cause::ProxyFileUnusable, &["No such file"]);
    for (text, words) in [
        ("", "no USER:PASSWORD"),
        ("s3cret", "no USER:PASSWORD"),
        ("a:b\nc:d\n", "not one line"),
        ("\u{feff}a:b\n", "not one line"),
    ] {
        write_private(&file, text);
        let failure = bench.fetch_failure();
        assert_eq!(failure.cause, Cause::ProxyFileUnusable);
        assert!(failure.detail.contains(words), "{failure}");
        assert!(!failure.to_string().contains("s3cret"), "{failure}");
    }
    // Before anything is done with the key.
    bench.provider.key = PrivateKey::File("/nonexistent/key".into());
    bench.assert_fails(Cause::ProxyFileUnusable, &["not one line"]);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Tls,
}

/// Answers each CONNECT in the same way, and with 200 leads to the cloud's provider.
struct Proxy {
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(bench: &mut Bench, kind: Kind, answer: &'static str) -> Self {
        let endpoint = bench.cloud.endpoint();
        let to: u16 = endpoint.rsplit_once(':').unwrap().1.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if kind == Kind::Tls { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{port}");
        bench.provider.proxy = Some(Setting { url, user_file: None });
        bench.provider.port = BEHIND;
        let acceptor = (kind == Kind::Tls).then(|| acceptor(bench));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let seen = Arc::clone(&seen);
                match &acceptor {
                    None => {
                        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                        drop(thread::spawn(move || serve(stream, answer, to, &seen)));
                    }
                    Some(acceptor) => {
                        let acceptor = acceptor.clone();
                        thread::spawn(move || {
                            // A client that does not trust it goes away.
                            if let Ok(stream) = acceptor.accept(stream) {
                                let _ = stream
                                    .get_ref()
                                    .set_read_timeout(Some(Duration::from_millis(1)));
                                serve(stream, answer, to, &seen);
                            }
                        });
                    }
                }
            }
        });
        Self { heads }
    }
}

fn acceptor(bench: &Bench) -> SslAcceptor {
    let (key, _) = bench.make_key("proxy");
    let path = bench.scratch.join("proxy-cert.pem");
    crate::tls::certificate(&path, &key, "localhost", (-1, 30));
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate_chain_file(&path).unwrap();
    acceptor.set_private_key_file(&key, SslFiletype::PEM).unwrap();
    acceptor.build()
}

fn serve(mut client: impl Read + Write, answer: &str, to: u16, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match client.read(&mut byte) {
            Ok(0) => return,
            Ok(_) => head.push(byte[0]),
            Err(e) if is_too_soon(&e) => {}
            Err(_) => return,
        }
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    client.write_all(format!("{answer}\r\nX-Proxy: yes\r\n\r\n").as_bytes()).unwrap();
    if !answer.contains(" 200 ") {
        return;
    }
    let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    while pass(&mut client, &mut server) && pass(&mut server, &mut client) {}
}

/// What is there to be passed on; false once one side has gone.
fn pass(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut bytes = [0; 16 * 1024];
    match from.read(&mut bytes) {
        Ok(0) => false,
        Ok(count) => to.write_all(&bytes[..count]).is_ok(),
        Err(e) => is_too_soon(&e),
    }
}

fn is_too_soon(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
