//! The settings as they are used: every value here was looked at.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use log::LevelFilter;
use serde::{Deserialize, Serialize};

use super::metrics_address::Address;
use crate::core::secret::Secret;

/// Every setting, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub provider: Provider,
    pub litestream: LitestreamSettings,
    pub outlets: OutletSettings,
    pub heartbeat: HeartbeatSettings,
    pub verify: VerifySettings,
    pub guard: GuardSettings,
    /// On tmpfs: the token's lock, the instance's lock, the state that outlives a daemon restart.
    pub runtime_directory: PathBuf,
    /// On the data partition: the marks of a refused PIN and of a replica that may lack rows, and
    /// what `verify` restores.
    pub state_directory: PathBuf,
    /// What node_exporter's textfile collector reads.
    pub metrics_file: Option<PathBuf>,
    pub log: LevelFilter,
}

/// How the credential provider is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Host name alone; it is also the TLS server name.
    pub host: String,
    /// 443 unless the endpoint names another.
    pub port: u16,
    pub role_alias: String,
    pub thing_name: Option<String>,
    /// PEM file with the device's certificate (and its chain).
    pub certificate: PathBuf,
    pub key: PrivateKey,
    /// PEM file of the authorities the server is checked against; the system's store if none.
    pub ca_file: Option<PathBuf>,
    /// The way out, where the network has no other.
    pub proxy: Option<Proxy>,
    pub connect_timeout: Duration,
    /// The whole request, once the key is at hand.
    pub fetch_timeout: Duration,
    /// After this the fetch child is killed, whatever it hangs in.
    pub fetch_deadline: Duration,
    /// Rotation begins at min(lead, half the lifetime) before expiry.
    pub lead: Duration,
    /// After a boot the first fetch begins at a random moment within it; see
    /// [`crate::core::rotation::Policy::boot_spread`].
    pub boot_spread: Duration,
}

/// A proxy that makes a tunnel (CONNECT): TLS goes through it to the provider, unread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// `http://HOST:PORT` or `https://HOST:PORT`; nothing secret.
    pub url: String,
    /// One line, `USER:PASSWORD`.
    pub user_file: Option<PathBuf>,
}

/// Where the device's private key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrivateKey {
    /// A PEM file, for boards without an HSM.
    File(PathBuf),
    Token(Token),
}

/// A key that stays in a PKCS#11 token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The `pkcs11:` URI without its PIN and module attributes, as the engine or provider gets it.
    pub uri: String,
    pub module: PathBuf,
    pub pin: Pin,
    pub route: Route,
    /// Further environment variables that the module reads.
    pub module_environment: Vec<ModuleVariable>,
}

/// An environment variable for the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleVariable {
    pub name: String,
    /// Else it is handed on as edgerotate got it, if it did. For some modules it is or holds the
    /// PIN.
    pub value: Option<Secret>,
}

/// Where the token's PIN comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pin {
    /// The token asks for none.
    None,
    File(PathBuf),
    /// `pin-value` of the URI.
    Value(Secret),
}

/// How OpenSSL reaches the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    Engine,
    Provider,
}

/// How the credentials get out, to Litestream and to other programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutletSettings {
    pub delivery: Delivery,
    /// Where the endpoint is to listen; see [`OutletSettings::has_endpoint`].
    pub listen: Option<SocketAddrV4>,
    /// Its group may have the credentials.
    pub client_directory: Option<PathBuf>,
}

impl OutletSettings {
    /// Where it listens if neither a setting nor a socket unit says otherwise.
    pub const DEFAULT_LISTEN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9170);

    /// Whether there is an endpoint: for Litestream, or for others alone.
    pub fn has_endpoint(&self) -> bool {
        self.delivery == Delivery::Endpoint || self.listen.is_some()
    }
}

/// What Litestream's environment file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It holds the credentials; Litestream restarts at each rotation.
    EnvironmentFile,
    /// It says where to ask for them.
    Endpoint,
}

impl Delivery {
    /// As the setting has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EnvironmentFile => "environment-file",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Litestream, and how it is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LitestreamSettings {
    pub environment_file: PathBuf,
    pub region: String,
    /// The program and its arguments; no shell. Empty: something else watches the file.
    pub restart_command: Vec<String>,
    pub restart_timeout: Duration,
    pub unit: String,
    pub pid_file: Option<PathBuf>,
    /// The program, and litestream.yml, for a restore.
    pub program: PathBuf,
    pub configuration: PathBuf,
    /// Where its metrics are, if it serves any.
    pub metrics: Option<Address>,
    /// How long a forced snapshot may take while Litestream waits to start.
    pub snapshot_timeout: Duration,
}

/// What `edgerotate mend` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MendSettings {
    pub runtime_directory: PathBuf,
    pub program: PathBuf,
    pub configuration: PathBuf,
    pub snapshot_timeout: Duration,
}

/// What `edgerotate credential-process` needs to know where there is a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    pub runtime_directory: PathBuf,
    pub client_directory: Option<PathBuf>,
    /// Every file of settings could be read.
    pub reads_all: bool,
}

/// The heartbeat and its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatSettings {
    pub database: PathBuf,
    pub interval: Duration,
    /// 0: no pruning.
    pub keep_rows: u64,
    pub allow_volatile_database: bool,
}

/// When `edgerotate verify` is content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifySettings {
    /// A row that waits longer for the replica makes it behind.
    pub max_lag: Duration,
    /// A restore that gets nowhere for so long is ended.
    pub stall: Duration,
}

/// What is guarded while Litestream restarts, beside the heartbeat's database, and up to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    pub databases: Vec<PathBuf>,
    /// Counted while Litestream runs and holds no lock of its own.
    pub max_time: Duration,
    /// In bytes.
    pub max_wal: u64,
}
