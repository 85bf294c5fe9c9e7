//! The settings: text in layers, parsed, and checked once into a [`Config`] that is trusted from
//! then on.
//!
//! Each step of trust is a type, and there is no way around a step:
//! 1. a file's bytes become assignments, as systemd reads them (`env_file`);
//! 2. all files and the environment become [`Layers`], in which every key is a known one;
//! 3. the layers become a [`Config`], in which every value was looked at ([`Config::from_layers`]).
//!
//! Nothing here reads the environment or a clock: the caller hands the environment in. And no
//! error, warning or `Debug` of these types shows a PIN, wherever in the settings it was put.
//!
//! May import: core, problems.

mod aws_endpoints;
mod check;
mod checked;
mod config;
mod duration;
mod endpoint;
mod env_file;
mod key;
mod layers;
pub mod metrics_address;
mod problem;
mod spelling;
mod stand_ins;
pub mod table;
mod values;
mod words;

pub use self::{
    check::UnknownKeys,
    checked::{LITESTREAM_UNIT, directories, runtime_directory},
    config::{
        ClientSettings, Config, Delivery, GuardSettings, HeartbeatSettings, LitestreamSettings,
        MendSettings, ModuleVariable, OutletSettings, Pin, PrivateKey, Provider, Proxy, Route,
        Token, VerifySettings,
    },
    layers::{LayerFile, Layers},
    problem::{ConfigErrors, Owner, Place, Problem, Warning},
    table::{SETTINGS, Setting},
};

#[cfg(test)]
mod tests;
