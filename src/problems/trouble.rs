//! Why nothing could be compared: what was found, and what to do.
//!
//! Litestream's own words are kept, since they name the host, the bucket or the file; what they
//! mean is added. They were collected from 0.3.13 and 0.5.17 (the tests below hold them). None of
//! these lines can hold a secret: the values of the credentials are struck out before anything is
//! looked at.

use std::{fmt, io, path::Path};

use crate::problems::exit_code::{AWAY, DATA, DEVICE, NOT_PERMITTED, SETTINGS};

/// Why `edgerotate verify` can't tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A stable name, for programs.
    pub cause: &'static str,
    pub exit_code: u8,
    /// What was found here.
    pub what: String,
    pub remedy: &'static str,
}

/// That there is no replica yet is an answer, not a fault.
pub const NO_REPLICA: &str = "no-replica";

/// There is a replica, and it can't be put together.
pub const NOT_RESTORABLE: &str = "not-restorable";

/// Another user may.
pub const NOT_THIS_USER: &str = "not-permitted";

/// A signal came.
pub const INTERRUPTED: &str = "interrupted";

/// Newer ones may be there by now.
pub const CREDENTIALS_EXPIRED: &str = "credentials-expired";

/// What Litestream says, in small letters; what it means. The first that fits counts.
const SAYINGS: &[(&[&str], &str, u8, &str)] = &[
    (
        &["no matching backup", "no snapshots available"],
        NO_REPLICA,
        AWAY,
        "wait for Litestream's first upload, or look at its log; a variable in litestream.yml that \
         only its unit \
         sets has no value here",
    ),
    (
        &["config file not found"],
        "litestream-config-missing",
        SETTINGS,
        "set EDGEROTATE_LITESTREAM_CONFIG to the file that Litestream's unit uses",
    ),
    (
        &["database not found in config"],
        "litestream-config-other-database",
        SETTINGS,
        "name the database of EDGEROTATE_DATABASE in litestream.yml, by the same path",
    ),
    (&["yaml:"], "litestream-config-broken", SETTINGS, "correct litestream.yml"),
    (
        &["nosuchbucket"],
        "no-such-bucket",
        SETTINGS,
        "correct the bucket in litestream.yml, or create it",
    ),
    (
        &["expiredtoken", "token has expired", "requestexpired"],
        CREDENTIALS_EXPIRED,
        AWAY,
        "see that edgerotate runs and gets credentials (`edgerotate fetch`), then try again",
    ),
    (
        &["requesttimetooskewed"],
        "clock",
        AWAY,
        "set this device's clock: S3 refuses what is signed more than 15 minutes off",
    ),
    (
        &["invalidaccesskeyid", "invalidtoken", "signaturedoesnotmatch"],
        "credentials-refused",
        NOT_PERMITTED,
        "see that the environment file is edgerotate's and the bucket is in the same AWS partition",
    ),
    (
        &["accessdenied", "statuscode: 403", "status code: 403", "forbidden"],
        "access-denied",
        NOT_PERMITTED,
        "let the role list the bucket and read this path (s3:ListBucket, s3:GetObject), and \
         compare litestream.yml's \
         path with the role's policy",
    ),
    (
        &["authorizationheadermalformed", "permanentredirect", "bucketregionerror"],
        "wrong-region",
        SETTINGS,
        "set the bucket's region in litestream.yml",
    ),
    (
        &["nocredentialproviders", "get credentials", "ec2 imds"],
        "no-credentials",
        AWAY,
        "see that edgerotate runs and has written its environment file",
    ),
    (&["no space left"], "no-room", DEVICE, "make room on the data partition"),
    (
        &["x509:", "certificate"],
        "tls",
        AWAY,
        "look at the endpoint in litestream.yml, this device's clock and its certificate \
         authorities",
    ),
    (
        &[
            "connection refused",
            "no such host",
            "i/o timeout",
            "network is unreachable",
            "no route to host",
            "connection reset",
            "deadline exceeded",
            "request send failed",
            "requesterror",
            "server misbehaving",
            "slowdown",
            "internalerror",
            "serviceunavailable",
            "statuscode: 5",
            "status code: 5",
            "unexpected eof",
        ],
        "s3-away",
        AWAY,
        "look at the network, and try again",
    ),
    (
        &["permission denied", "read-only file system", "input/output error"],
        "state-directory",
        DEVICE,
        "look at the state directory and the storage below it",
    ),
    (
        &[
            "checksum",
            "non-contiguous",
            "restore plan",
            "lz4",
            "decode",
            "missing",
            "snapshot",
            "wal",
        ],
        NOT_RESTORABLE,
        DATA,
        "the replica can't be put together: make a new snapshot (docs/troubleshooting.md)",
    ),
];

impl Trouble {
    /// What Litestream's last line means.
    pub fn of_litestream(line: &str) -> Self {
        let small = line.to_ascii_lowercase();
        let known =
            SAYINGS.iter().find(|(words, ..)| words.iter().any(|word| small.contains(word)));
        let what = format!("litestream: {line}");
        match known {
            Some((_, cause, exit_code, remedy)) => {
                Self { cause, exit_code: *exit_code, what, remedy }
            }
            None => Self {
                cause: "litestream-failed",
                exit_code: DEVICE,
                what,
                remedy: "run `litestream restore` by hand with the same settings",
            },
        }
    }

    /// A file of the replica was listed, and was gone when it was to be read: Litestream's
    /// retention deletes what is in larger files by then.
    pub fn is_of_a_vanished_file(&self) -> bool {
        const WORDS: &[&str] = &["file does not exist", "nosuchkey", "no such file"];
        let small = self.what.to_ascii_lowercase();
        self.cause == NOT_RESTORABLE && WORDS.iter().any(|words| small.contains(words))
    }

    /// Where that happens again and again, nothing is said of the replica.
    pub fn if_vanished(self) -> Self {
        if !self.is_of_a_vanished_file() {
            return self;
        }
        let remedy = "look again in a while; if it stays so, raise `l0-retention:` in \
         litestream.yml above the time \
                      that a restore takes";
        Self { cause: "replica-moves", exit_code: AWAY, remedy, ..self }
    }

    pub fn stalled(seconds: u64, bytes: u64) -> Self {
        let what = format!("litestream restore got nowhere for {seconds} s, after {bytes} bytes");
        let remedy = "look at the network and at S3, or raise EDGEROTATE_VERIFY_STALL";
        Self { cause: "s3-away", exit_code: AWAY, what, remedy }
    }

    pub fn no_room(directory: &Path, needed: u64, available: u64) -> Self {
        let what = format!(
            "{}: {} free, and a restore needs {}",
            directory.display(),
            crate::core::size::size(available),
            crate::core::size::size(needed)
        );
        let remedy = "make room, or set EDGEROTATE_STATE_DIRECTORY to a place with more of it";
        Self { cause: "no-room", exit_code: DEVICE, what, remedy }
    }

    pub fn interrupted() -> Self {
        let what = "ended by a signal".to_owned();
        Self { cause: INTERRUPTED, exit_code: AWAY, what, remedy: "run it again" }
    }

    pub fn not_run(program: &Path, error: &impl fmt::Display) -> Self {
        let what = format!("{} cannot be run: {error}", program.display());
        let remedy = "set EDGEROTATE_LITESTREAM to Litestream's program";
        Self { cause: "litestream-not-run", exit_code: DEVICE, what, remedy }
    }

    /// A file or directory that can't be used.
    pub fn io(path: &Path, error: &io::Error, cause: &'static str, remedy: &'static str) -> Self {
        let what = format!("{}: {error}", path.display());
        if error.kind() == io::ErrorKind::PermissionDenied {
            let remedy = "run it as edgerotate's user";
            return Self { cause: NOT_THIS_USER, exit_code: NOT_PERMITTED, what, remedy };
        }
        Self { cause, exit_code: DEVICE, what, remedy }
    }

    pub fn no_environment_file(path: &Path) -> Self {
        let what = format!("{} is not there", path.display());
        let remedy = "see that edgerotate runs and gets credentials (`edgerotate fetch`)";
        Self { cause: "no-credentials", exit_code: AWAY, what, remedy }
    }

    pub fn database(path: &Path, error: &rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
            return Self::interrupted();
        }
        // A statement that does not fit the table is told with its text, which is no use to a
        // person.
        let words = match error {
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            other => other.to_string(),
        };
        let what = format!("{}: {words}", path.display());
        let remedy = "see that EDGEROTATE_DATABASE is edgerotate's database and this user may read \
         and write its \
                      directory";
        Self { cause: "database", exit_code: DEVICE, what, remedy }
    }
}

impl Trouble {
    /// Another program's database.
    pub fn application(path: &Path, error: &rusqlite::Error) -> Self {
        let trouble = Self::database(path, error);
        if trouble.cause != "database" {
            return trouble;
        }
        let remedy = "see that EDGEROTATE_GUARD_DATABASES names databases, and that this user may \
         read and write them \
                      and their directory";
        Self { remedy, ..trouble }
    }

    /// A reader of such a database would keep its application from writing.
    pub fn no_wal(path: &Path, mode: &str) -> Self {
        let what =
            format!("{}: its journal mode is {mode}, and Litestream needs wal", path.display());
        let remedy = "see that Litestream runs, which sets it, and that the application leaves it";
        Self { cause: "not-wal", exit_code: SETTINGS, what, remedy }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_are_understood() {
        // Litestream's words, as 0.3.13 and 0.5.17 were heard to say them.
        let told_by_05 = "get v0.3.x time bounds: s3: list generations: operation error S3: \
         ListObjectsV2, https \
                          response error StatusCode: ";
        for (line, cause, exit_code) in [
            ("no matching backups found", "no-replica", 75),
            ("no matching backup files available", "no-replica", 75),
            ("config file not found: /etc/litestream.yml", "litestream-config-missing", 78),
            ("database not found in config: /data/a.db", "litestream-config-other-database", 78),
            ("yaml: line 1: did not find expected node content", "litestream-config-broken", 78),
            (
                "cannot fetch generations: AccessDenied: Access Denied\n\tstatus code: 403, \
                 request id: , host id: ",
                "access-denied",
                77,
            ),
            ("cannot fetch generations: NoSuchBucket: x\n\tstatus code: 404", "no-such-bucket", 78),
            (
                "cannot fetch generations: ExpiredToken: x\n\tstatus code: 400",
                "credentials-expired",
                75,
            ),
            ("cannot fetch generations: RequestTimeTooSkewed: x\n\tstatus code: 403", "clock", 75),
            (
                "cannot fetch generations: InvalidAccessKeyId: The AWS Access Key Id you provided \
                 does not exist in \
                 our records.\n\tstatus code: 403",
                "credentials-refused",
                77,
            ),
            (
                "cannot fetch generations: NoCredentialProviders: no valid providers in chain. \
                 Deprecated.",
                "no-credentials",
                75,
            ),
            (
                "cannot fetch generations: RequestError: send request failed\ncaused by: Get \
                 \"http://127.0.0.1:1/b\": \
                 dial tcp 127.0.0.1:1: connect: connection refused",
                "s3-away",
                75,
            ),
            ("cannot fetch generations: SlowDown: x\n\tstatus code: 503", "s3-away", 75),
            ("403, RequestID: , HostID: , api error AccessDenied: x", "access-denied", 77),
            ("404, RequestID: , HostID: , NoSuchBucket: x", "no-such-bucket", 78),
            ("400, RequestID: , HostID: , api error ExpiredToken: x", "credentials-expired", 75),
            (
                "0, RequestID: , HostID: , request send failed, Get \"http://nohost.invalid:1/\": \
                 dial tcp: lookup \
                 nohost.invalid: no such host",
                "s3-away",
                75,
            ),
            (
                "s3: list generations: operation error S3: ListObjectsV2, get identity: get \
                 credentials: failed to \
                 refresh cached credentials, no EC2 IMDS role found",
                "no-credentials",
                75,
            ),
            (
                "cannot calc restore plan: non-contiguous ltx files: have up to 0000000000000003 \
                 but next file starts \
                 at 0000000000000005",
                "not-restorable",
                65,
            ),
            (
                "decode database: unexpected error decoding after end of database: close reader 2: \
                 file checksum \
                 mismatch",
                "not-restorable",
                65,
            ),
            (
                "cannot download wal 72990454511b1a2b/00000000: lz4: invalid frame checksum: got \
                 62d494c4; expected \
                 19031a2",
                "not-restorable",
                65,
            ),
            ("cannot find snapshot index by timestamp: no snapshots available", "no-replica", 75),
            ("something never heard", "litestream-failed", 69),
        ] {
            let whole = format!("{told_by_05}{line}");
            let line = if line.starts_with(|c: char| c.is_ascii_digit()) { &whole } else { line };
            let trouble = Trouble::of_litestream(line);
            assert_eq!((trouble.cause, trouble.exit_code), (cause, exit_code), "{line}");
            assert!(trouble.to_string().contains(line));
        }
    }

    #[test]
    fn what_this_user_may_not_do_is_told_apart() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let trouble = Trouble::io(Path::new("/x"), &denied, "state-directory", "make it");
        assert_eq!((trouble.cause, trouble.exit_code), ("not-permitted", 77));
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Trouble::io(Path::new("/x"), &missing, "state-directory", "").exit_code, 69);
    }
}
