//! Litestream's metrics, asked for over HTTP on this device (`addr:` in litestream.yml).

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Where they are. Loopback alone: they name files, and are asked for without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub socket: SocketAddr,
    pub path: String,
}

/// It answers at once, or not at all.
const WITHIN: Duration = Duration::from_secs(5);

/// Some 8 KB for one database.
const MOST: u64 = 1 << 20;

impl Address {
    /// `http://127.0.0.1:9090/metrics`
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("must begin with http://")?;
        let (socket, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/metrics"),
        };
        let socket: SocketAddr = socket
            .parse()
            .map_err(|_| "must have an address and a port, such as 127.0.0.1:9090")?;
        if !socket.ip().is_loopback() {
            return Err("must be on loopback, such as 127.0.0.1".to_owned());
        }
        if !path.chars().all(|c| c.is_ascii_graphic()) {
            return Err("has a path that is none".to_owned());
        }
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Asks once.
    ///
    /// # Errors
    /// As the system gives them; no answer in time, or another one than metrics.
    pub async fn ask(&self) -> io::Result<String> {
        let answer = timeout(WITHIN, self.answer())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it gives no answer"))??;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split_ascii_whitespace().nth(1).unwrap_or("nothing");
        if status != "200" {
            return Err(io::Error::other(format!("the answer is {status}, and not 200")));
        }
        Ok(body.to_owned())
    }

    async fn answer(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.socket).await?;
        // 1.0: the answer is in one piece and ends with the connection.
        let request = format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", self.path, self.socket);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_on_this_device() {
        let address = Address::parse("http://127.0.0.1:9090/metrics").unwrap();
        assert_eq!(address.socket.to_string(), "127.0.0.1:9090");
        assert_eq!(address.path, "/metrics");
        assert_eq!(Address::parse("http://[::1]:9090").unwrap().path, "/metrics");
        for wrong in [
            "127.0.0.1:9090",
            "https://127.0.0.1:9090/metrics",
            "http://127.0.0.1/metrics",
            "http://192.0.2.1:9090/metrics",
            "http://127.0.0.1:9090/a b",
            "http://127.0.0.1:9090/\r\nX: y",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
