//! Tokens, each made with its module's own means: a key `device` in a token `edgerotate`, and its
//! certificate request.

pub mod atecc608;
pub mod kryoptic;
pub mod opencryptoki;
pub mod p11_kit;
pub mod softhsm;
pub mod tpm2;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::newer::Newer;
use crate::support::{
    Scratch,
    device::THING,
    process::{run, tied, try_run},
    wait_until,
};

/// The user PIN of all tokens that have one: of a length that each of them takes.
pub const PIN: &str = "648219";
pub const WRONG_PIN: &str = "648210";
const SO_PIN: &str = "87654321";

/// A token behind a module.
pub struct Hsm {
    /// As the table names it.
    pub name: &'static str,
    /// The module's, and that of what is behind it.
    pub version: String,
    pub module: PathBuf,
    pub uri: &'static str,
    pub pin: Pin,
    /// What the module reads.
    pub environment: Vec<(&'static str, String)>,
    /// What stands before each program that uses the module.
    pub wrapper: Vec<String>,
    /// When a fetch is killed: in microseconds after a signature begins, less than it takes.
    pub sign_us: u32,
    backend: Box<dyn Backend>,
    pub scratch: Scratch,
}

/// How the token treats PINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// It wants the right one.
    Counted,
    /// It asks for none.
    None,
}

/// What is behind the module.
pub trait Backend {
    /// It is gone, as a daemon that was killed or a chip that was taken off its bus.
    fn stop(&mut self);

    /// It comes back, with all that it had stored.
    fn start(&mut self);

    /// Takes away what a client has left behind.
    fn settle(&self) {}

    /// What passes with time passes: tries of a wrong PIN are forgiven in seconds from here on.
    fn forgive_soon(&mut self) {}

    /// The power goes, and comes back.
    fn cut_power(&mut self) {
        self.stop();
        self.start();
    }
}

impl Hsm {
    pub fn backend(&mut self) -> &mut dyn Backend {
        &mut *self.backend
    }

    /// A program that uses the module.
    pub fn command(&self, program: &str) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => tied(program),
            Some((first, rest)) => {
                let mut command = tied(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("PIN", PIN).env("SO_PIN", SO_PIN).current_dir(&*self.scratch);
        command
    }

    fn pkcs11_tool(&self, arguments: &[&str]) {
        run(self.command("pkcs11-tool").arg("--module").arg(&self.module).args(arguments));
        self.backend.settle();
    }

    /// The standard's own way to a token: C_InitToken, C_InitPIN, C_GenerateKeyPair.
    fn make_token(&self, slot: &[&str], key_type: &str) {
        let init = ["--init-token", "--label", "edgerotate", "--so-pin", "env:SO_PIN"];
        self.pkcs11_tool(&[slot, &init].concat());
        let token = ["--token-label", "edgerotate", "--login"];
        let so = ["--login-type", "so", "--so-pin", "env:SO_PIN"];
        self.pkcs11_tool(&[&token[..], &so, &["--init-pin", "--new-pin", "env:PIN"]].concat());
        let key = ["--keypairgen", "--key-type", key_type, "--label", "device", "--id", "01"];
        self.pkcs11_tool(&[&token[..], &["--pin", "env:PIN", "--usage-sign"], &key].concat());
    }

    /// A certificate request that the key signed in the token.
    ///
    /// By `org.openssl.engine:` and without `-engine`, which would make libp11 the default of the
    /// whole process: modules that compute with OpenSSL themselves fail then.
    pub fn certificate_request(&self) -> String {
        let key = format!("org.openssl.engine:pkcs11:{}", self.uri);
        let mut command = self.command("openssl");
        command.env("PKCS11_MODULE_PATH", &self.module);
        command.args(["req", "-new", "-sha256", "-subj", &format!("/CN={THING}"), "-key", &key]);
        if self.pin == Pin::Counted {
            command.args(["-passin", "env:PIN"]);
        }
        let (succeeded, output) = try_run(&mut command);
        self.backend.settle();
        let end = "-----END CERTIFICATE REQUEST-----\n";
        let request = output.find("-----BEGIN").map(|at| &output[at..]);
        match request.and_then(|text| text.find(end).map(|at| &text[..at + end.len()])) {
            Some(request) if succeeded => request.to_owned(),
            _ => panic!("openssl made no certificate request:\n{output}"),
        }
    }
}

/// The version of a Debian package, where edgerotate runs.
pub fn version_of(package: &str) -> String {
    match Newer::of_environment() {
        Some(newer) => upstream(&newer.version_of(package)),
        None => version_here(package),
    }
}

/// The same of what runs on this machine in any case.
pub fn version_here(package: &str) -> String {
    upstream(&run(tied("dpkg-query").args(["-W", "-f", "${Version}", package])))
}

/// Without the epoch and Debian's own revision.
fn upstream(version: &str) -> String {
    let version = version.rsplit_once(':').map_or(version, |(_, version)| version);
    version.split(['-', '+']).next().unwrap_or_default().to_owned()
}

/// Waits for a server's socket.
fn wait_for_socket(path: &Path) {
    wait_until(&format!("the socket {}", path.display()), crate::support::SOON, || path.exists());
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

fn make_directory(path: &Path) -> PathBuf {
    fs::create_dir_all(path).expect("a directory");
    path.to_owned()
}
