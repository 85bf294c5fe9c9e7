//! Settings for a look at an image where the device has not brought its own yet, or has brought wrong ones.
//!
//! What is missing or wrong gets a stand-in, so that the rest can be looked at. Nothing that a stand-in names is there:
//! whoever looks leaves out what needs it.

use super::{
    Config, Layers, Place, UnknownKeys,
    layers::Entry,
    settings::{self, Setting},
};
use crate::secret::Secret;

/// What stands in for a setting that has no default, but for the private key.
const STAND_INS: &[(&Setting, &str)] = &[
    (&settings::ENDPOINT, "stand-in.credentials.iot.eu-west-1.amazonaws.com"),
    (&settings::REGION, "eu-west-1"),
    (&settings::ROLE_ALIAS, "stand-in"),
    (&settings::CERTIFICATE, "/nonexistent/certificate"),
    (&settings::PRIVATE_KEY, "/nonexistent/key"),
    (&settings::PKCS11_MODULE, "/nonexistent/module"),
    (&settings::DATABASE, "/nonexistent/database"),
];

/// For a key in some token: there is a module for it.
const KEY_IN_TOKEN: &str = "pkcs11:token=stand-in;object=stand-in;type=private";

impl Config {
    /// The settings with stand-ins, and which have them; none if the image itself is at fault, or a file could not be
    /// read: then nobody can say what the rest means.
    pub fn with_stand_ins(mut layers: Layers) -> Option<(Self, Vec<&'static Setting>)> {
        let mut replaced: Vec<&'static Setting> = Vec::new();
        loop {
            let errors = match Self::from_layers(&layers, UnknownKeys::Warn) {
                Ok((config, _)) => return Some((config, replaced)),
                Err(errors) => errors.errors,
            };
            // A value that is wrong can hide one that is missing, so there may be several rounds.
            for problem in errors {
                let (setting, _) = settings::by_name(problem.key.as_deref()?)?;
                if problem.place.is_in_image() || replaced.contains(&setting) {
                    return None;
                }
                layers.replace(setting);
                replaced.push(setting);
            }
        }
    }
}

impl Layers {
    /// A stand-in instead of whatever is there; where the setting has a default, that is one.
    fn replace(&mut self, setting: &'static Setting) {
        let has_module = self.entry(&settings::PKCS11_MODULE).is_some();
        self.entries.retain(|entry| entry.setting != setting);
        let stand_in = STAND_INS.iter().find(|(known, _)| *known == setting);
        let Some((_, value)) = stand_in else { return };
        let is_in_token = setting == &settings::PRIVATE_KEY && has_module;
        let value = if is_in_token { KEY_IN_TOKEN } else { value };
        self.entries.push(Entry {
            setting,
            key: setting.name,
            place: Place::Nowhere,
            value: Secret::new(value.to_owned()),
        });
    }
}
