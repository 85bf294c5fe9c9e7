//! Microchip's cryptoauthlib over an emulated ATECC608A (tests/hsm/atecc608), as `tests/prepare`
//! built them.

use std::path::PathBuf;

use super::{Backend, Hsm, Pin, path_text, softhsm::URI, wait_for_socket};
use crate::support::{Process, Scratch, process::tied, root};

/// What `tests/hsm/atecc608/build` puts there.
fn built(name: &str) -> PathBuf {
    let path = root().join("target/hsm/atecc608").join(name);
    assert!(path.exists(), "{} is missing: run tests/prepare", path.display());
    path
}

struct Chip {
    socket: PathBuf,
    state: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Backend for Chip {
    fn stop(&mut self) {
        self.process.take().expect("a running chip").kill();
        std::fs::remove_file(&self.socket).ok();
    }

    fn start(&mut self) {
        let mut command = tied(built("atecc608"));
        command.arg("serve").arg("--socket").arg(&self.socket).arg("--state").arg(&self.state);
        self.process = Some(Process::start("the chip", &mut command, &self.log));
        wait_for_socket(&self.socket);
    }
}

pub fn new(name: &str) -> Hsm {
    let scratch = Scratch::new(&format!("hsm-{name}"));
    let [socket, state, log] = ["bus", "chip", "chip.log"].map(|name| scratch.join(name));
    let environment =
        vec![("LD_PRELOAD", path_text(&built("shim.so"))), ("ATECC608_SOCKET", path_text(&socket))];
    let mut chip = Chip { socket, state, log, process: None };
    chip.start();
    // The chip comes with its key.
    Hsm {
        name: "cryptoauthlib, emulated ATECC608A",
        version: "3.8.0 (20260505)".to_owned(),
        module: built("libcryptoauth.so"),
        uri: URI,
        pin: Pin::None,
        environment,
        wrapper: Vec::new(),
        sign_us: 20_000,
        backend: Box::new(chip),
        scratch,
    }
}
