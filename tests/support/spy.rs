//! pkcs11-spy before the device's token: what is really asked of it, whoever asks.

use std::{fs, path::PathBuf};

use super::{Device, library, token::SOFTHSM};

/// Where it writes down each call.
pub struct Spy(PathBuf);

impl Spy {
    /// From now on whatever is asked of the device's token goes through it.
    pub fn on(device: &mut Device) -> Self {
        // It notes PINs as well, so its log stays in the test's directory.
        let log = device.scratch.join("spy.log");
        device.set("PKCS11_MODULE", library("pkcs11-spy.so").to_str().unwrap());
        device.set("MODULE_ENVIRONMENT", "PKCS11SPY PKCS11SPY_OUTPUT");
        let variables = [
            ("PKCS11SPY", SOFTHSM.to_owned()),
            ("PKCS11SPY_OUTPUT", log.to_str().unwrap().to_owned()),
        ];
        device.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
        Self(log)
    }

    pub fn logins(&self) -> usize {
        self.count("C_Login")
    }

    pub fn signatures(&self) -> usize {
        self.count("C_Sign")
    }

    fn count(&self, function: &str) -> usize {
        let log = fs::read(&self.0).unwrap_or_default();
        let end = format!(": {function}");
        String::from_utf8_lossy(&log).lines().filter(|line| line.ends_with(&end)).count()
    }
}
