//! What a request must be to be answered with credentials. Nothing is read or written here.
//!
//! The token keeps out the device's other programs. It does not keep out a web page in a browser on
//! the device whose host name was made to point to 127.0.0.1, or a proxy that passes on what others
//! ask: these are told by their headers.

use serde::Serialize;

use super::{consumers, token::EndpointToken};
use crate::core::secret::Secret;

/// The path that is asked for; the rest of the URI is the listener's address.
pub const PATH: &str = "/credentials";

/// The longest head of a request. SDKs send some 300 bytes, and the token 64 of them.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;

/// More header lines than any SDK sends.
const MAX_HEADERS: usize = 32;

/// Why there are no credentials for a request, as every SDK reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    #[serde(skip)]
    pub status: u16,
    pub code: &'static str,
    pub message: &'static str,
    /// Further lines of the answer's head, each with its end.
    #[serde(skip)]
    pub headers: &'static str,
    /// An answer to HEAD has none.
    #[serde(skip)]
    pub has_body: bool,
}

impl Refusal {
    const fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, headers: "", has_body: true }
    }

    const fn with_headers(mut self, headers: &'static str) -> Self {
        self.headers = headers;
        self
    }

    const fn without_body(mut self) -> Self {
        self.has_body = false;
        self
    }

    const NO_HTTP: Self = Self::new(400, "BadRequest", "this is not an HTTP/1 request");
    const NO_TOKEN: Self = Self::new(
        401,
        "Unauthorized",
        "the header Authorization has no token, or another; AWS_CONTAINER_AUTHORIZATION_TOKEN in \
         edgerotate's \
         endpoint.env has the one of this boot",
    )
    .with_headers("WWW-Authenticate: Bearer\r\n");
    const FOREIGN_HOST: Self =
        Self::new(403, "Forbidden", "the header Host is not this address: ask 127.0.0.1 itself");
    const PASSED_ON: Self = Self::new(
        403,
        "Forbidden",
        "this request came by way of a proxy (X-Forwarded-For, Forwarded or Via); credentials are \
         for this device alone",
    );
    const NOT_HERE: Self = Self::new(404, "NotFound", "only /credentials is served here");
    const NO_GET: Self =
        Self::new(405, "MethodNotAllowed", "only GET is supported").with_headers("Allow: GET\r\n");
    const NO_HEAD: Self = Self::NO_GET.without_body();
    pub const TOO_SLOW: Self =
        Self::new(408, "RequestTimeout", "the request did not come to an end in time");
    pub const TOO_LARGE: Self = Self::new(
        431,
        "RequestHeaderFieldsTooLarge",
        "the request's head is longer than 8192 bytes, or has more than 32 lines",
    );
    pub const NOTHING_YET: Self = Self::new(
        503,
        "CredentialsNotAvailable",
        "edgerotate has no valid credentials now and tries to get some; its log says why",
    );
}

/// Who sends no `User-Agent`, or an empty one.
const NAMELESS: &str = "a program without a name";

/// What matters of a request's head.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head {
    method: String,
    path: String,
    /// Of a request that names the whole address; else empty.
    named_host: String,
    /// HTTP/1.0 has no `Host`.
    needs_host: bool,
    hosts: Vec<String>,
    authorization: Option<Secret>,
    passed_on: bool,
    program: String,
}

impl Head {
    /// Reads the head at the start of `bytes`; `None` while it is not whole.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TOO_LARGE),
            Err(_) => return Err(Refusal::NO_HTTP),
        }
        let target = request.path.unwrap_or_default();
        // A client may name the whole address (RFC 9112, 3.2.2); then that is the host.
        let (host, path) = match target.strip_prefix("http://") {
            Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
            None => ("", target),
        };
        let mut head = Self {
            method: request.method.unwrap_or_default().to_owned(),
            path: path.split('?').next().unwrap_or_default().to_owned(),
            named_host: host.to_owned(),
            needs_host: request.version == Some(1),
            ..Self::default()
        };
        for header in request.headers {
            let is = |name| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                head.hosts.push(String::from_utf8_lossy(header.value).into_owned());
            } else if is("authorization") {
                // What is no UTF-8 is no token either.
                let sent = String::from_utf8_lossy(header.value).into_owned();
                head.authorization = Some(Secret::new(sent));
            } else if ["x-forwarded-for", "forwarded", "via"].into_iter().any(is) {
                head.passed_on = true;
            } else if is("user-agent") {
                head.program = consumers::name(header.value);
            }
        }
        Ok(Some(head))
    }

    /// The program that may have credentials, by its own name; or why it may not.
    pub fn judge(&self, port: u16, token: &EndpointToken) -> Result<String, Refusal> {
        if self.passed_on {
            return Err(Refusal::PASSED_ON);
        }
        let is_ours = match &self.hosts[..] {
            [] => !self.needs_host,
            [host] => is_loopback(host, port),
            _ => false,
        };
        if !is_ours || !(self.named_host.is_empty() || is_loopback(&self.named_host, port)) {
            return Err(Refusal::FOREIGN_HOST);
        }
        if self.path != PATH {
            return Err(Refusal::NOT_HERE);
        }
        match self.method.as_str() {
            "GET" => {}
            "HEAD" => return Err(Refusal::NO_HEAD),
            _ => return Err(Refusal::NO_GET),
        }
        let sent = self.authorization.as_ref().map_or("", Secret::expose).as_bytes();
        // Some clients make a bearer token of it; the scheme's case does not matter (RFC 9110).
        let sent = match sent.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"Bearer ") => rest,
            _ => sent,
        };
        if !token.is(sent) {
            return Err(Refusal::NO_TOKEN);
        }
        let name = self.program.trim();
        Ok(if name.is_empty() { NAMELESS } else { name }.to_owned())
    }
}

fn is_loopback(host: &str, port: u16) -> bool {
    let (name, right_port) = match host.rsplit_once(':') {
        Some((name, text)) => (name, text == port.to_string()),
        None => (host, true),
    };
    right_port && (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost"))
}

/// The words that go with a status.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &str) -> Result<String, Refusal> {
        let head = head.replace("TOKEN", EndpointToken::OF_TESTS).replace('\n', "\r\n");
        let parsed = Head::parse(head.as_bytes())?.expect("a whole head");
        parsed.judge(9170, &EndpointToken::of_tests())
    }

    #[test]
    fn what_an_sdk_sends_is_answered() {
        for head in [
            "GET /credentials HTTP/1.1\nHost: 127.0.0.1:9170\nUser-Agent: sdk/1\nAuthorization: \
             TOKEN\n\n",
            "GET /credentials HTTP/1.1\nhost: LOCALHOST\nuser-agent: sdk/1\nauthorization: Bearer \
             TOKEN\n\n",
            "GET /credentials HTTP/1.0\nHost: 127.0.0.1\nUser-Agent: sdk/1\nAuthorization: bearer \
             TOKEN\n\n",
            "GET /credentials HTTP/1.0\nUser-Agent: sdk/1\nAuthorization: TOKEN\n\n",
            "GET /credentials? HTTP/1.1\nHost: 127.0.0.1\nUser-Agent: sdk/1\nAuthorization: \
             TOKEN\n\n",
            "GET http://127.0.0.1:9170/credentials HTTP/1.1\nHost: 127.0.0.1:9170\nUser-Agent: \
             sdk/1\nAuthorization: TOKEN\n\n",
        ] {
            assert_eq!(judge(head).as_deref(), Ok("sdk/1"), "{head}");
        }
    }

    #[test]
    fn who_has_no_name_is_called_so_and_the_token_does_not_print() {
        let good = "GET /credentials HTTP/1.1\nHost: 127.0.0.1\nAuthorization: TOKEN\n\n";
        for agent in ["", "User-Agent:\n", "User-Agent: \u{e9}\n"] {
            let head = good.replace("Authorization", &format!("{agent}Authorization"));
            assert_eq!(judge(&head).as_deref(), Ok(NAMELESS), "{agent}");
        }
        let text = good.replace("TOKEN", "hunter2").replace('\n', "\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        assert!(format!("{head:?}").contains("[secret]"));
    }

    #[test]
    fn what_is_wrong_is_said_by_status_and_code() {
        let good = "GET /credentials HTTP/1.1\nHost: 127.0.0.1:9170\nAuthorization: TOKEN\n\n";
        for (from, to, refusal) in [
            ("TOKEN", "xTOKEN", Refusal::NO_TOKEN),
            ("TOKEN", "Basic TOKEN", Refusal::NO_TOKEN),
            ("TOKEN", "Bearer", Refusal::NO_TOKEN),
            ("TOKEN", "", Refusal::NO_TOKEN),
            ("Authorization", "X-Token", Refusal::NO_TOKEN),
            ("127.0.0.1:9170", "evil.example:9170", Refusal::FOREIGN_HOST),
            ("127.0.0.1:9170", "127.0.0.1.evil.example", Refusal::FOREIGN_HOST),
            ("127.0.0.1:9170", "127.0.0.1:9171", Refusal::FOREIGN_HOST),
            ("127.0.0.1:9170", "10.0.0.1:9170", Refusal::FOREIGN_HOST),
            ("Host", "X-Host", Refusal::FOREIGN_HOST),
            ("Host", "Host: evil.example\nHost", Refusal::FOREIGN_HOST),
            ("Authorization", "X-Forwarded-For: 10.0.0.1\nAuthorization", Refusal::PASSED_ON),
            ("Authorization", "Forwarded: for=10.0.0.1\nAuthorization", Refusal::PASSED_ON),
            ("Authorization", "Via: 1.1 proxy\nAuthorization", Refusal::PASSED_ON),
            ("/credentials", "http://evil.example/credentials", Refusal::FOREIGN_HOST),
            ("GET", "HEAD", Refusal::NO_HEAD),
            ("/credentials", "/credentials/", Refusal::NOT_HERE),
            ("/credentials", "/", Refusal::NOT_HERE),
            ("GET", "POST", Refusal::NO_GET),
            ("HTTP/1.1", "HTTP/2.0", Refusal::NO_HTTP),
            ("GET", "\u{1}", Refusal::NO_HTTP),
            ("Host", &("X: 1\n".repeat(MAX_HEADERS) + "Host"), Refusal::TOO_LARGE),
        ] {
            assert_eq!(judge(&good.replace(from, to)), Err(refusal), "{from} as {to}");
        }
    }

    #[test]
    fn a_head_is_waited_for_until_it_is_whole() {
        let whole = b"GET /credentials HTTP/1.1\r\nHost: a\r\n\r\n";
        for length in 1..whole.len() {
            assert_eq!(Head::parse(&whole[..length]), Ok(None), "{length}");
        }
        assert!(matches!(Head::parse(whole), Ok(Some(_))));
    }

    #[test]
    fn every_refusal_says_what_and_has_its_words() {
        let json = serde_json::to_string(&Refusal::NOTHING_YET).unwrap();
        assert!(
            json.starts_with(r#"{"code":"CredentialsNotAvailable","message":"edgerotate has no "#)
        );
        assert_eq!(reason(503), "Service Unavailable");
    }
}
