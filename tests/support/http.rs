//! Just enough HTTP/1.1 for a test's control of its cloud: plain, on loopback, one request a
//! connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// Sends one request; returns the status and the body.
pub fn request(method: &str, url: &str, body: Option<&Value>) -> Result<(u16, String), String> {
    let rest = url.strip_prefix("http://").ok_or("not http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(authority).map_err(|e| format!("{authority}: {e}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|e| e.to_string())?;
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .and_then(|()| stream.read_to_end(&mut answer))
        .map_err(|e| format!("{method} {url}: {e}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no end of the header")?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("no status")?;
    Ok((status, body.to_owned()))
}

/// Sends one request that has to succeed; returns its JSON, null when it has none.
pub fn must(method: &str, url: &str, body: Option<&Value>) -> Value {
    let (status, text) = request(method, url, body).unwrap_or_else(|e| panic!("{e}"));
    assert!((200..300).contains(&status), "{method} {url}: {status} {text}");
    if text.trim().is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }
}
