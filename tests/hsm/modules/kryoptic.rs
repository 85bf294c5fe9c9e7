//! kryoptic, from crates.io: a token in an SQLite file, whose flags tell of wrong PINs.

use std::{fs, path::PathBuf};

use super::{Backend, Hsm, Pin, path_text, softhsm::URI};
use crate::support::{Scratch, root};

struct File {
    path: PathBuf,
    away: PathBuf,
}

impl Backend for File {
    fn stop(&mut self) {
        fs::rename(&self.path, &self.away).unwrap();
        // It would make a new one.
        fs::create_dir(&self.path).unwrap();
    }

    fn start(&mut self) {
        fs::remove_dir(&self.path).unwrap();
        fs::rename(&self.away, &self.path).unwrap();
    }
}

pub fn new(name: &str) -> Hsm {
    let scratch = Scratch::new(&format!("hsm-{name}"));
    let module = root().join("target/hsm/kryoptic/libkryoptic_pkcs11.so");
    assert!(module.exists(), "{} is missing: run tests/prepare hsm", module.display());
    let (path, away) = (scratch.join("token.sql"), scratch.join("away.sql"));
    let hsm = Hsm {
        name: "kryoptic",
        version: "1.5.4".to_owned(),
        module,
        uri: URI,
        pin: Pin::Counted,
        environment: vec![("KRYOPTIC_CONF", path_text(&path))],
        wrapper: Vec::new(),
        sign_us: 50,
        backend: Box::new(File { path, away }),
        scratch,
    };
    hsm.make_token(&["--slot-index", "0"], "EC:prime256v1");
    hsm
}
