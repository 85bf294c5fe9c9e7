//! The address of Litestream's metrics (`addr:` in litestream.yml).

use std::net::SocketAddr;

/// Where they are. Loopback alone: they name files, and are asked for without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub socket: SocketAddr,
    pub path: String,
}

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
