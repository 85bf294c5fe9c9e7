//! SoftHSM: a token in files.

use std::{fs, path::PathBuf};

use super::{Backend, Hsm, Pin, make_directory, path_text, version_of};
use crate::support::{Scratch, token::SOFTHSM};

pub const URI: &str = "pkcs11:token=edgerotate;object=device;type=private";

/// The directory of the tokens' files, which can be moved away.
struct Files {
    store: PathBuf,
    away: PathBuf,
}

impl Backend for Files {
    fn stop(&mut self) {
        fs::rename(&self.store, &self.away).unwrap();
    }

    fn start(&mut self) {
        fs::rename(&self.away, &self.store).unwrap();
    }
}

pub fn new(name: &str) -> Hsm {
    let scratch = Scratch::new(&format!("hsm-{name}"));
    let store = make_directory(&scratch.join("store"));
    let configuration = scratch.join("softhsm2.conf");
    let settings = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        store.display()
    );
    fs::write(&configuration, settings).unwrap();
    let away = scratch.join("away");
    let hsm = Hsm {
        name: "SoftHSM",
        version: version_of("libsofthsm2"),
        module: SOFTHSM.into(),
        uri: URI,
        pin: Pin::Counted,
        environment: vec![("SOFTHSM2_CONF", path_text(&configuration))],
        wrapper: Vec::new(),
        sign_us: 100,
        backend: Box::new(Files { store, away }),
        scratch,
    };
    hsm.make_token(&["--slot-index", "0"], "EC:prime256v1");
    hsm
}
