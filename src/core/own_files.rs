//! The names of the files that edgerotate keeps in directories of its own. They stand here, below
//! their owners, so that the settings can see to it that no file of somebody else is one of them.

/// The credentials that one daemon leaves to the next of the same boot.
pub const STATE: &str = "state.json";

/// What the daemon tells about itself.
pub const RECORD: &str = "status.json";

/// Who kept the WAL of each database.
pub const GUARD: &str = "guard.json";

/// When this device's turn in the fleet is, in this boot.
pub const TURN: &str = "turn.json";

/// Held by the one daemon.
pub const INSTANCE_LOCK: &str = "edgerotate.lock";

/// Held by whoever uses the PKCS#11 token.
pub const TOKEN_LOCK: &str = "token.lock";

/// Where `edgerotate mend` asks the daemon.
pub const MEND_SOCKET: &str = "mend.sock";

/// The mark of a refused PIN.
pub const PIN_REFUSED: &str = "pin-refused";

/// How a PIN that was accepted is known again.
pub const PIN_ACCEPTED: &str = "pin-accepted";

/// The token of the endpoint.
pub const ENDPOINT_TOKEN: &str = "endpoint.json";

/// Where programs are told to ask the endpoint.
pub const ENDPOINT_ENVIRONMENT: &str = "endpoint.env";

/// The same token and nothing else, for programs that read it only from a file (object_store, and
/// what is made with it).
pub const TOKEN_FOR_CLIENTS: &str = "endpoint.token";

/// The daemon's credentials for `credential-process` of other users.
pub const CLIENT_CREDENTIALS: &str = "credentials.json";

/// What `credential-process` keeps where no daemon runs, and the lock of it.
pub const CACHE: &str = "edgerotate-credentials.json";
pub const CACHE_LOCK: &str = "edgerotate-credentials.lock";

/// Which replicas may lack rows.
pub const SUSPECT: &str = "suspect";

/// Such a file that could not be understood, for a person to look at.
pub const SUSPECT_BROKEN: &str = "suspect.broken";

/// Which Litestream replicated last.
pub const LITESTREAM_VERSION: &str = "litestream-version";

/// What the names of the directories begin with that `edgerotate verify` restores into.
pub const VERIFY_PREFIX: &str = "verify.";

/// All that is written below the runtime directory, beside the environment file.
pub const IN_RUNTIME_DIRECTORY: &[&str] = &[
    STATE,
    RECORD,
    GUARD,
    TURN,
    INSTANCE_LOCK,
    TOKEN_LOCK,
    MEND_SOCKET,
    PIN_REFUSED,
    PIN_ACCEPTED,
    ENDPOINT_TOKEN,
    ENDPOINT_ENVIRONMENT,
    CACHE,
    CACHE_LOCK,
];

/// All that is written below the client directory.
pub const IN_CLIENT_DIRECTORY: &[&str] =
    &[ENDPOINT_ENVIRONMENT, TOKEN_FOR_CLIENTS, CLIENT_CREDENTIALS];

/// All that is written below the state directory.
pub const IN_STATE_DIRECTORY: &[&str] =
    &[PIN_REFUSED, PIN_ACCEPTED, SUSPECT, SUSPECT_BROKEN, LITESTREAM_VERSION];
