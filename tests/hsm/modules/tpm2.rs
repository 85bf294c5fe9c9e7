//! tpm2-pkcs11 on a TPM in software, swtpm. It talks to that TPM directly, as there is no kernel's
//! resource manager here: what a killed client leaves stays in the TPM until the power goes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Backend, Hsm, Pin, make_directory, path_text, softhsm::URI, version_here, version_of,
    wait_for_socket,
};
use crate::support::{
    Process, SOON, Scratch, library,
    process::{tied, try_run},
    wait_until,
};

pub const P_256: &str = "EC:prime256v1";
pub const RSA: &str = "RSA:2048";

/// swtpm, with what a TPM keeps without power in its directory.
pub struct Tpm {
    directory: PathBuf,
    socket: PathBuf,
    process: Option<Process>,
}

impl Tpm {
    pub fn new(directory: &Path) -> Self {
        let socket = directory.join("tpm.sock");
        let directory = make_directory(&directory.join("tpm"));
        let mut tpm = Self { directory, socket, process: None };
        tpm.start();
        tpm
    }

    fn tcti(&self) -> String {
        format!("swtpm:path={}", self.socket.display())
    }

    /// Where the TPM's control channel is: its client asks for it under this name.
    fn control(&self) -> PathBuf {
        let mut path = self.socket.clone().into_os_string();
        path.push(".ctrl");
        path.into()
    }

    /// One of the TPM's own tools.
    pub fn tool(&self, name: &str, arguments: &[&str]) -> String {
        try_run(tied(name).args(arguments).env("TPM2TOOLS_TCTI", self.tcti())).1
    }
}

impl Backend for Tpm {
    fn settle(&self) {
        for what in ["-t", "-l", "-s"] {
            self.tool("tpm2_flushcontext", &[what]);
        }
    }

    fn forgive_soon(&mut self) {
        self.tool("tpm2_dictionarylockout", &["-s", "-n", "3", "-t", "5", "-l", "5"]);
    }

    fn stop(&mut self) {
        self.process.take().expect("a running TPM").kill();
    }

    fn start(&mut self) {
        fs::remove_file(&self.socket).ok();
        fs::remove_file(self.control()).ok();
        let unix = |path: &Path| format!("type=unixio,path={}", path.display());
        let mut command = tied("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", self.directory.display()));
        command.args(["--server", &unix(&self.socket), "--ctrl", &unix(&self.control())]);
        let log = self.directory.join("swtpm.log");
        self.process = Some(Process::start("swtpm", &mut command, &log));
        wait_for_socket(&self.socket);
        wait_until("the TPM", SOON, || {
            self.tool("tpm2_getcap", &["properties-variable"]).contains("TPM2_PT_PERMANENT")
        });
    }
}

/// How many tries a TPM gives before it locks itself, and the seconds in which it forgives one.
pub struct Limits {
    pub tries: u32,
    pub seconds: u32,
}

/// A fleet's: the cuts of a bad day leave tries for the technician.
const USUAL: Limits = Limits { tries: 32, seconds: 600 };

pub fn new(name: &str, key_type: &str) -> Hsm {
    with_limits(name, key_type, USUAL)
}

pub fn with_limits(name: &str, key_type: &str, limits: Limits) -> Hsm {
    let scratch = Scratch::new(&format!("hsm-{name}"));
    let store = make_directory(&scratch.join("store"));
    let tpm = Tpm::new(&scratch);
    let environment =
        vec![("TPM2_PKCS11_STORE", path_text(&store)), ("TPM2_PKCS11_TCTI", tpm.tcti())];
    let (tries, seconds) = (limits.tries.to_string(), limits.seconds.to_string());
    tpm.tool("tpm2_dictionarylockout", &["-s", "-n", &tries, "-t", &seconds, "-l", &seconds]);
    let hsm = Hsm {
        name: if key_type == RSA { "tpm2-pkcs11, RSA" } else { "tpm2-pkcs11" },
        version: format!("{}, swtpm {}", version_of("libtpm2-pkcs11-1"), version_here("swtpm")),
        module: library("pkcs11/libtpm2_pkcs11.so"),
        uri: URI,
        pin: Pin::Counted,
        environment,
        wrapper: Vec::new(),
        sign_us: 3000,
        backend: Box::new(tpm),
        scratch,
    };
    hsm.make_token(&["--slot-index", "0"], key_type);
    hsm
}
