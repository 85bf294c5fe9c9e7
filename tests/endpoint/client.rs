//! Bytes to the endpoint and bytes back: what no HTTP library would let a test do.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::support::{Device, SOON};

/// An answer, or what came of it before the connection was closed.
#[derive(Debug)]
pub struct Answer {
    /// 0: no answer came.
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

pub fn connect(device: &Device) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", device.port())).expect("the endpoint");
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// Sends these bytes and reads to the end.
pub fn send(device: &Device, bytes: &[u8]) -> Answer {
    let mut stream = connect(device);
    // One that refuses early may close before all of it was sent.
    let _ = stream.write_all(bytes);
    read(&mut stream)
}

/// Reads until the connection is closed, which it is after each answer.
pub fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    if let Err(e) = stream.read_to_end(&mut bytes) {
        assert!(e.kind() == std::io::ErrorKind::ConnectionReset, "the connection stays open: {e}");
    }
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// What an SDK sends, with this token.
pub fn request(device: &Device, token: &str) -> String {
    format!(
        "GET /credentials HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUser-Agent: a-test/1\r\nAuthorization: \
         {token}\r\n\
         Accept: application/json\r\n\r\n",
        device.port()
    )
}

pub fn ask(device: &Device, token: &str) -> Answer {
    send(device, request(device, token).as_bytes())
}

/// The token as the device's programs get it.
pub fn token(device: &Device) -> String {
    device.wait_for("the file for programs", SOON, |device| {
        let text = std::fs::read_to_string(device.runtime_directory.join("endpoint.env")).ok()?;
        let line =
            text.lines().find_map(|l| l.strip_prefix("AWS_CONTAINER_AUTHORIZATION_TOKEN="))?;
        Some(line.to_owned())
    })
}

/// Asks until there are credentials.
pub fn ask_until_served(device: &Device) -> Value {
    let token = token(device);
    device.wait_for("credentials from the endpoint", SOON, |device| {
        // It may not listen yet.
        TcpStream::connect(("127.0.0.1", device.port())).ok()?;
        let answer = ask(device, &token);
        (answer.status == 200).then(|| answer.json())
    })
}
