//! A SoftHSM token that plays the device's HSM, with a P-256 key that can't be read out.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    process::{run, tied, try_run},
    root,
};

pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// An initialised token in a directory of its own.
pub struct Token {
    directory: PathBuf,
    label: String,
    pin: String,
    /// Holds the PIN and a newline, as an editor leaves it.
    pub pin_file: PathBuf,
    /// For `SOFTHSM2_CONF`.
    pub configuration: PathBuf,
}

impl Token {
    /// Initialises a token below `directory` and makes its key.
    pub fn new(directory: &Path) -> Self {
        let directory = directory.join("token");
        let store = directory.join("store");
        fs::create_dir_all(&store).expect("the token's directory");
        let configuration = directory.join("softhsm2.conf");
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            store.display()
        );
        fs::write(&configuration, settings).expect("softhsm2.conf");

        let pin = random_digits(10);
        let pin_file = directory.join("pin");
        write_private(&pin_file, &format!("{pin}\n"));

        let token = Self { directory, label: "device".to_owned(), pin, pin_file, configuration };
        let so_pin = random_digits(10);
        let label = token.label.as_str();
        let init =
            ["--slot-index", "0", "--init-token", "--label", label, "--so-pin", "env:SO_PIN"];
        run(token.pkcs11_tool(&init).env("SO_PIN", &so_pin));
        let init_pin = [
            "--token-label",
            label,
            "--login",
            "--login-type",
            "so",
            "--so-pin",
            "env:SO_PIN",
            "--init-pin",
            "--new-pin",
            "env:PIN",
        ];
        run(token.pkcs11_tool(&init_pin).env("SO_PIN", &so_pin));
        token.generate_key("device-key", "01");
        token.back_up();
        token
    }

    /// Keeps a copy of the token as it is.
    pub fn back_up(&self) {
        run(self.command("cp").args(["-a", "store", "backup"]));
    }

    /// Takes the copy back. SoftHSM rewrites its file in place at each login, so that a SIGKILL at
    /// that moment leaves it empty, which an HSM's own memory does not do.
    pub fn repair(&self) {
        run(self.command("cp").args(["-a", "backup/.", "store"]));
    }

    /// A P-256 key as an ATECC608A holds one: it signs, and it is never to be read.
    pub fn generate_key(&self, label: &str, id: &str) {
        let key = ["--keypairgen", "--key-type", "EC:prime256v1", "--sensitive", "--usage-sign"];
        let name = ["--label", label, "--id", id];
        self.with_login(&[&key[..], &name].concat());
    }

    /// As a vendor's import leaves it: the private key alone.
    pub fn delete_public_key(&self, label: &str) {
        self.with_login(&["--delete-object", "--type", "pubkey", "--label", label]);
    }

    /// Gives the token another PIN.
    pub fn change_pin(&self, from: &str, to: &str) {
        let login = ["--token-label", &self.label, "--login", "--pin", "env:FROM"];
        let change = ["--change-pin", "--new-pin", "env:TO"];
        let mut command = self.pkcs11_tool(&[&login[..], &change].concat());
        run(command.env("FROM", from).env("TO", to));
    }

    /// A key from a PEM file, without its public half.
    pub fn import_key(&self, pem: &Path, label: &str, id: &str, further: &[&str]) {
        let der = self.directory.join("import.der");
        let convert = ["pkey", "-outform", "DER", "-in"];
        run(self.command("openssl").args(convert).arg(pem).arg("-out").arg(&der));
        let der = der.to_str().expect("a plain path");
        let write = ["--write-object", der, "--type", "privkey", "--usage-sign", "--sensitive"];
        self.with_login(&[&write[..], &["--label", label, "--id", id], further].concat());
    }

    pub fn import_public_key(&self, pem: &Path, label: &str, id: &str) {
        let convert = ["pkey", "-pubout", "-outform", "DER", "-in"];
        self.write_object(&convert, pem, "pubkey", label, id);
    }

    pub fn write_certificate(&self, pem: &Path, label: &str, id: &str) {
        self.write_object(&["x509", "-outform", "DER", "-in"], pem, "cert", label, id);
    }

    fn write_object(&self, convert: &[&str], pem: &Path, kind: &str, label: &str, id: &str) {
        let der = self.directory.join("object.der");
        run(self.command("openssl").args(convert).arg(pem).arg("-out").arg(&der));
        let der = der.to_str().expect("a plain path");
        self.with_login(&["--write-object", der, "--type", kind, "--label", label, "--id", id]);
    }

    fn with_login(&self, arguments: &[&str]) {
        let login = ["--token-label", &self.label, "--login", "--pin", "env:PIN"];
        run(&mut self.pkcs11_tool(&[&login[..], arguments].concat()));
    }

    /// A second token of the same label in another slot, as a cloned HSM makes one.
    pub fn initialise_another(&self) {
        run(self
            .command("softhsm2-util")
            .args(["--init-token", "--free", "--label", &self.label])
            .args(["--so-pin", "1234567890", "--pin", "1234567890"]));
    }

    /// The `pkcs11:` URI of the key, without a PIN.
    pub fn key_uri(&self) -> String {
        self.uri_of("device-key")
    }

    pub fn uri_of(&self, key: &str) -> String {
        format!("pkcs11:token={};object={key};type=private", self.label)
    }

    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// A certificate request that the key signed inside the token.
    pub fn certificate_request(&self, thing: &str) -> String {
        self.certificate_request_of("device-key", thing)
    }

    pub fn certificate_request_of(&self, key: &str, thing: &str) -> String {
        let uri = self.uri_of(key);
        let subject = format!("/CN={thing}");
        let pin_file = self.pin_file.to_str().expect("a plain path");
        let (succeeded, output) = try_run(
            self.command("openssl")
                .env("PKCS11_MODULE_PATH", SOFTHSM)
                .args([
                    "req", "-new", "-sha256", "-engine", "pkcs11", "-keyform", "engine", "-subj",
                    &subject,
                ])
                .args(["-key", &uri, "-passin", &format!("file:{pin_file}")]),
        );
        let request = output.find("-----BEGIN").map(|at| &output[at..]);
        match request.and_then(|r| r.find("-----END CERTIFICATE REQUEST-----").map(|end| &r[..end]))
        {
            Some(body) if succeeded => format!("{body}-----END CERTIFICATE REQUEST-----\n"),
            _ => panic!("openssl made no certificate request:\n{output}"),
        }
    }

    /// Asks the token for the private value itself; returns its answer, which is to be a refusal.
    pub fn try_to_read_key(&self) -> (bool, String) {
        try_run(
            self.command("python3")
                .arg(root().join("tests/support/read-private-key.py"))
                .args([SOFTHSM, "device-key"])
                .arg(&self.pin_file),
        )
    }

    /// What the token tells about its key.
    pub fn describe_key(&self) -> String {
        let arguments = [
            "--token-label",
            &self.label,
            "--login",
            "--pin",
            "env:PIN",
            "--list-objects",
            "--type",
            "privkey",
        ];
        run(&mut self.pkcs11_tool(&arguments))
    }

    fn pkcs11_tool(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("pkcs11-tool");
        command.args(["--module", SOFTHSM]).args(arguments).env("PIN", &self.pin);
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = tied(program);
        command.env("SOFTHSM2_CONF", &self.configuration).current_dir(&self.directory);
        command
    }
}

/// Writes a file that only its owner may read, from its first byte on.
pub fn write_private(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("a private file");
    file.write_all(text.as_bytes()).expect("a private file");
}

fn random_digits(count: usize) -> String {
    let mut bytes = vec![0; count];
    std::io::Read::read_exact(
        &mut fs::File::open("/dev/urandom").expect("/dev/urandom"),
        &mut bytes,
    )
    .expect("random");
    bytes.iter().map(|b| char::from(b'0' + b % 10)).collect()
}
