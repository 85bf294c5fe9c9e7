//! Settings for a look at an image where the device has not brought its own yet, or has brought
//! wrong ones.
//!
//! What the device has wrong is left out, so that the image's own value comes through; what is
//! missing then gets a stand-in. So the rest can be looked at. Whoever looks leaves out what needs
//! such a setting: nothing that a stand-in names is there, and the image's value is not what the
//! device wants.

use crate::{
    core::secret::Secret,
    settings::{
        check::UnknownKeys,
        config::Config,
        layers::{Entry, Layers},
        problem::{Place, Problem},
        table::{self, Setting},
    },
};

/// What stands in for a setting that has no default, but for the private key.
const STAND_INS: &[(&Setting, &str)] = &[
    (&table::ENDPOINT, "stand-in.credentials.iot.eu-west-1.amazonaws.com"),
    (&table::REGION, "eu-west-1"),
    (&table::ROLE_ALIAS, "stand-in"),
    (&table::CERTIFICATE, "/nonexistent/certificate"),
    (&table::PRIVATE_KEY, "/nonexistent/key"),
    (&table::PKCS11_MODULE, "/nonexistent/module"),
    (&table::DATABASE, "/nonexistent/database"),
];

/// For a key in some token: there is a module for it.
const KEY_IN_TOKEN: &str = "pkcs11:token=stand-in;object=stand-in;type=private";

impl Config {
    /// The settings without what the device has wrong, and which of them are not as the device has
    /// or needs them; none if the image itself is at fault, or a file could not be read: then
    /// nobody can say what the rest means.
    pub fn with_stand_ins(mut layers: Layers) -> Option<(Self, Vec<&'static Setting>)> {
        let mut replaced: Vec<&'static Setting> = Vec::new();
        loop {
            let errors = match Self::from_layers(&layers, UnknownKeys::Warn) {
                Ok((config, _)) => return Some((config, replaced)),
                Err(errors) => errors.errors,
            };
            // A value that is wrong can hide another one, so there may be several rounds; each
            // takes something away, or puts something where nothing was.
            for problem in errors {
                let setting = problem.setting()?;
                let done = match problem.place {
                    Place::Nowhere => layers.stand_in(setting),
                    _ if problem.place.is_of_device() => layers.leave_out(&problem),
                    _ => false,
                };
                if !done {
                    return None;
                }
                if !replaced.contains(&setting) {
                    replaced.push(setting);
                }
            }
        }
    }
}

impl Layers {
    /// Takes away the assignment that is wrong, and no other of the same setting; false if there is
    /// none.
    fn leave_out(&mut self, problem: &Problem) -> bool {
        let before = self.entries.len() + self.errors.len();
        self.entries.retain(|entry| {
            entry.place != problem.place || Some(entry.key) != problem.key.as_deref()
        });
        // What could not even be read as text never was an assignment.
        self.errors.retain(|error| error != problem);
        self.entries.len() + self.errors.len() < before
    }

    /// Puts a stand-in where nothing is; false if one did not help, or there is none.
    fn stand_in(&mut self, setting: &'static Setting) -> bool {
        let has_module = self.entry(&table::PKCS11_MODULE).is_some();
        let stand_in = STAND_INS.iter().find(|(known, _)| *known == setting);
        let Some((_, value)) = stand_in else { return false };
        let is_there = |entry: &Entry| entry.setting == setting && entry.place == Place::Nowhere;
        if self.entries.iter().any(is_there) {
            return false;
        }
        let is_in_token = setting == &table::PRIVATE_KEY && has_module;
        let value = if is_in_token { KEY_IN_TOKEN } else { value };
        self.entries.push(Entry {
            setting,
            key: setting.name,
            place: Place::Nowhere,
            value: Secret::new(value.to_owned()),
        });
        true
    }
}
