//! A loopback port that is held for good, whether or not connections are taken.
//!
//! Two clouds must not take one port, and a look whether it is free leaves a gap between the look and the taking. So a
//! port is claimed first, by a socket with an abstract name: the kernel gives that to one process, and takes it back
//! however the process ends.
//!
//! A refused connection must look like a server that is down: the kernel answers with a reset. So the listening
//! socket is closed then, while a second, silent socket keeps the port from being given to anybody else.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixDatagram},
    },
    sync::Arc,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};

use crate::secrets;

/// Below the range that Linux takes outgoing connections' ports from, so that none of those can sit on ours while
/// the cloud is away.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

pub struct Port {
    pub number: u16,
    refuse: watch::Sender<bool>,
    listening: watch::Sender<bool>,
    _claim: UnixDatagram,
    _holder: TcpSocket,
}

impl Port {
    /// Takes `wanted`, or a free one.
    pub fn reserve(wanted: Option<u16>) -> io::Result<Arc<Self>> {
        if let Some(port) = wanted {
            return Self::hold(port)
                .map_err(|error| io::Error::new(error.kind(), format!("port {port}: {error}")));
        }
        let size = PORTS.end - PORTS.start;
        let first = secrets::random_port_offset(size);
        let mut last_error = None;
        for step in 0..size {
            match Self::hold(PORTS.start + (first + step) % size) {
                Ok(port) => return Ok(port),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }

    fn hold(number: u16) -> io::Result<Arc<Self>> {
        let claim = UnixDatagram::bind_addr(&claim_on(number)?)?;
        // Whoever else listens is no cloud and makes no claim: look for it.
        drop(std::net::TcpListener::bind(address(number))?);
        let holder = socket(number)?;
        Ok(Arc::new(Self {
            number,
            refuse: watch::Sender::new(false),
            listening: watch::Sender::new(false),
            _claim: claim,
            _holder: holder,
        }))
    }

    /// Gives each connection to `serve` on a task of its own.
    pub async fn run<F>(&self, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut refuse = self.refuse.subscribe();
        loop {
            // The sender lives in self, so these waits can't fail.
            let _ = refuse.wait_for(|refuse| !refuse).await;
            let listener = socket(self.number)?.listen(1024)?;
            self.listening.send_replace(true);
            tokio::select! {
                result = self.accept(&listener, &serve) => return result,
                _ = refuse.wait_for(|refuse| *refuse) => {}
            }
            drop(listener);
            self.listening.send_replace(false);
        }
    }

    async fn accept<F>(
        &self,
        listener: &TcpListener,
        serve: &impl Fn(TcpStream) -> F,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let connection = serve(stream);
            let mut refuse = self.refuse.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    () = connection => {}
                    _ = refuse.wait_for(|refuse| *refuse) => {}
                }
            });
        }
    }

    /// Returns when the change is in force: no connection slips through afterwards.
    pub async fn set_refusing(&self, refuse: bool) {
        let mut listening = self.listening.subscribe();
        self.refuse.send_replace(refuse);
        let _ = listening.wait_for(|listening| *listening != refuse).await;
    }
}

fn socket(number: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address(number))?;
    Ok(socket)
}

fn claim_on(number: u16) -> io::Result<UnixAddr> {
    UnixAddr::from_abstract_name(format!("edgerotate-cloud-port-{number}"))
}

fn address(number: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, number).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_given_to_one_only_even_while_nobody_listens() {
        let port = Port::reserve(None).unwrap();
        let again = Port::reserve(Some(port.number)).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        let number = port.number;
        drop(port);
        assert!(Port::reserve(Some(number)).is_ok());
    }
}
