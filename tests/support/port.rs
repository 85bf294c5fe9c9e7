//! A fixed port for one test, although tests run side by side.
//!
//! A look whether a port is free leaves a gap between the look and the taking. So it is claimed
//! first, by a socket with an abstract name: the kernel gives that to one process, and takes it
//! back however the process ends. The ports lie below those that the kernel gives to clients.

use std::{
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

pub struct Port {
    pub number: u16,
    _claim: UnixDatagram,
}

impl Port {
    pub fn claim() -> Self {
        (20_000..30_000)
            .find_map(|number| {
                let name = format!("edgerotate-test-port-{number}");
                let claim =
                    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).ok()?).ok()?;
                // Whoever else listens there makes no claim.
                TcpListener::bind(("127.0.0.1", number)).ok()?;
                Some(Self { number, _claim: claim })
            })
            .expect("a free port")
    }
}
