//! The settings from text to `Config`: no test reads this process's environment.

mod layers;
mod secrets;
mod together;
mod values;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::settings::*;

/// The least that is needed, with a key in a file.
const LEAST: [(&str, &str); 5] = [
    ("EDGEROTATE_ENDPOINT", "a1.credentials.iot.eu-west-1.amazonaws.com"),
    ("EDGEROTATE_ROLE_ALIAS", "replica"),
    ("EDGEROTATE_CERTIFICATE", "/data/device.crt"),
    ("EDGEROTATE_PRIVATE_KEY", "/data/device.key"),
    ("EDGEROTATE_DATABASE", "/data/heartbeat.db"),
];

/// The least that is needed, with a key in a token.
const TOKEN: [(&str, &str); 2] = [
    ("EDGEROTATE_PRIVATE_KEY", "pkcs11:token=t;object=k"),
    ("EDGEROTATE_PKCS11_MODULE", "/usr/lib/module.so"),
];

type Checked = Result<(Config, Vec<Warning>), ConfigErrors>;

/// A directory of settings files that goes when the test is over.
struct Files {
    directory: PathBuf,
    files: Vec<LayerFile>,
}

impl Files {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "edgerotate-config-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Self { directory, files: Vec::new() }
    }

    fn with(mut self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.directory.join(name);
        fs::write(&path, text).unwrap();
        self.files.push(LayerFile::image(path, true));
        self
    }

    fn check(&self, environment: &[(&str, &str)], unknown: UnknownKeys) -> Checked {
        Config::from_layers(&Layers::read(&self.files, pairs(environment)), unknown)
    }

    /// The lines that a person gets to see, without the directory.
    fn lines(&self, checked: &Checked) -> Vec<String> {
        lines(checked)
            .iter()
            .map(|line| line.replace(&format!("{}/", self.directory.display()), ""))
            .collect()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn pairs(environment: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    environment.iter().map(|(key, value)| (key.into(), value.into())).collect()
}

/// Checks an environment alone; later pairs replace earlier ones, as in a real one.
fn check(environment: &[(&str, &str)]) -> Checked {
    let mut unique: Vec<(&str, &str)> = Vec::new();
    for pair in environment {
        unique.retain(|(key, _)| *key != pair.0);
        unique.push(*pair);
    }
    Config::from_layers(&Layers::read(&[], pairs(&unique)), UnknownKeys::Warn)
}

fn check_with(more: &[(&str, &str)]) -> Checked {
    check(&[&LEAST, more].concat())
}

fn check_token_with(more: &[(&str, &str)]) -> Checked {
    check(&[&LEAST[..], &TOKEN, more].concat())
}

fn lines(checked: &Checked) -> Vec<String> {
    match checked {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

fn config(checked: Checked) -> Config {
    checked.unwrap_or_else(|errors| panic!("{errors}")).0
}

fn token(checked: Checked) -> Token {
    match config(checked).provider.key {
        PrivateKey::Token(token) => token,
        PrivateKey::File(path) => panic!("{}", path.display()),
    }
}

#[test]
fn readme_has_the_settings_as_they_are() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let in_readme: Vec<_> =
        readme.lines().filter(|line| line.starts_with("| `EDGEROTATE_")).collect();
    let in_code: Vec<_> = SETTINGS
        .iter()
        .map(|s| {
            let article_name = s.article_name.map(|name| format!("`{name}`")).unwrap_or_default();
            format!("| `{}` | {article_name} | {} | {} |", s.name, s.default, s.help)
                .replace("|  |", "| |")
        })
        .collect();
    assert_eq!(in_readme, in_code, "\n{}\n", in_code.join("\n"));
}
