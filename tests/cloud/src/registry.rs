//! What AWS would know: certificates with their things, role aliases, and every credential issued.
//!
//! All of it outlives a restart, as AWS outlives an outage. Issued credentials are appended to a file of their own,
//! since a long run issues thousands.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Failure, files, secrets};

pub struct Registry {
    inner: Mutex<Inner>,
    state_file: PathBuf,
}

struct Inner {
    state: State,
    issued: BTreeMap<String, Issued>,
    issued_file: File,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct State {
    pub permanent: PermanentKey,
    /// So that a cloud that was away comes back where its clients look for it.
    pub ports: Option<Ports>,
    pub certificates: BTreeMap<String, Certificate>,
    pub role_aliases: BTreeMap<String, RoleAlias>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Ports {
    pub provider: u16,
    pub s3: u16,
    pub control: u16,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct PermanentKey {
    pub access_key_id: String,
    pub secret_access_key: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Certificate {
    pub status: Status,
    pub things: Vec<String>,
    /// Whether a policy allows `iot:AssumeRoleWithCertificate` on the role aliases.
    pub policy_attached: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Active,
    Inactive,
    Revoked,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleAlias {
    /// AWS takes 900 to 43200 here; tests want to see expiries within seconds.
    pub lifetime_s: i64,
    pub role_exists: bool,
    /// `MaxSessionDuration` of the role.
    pub max_session_s: i64,
    /// The role's policy allows `BUCKET/${credentials-iot:ThingName}/*` only.
    pub prefix_per_thing: bool,
}

impl Default for RoleAlias {
    fn default() -> Self {
        Self { lifetime_s: 900, role_exists: true, max_session_s: 43_200, prefix_per_thing: false }
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Issued {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    pub expiration: DateTime<Utc>,
    pub thing: Option<String>,
    pub certificate_id: String,
    pub role_alias: String,
}

impl Registry {
    pub fn open(directory: &Path, default_alias: (&str, RoleAlias)) -> Result<Self, Failure> {
        let state_file = directory.join("state.json");
        let issued_path = directory.join("credentials.jsonl");
        let state = match fs::read(&state_file) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State {
                permanent: PermanentKey {
                    access_key_id: secrets::access_key_id("AKIA"),
                    secret_access_key: secrets::secret_access_key(),
                },
                ports: None,
                certificates: BTreeMap::new(),
                role_aliases: BTreeMap::from([(default_alias.0.to_owned(), default_alias.1)]),
            },
            Err(error) => return Err(error.into()),
        };
        let issued_file = files::append(&issued_path, 0o600)?;
        let issued = fs::read_to_string(&issued_path)?
            .lines()
            // A kill may have cut the last line short; nobody was given those credentials.
            .filter_map(|line| serde_json::from_str::<Issued>(line).ok())
            .map(|issued| (issued.access_key_id.clone(), issued))
            .collect();
        let registry = Self { inner: Mutex::new(Inner { state, issued, issued_file }), state_file };
        registry.change(|_| ())?;
        Ok(registry)
    }

    /// A copy of everything but the issued credentials.
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Changes the state and keeps it.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Failure> {
        let mut inner = self.lock();
        let result = change(&mut inner.state);
        files::write_private(&self.state_file, &serde_json::to_vec_pretty(&inner.state)?)?;
        Ok(result)
    }

    pub fn issue(&self, issued: Issued) -> Result<(), Failure> {
        let mut inner = self.lock();
        let mut line = serde_json::to_vec(&issued)?;
        line.push(b'\n');
        inner.issued_file.write_all(&line)?;
        inner.issued.insert(issued.access_key_id.clone(), issued);
        Ok(())
    }

    pub fn issued(&self, access_key_id: &str) -> Option<Issued> {
        self.lock().issued.get(access_key_id).cloned()
    }

    pub fn all_issued(&self) -> Vec<Issued> {
        self.lock().issued.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
