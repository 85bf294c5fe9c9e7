//! What is wrong with the settings: one line each, with the place, and never with a secret in it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    core::pkcs11_uri,
    settings::table::{self, Setting},
};

/// A value longer than this is cut where it is shown: a line stays a line.
const SHOWN_CHARACTERS: usize = 120;

/// Whom a file of settings belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// It comes with the image, or from an administrator: what is wrong in it was written on a
    /// desk.
    Image,
    /// It is the device's own, and outlives the image: after a rollback it may be newer than the
    /// program.
    Device,
}

/// The weakest of the files: what systemd/install puts there for the device's HSM. Where no set of
/// an HSM is, nobody misses it.
pub const HSM_FILE: &str = "/usr/lib/edgerotate/hsm.env";

/// Where a setting, or what is wrong with it, is found. Ordered as the layers are, later wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `layer` counts the files from the weakest one.
    File {
        layer: usize,
        owner: Owner,
        path: PathBuf,
        line: Option<usize>,
    },
    Environment,
    /// In none of the layers.
    Nowhere,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// The key as it is written there, unless the line has none that may be shown.
    pub key: Option<String>,
    /// What is wrong; no secret gets in here.
    pub what: String,
}

/// Something the daemon can run with, but a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub Problem);

/// Everything that is wrong with the settings, in the order of the layers, and what else was
/// noticed: a misspelt key explains a missing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub errors: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

impl Place {
    /// Whether the image's build could have found it: it is in a file that came with the image.
    pub fn is_in_image(&self) -> bool {
        matches!(self, Self::File { owner: Owner::Image, .. })
    }

    /// Whether the set of units for the device's HSM brought it.
    pub fn is_of_hsm(&self) -> bool {
        matches!(self, Self::File { path, .. } if path == Path::new(HSM_FILE))
    }

    /// Whether it is this device's: in its own file, or in the environment.
    pub fn is_of_device(&self) -> bool {
        *self == Self::Environment || self.is_in_device_file()
    }

    /// Whether it is in the device's own file.
    pub fn is_in_device_file(&self) -> bool {
        matches!(self, Self::File { owner: Owner::Device, .. })
    }
}

impl Problem {
    /// The setting that it is about.
    pub fn setting(&self) -> Option<&'static Setting> {
        table::by_name(self.key.as_deref()?).map(|(setting, _)| setting)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line), .. } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None, .. } => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Nowhere => f.write_str("settings"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One line for each error, then one for each warning.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warnings = self.warnings.iter().map(|warning| &warning.0);
        for (index, problem) in self.errors.iter().chain(warnings).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A value as a message may show it: on one line, not too long, and with no PIN or key in it.
pub(super) fn shown(value: &str) -> String {
    let lower: String =
        value.chars().filter(|c| !"-_ ".contains(*c)).map(|c| c.to_ascii_lowercase()).collect();
    let safe = if lower.contains("pkcs11") {
        pkcs11_uri::masked(value)
    } else if ["pinvalue", "pinsource", "pin=", "pin:", "privatekey", "secret", "pin%"]
        .iter()
        .any(|mark| lower.contains(mark))
    {
        "…".to_owned()
    } else {
        value.to_owned()
    };
    let mut characters = safe.chars();
    let mut text: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
    if characters.next().is_some() {
        text.push('…');
    }
    format!("{text:?}")
}

/// A key as a message may show it: a line that slipped can make a "key" of anything, but hardly one
/// in capitals.
pub(super) fn shown_key(key: &str) -> Option<String> {
    let is_usual = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let is_name = key.len() <= 64
        && (key.bytes().all(is_usual) || key.to_ascii_uppercase().starts_with("EDGEROTATE_"));
    is_name.then(|| key.to_owned())
}
