//! p11-kit's client module, with SoftHSM behind a p11-kit server: a token in another process, or on
//! another machine.

use std::path::PathBuf;

use super::{Backend, Hsm, softhsm, version_of, wait_for_socket};
use crate::support::{Process, library, process::tied, token::SOFTHSM};

struct Server {
    socket: PathBuf,
    log: PathBuf,
    configuration: String,
    process: Option<Process>,
}

impl Backend for Server {
    fn stop(&mut self) {
        self.process.take().expect("a running server").kill();
        std::fs::remove_file(&self.socket).ok();
    }

    fn start(&mut self) {
        let mut command = tied("p11-kit");
        command.args(["server", "--foreground", "--provider", SOFTHSM, "--name"]);
        command.arg(&self.socket).arg("pkcs11:token=edgerotate");
        command.env("SOFTHSM2_CONF", &self.configuration);
        self.process = Some(Process::start("p11-kit server", &mut command, &self.log));
        wait_for_socket(&self.socket);
    }
}

pub fn new(name: &str) -> Hsm {
    let mut hsm = softhsm::new(name);
    let (socket, log) = (hsm.scratch.join("p11-kit.sock"), hsm.scratch.join("p11-kit.log"));
    let address = format!("unix:path={}", socket.display());
    let configuration = hsm.environment[0].1.clone();
    let mut server = Server { socket, log, configuration, process: None };
    server.start();
    hsm.version = format!("{}, SoftHSM {}", version_of("p11-kit-modules"), hsm.version);
    hsm.name = "p11-kit's client, SoftHSM behind it";
    hsm.module = library("pkcs11/p11-kit-client.so");
    hsm.environment = vec![("P11_KIT_SERVER_ADDRESS", address)];
    hsm.backend = Box::new(server);
    hsm
}
