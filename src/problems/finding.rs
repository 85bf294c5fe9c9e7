//! What `edgerotate check` can find, beside the causes of a failed fetch in
//! [`crate::problems::failure`].
//!
//! Both tables are made alike: a stable name, what was found, what to do. `check`, its `--json` and
//! docs/troubleshooting.md read them, so that none of them can say something else; and `status`,
//! where it finds the same ([`crate::problems::kinds`]).

use crate::problems::exit_code;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It works as it is; a person should look at it.
    Warning,
    /// Something does not work, or is not safe.
    Error,
}

impl Level {
    pub fn of(exit_code: u8) -> Self {
        if exit_code == exit_code::FINE { Self::Warning } else { Self::Error }
    }

    /// As `--json` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "wrong",
        }
    }
}

/// What an update gate makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// An image can break it: the update is given back.
    Fails,
    /// The same, but a device that has just started may only be late with it: it is waited for.
    FailsAtLast,
    /// It is of this device, of AWS or of the network: another image would meet it as well.
    Warns,
}

macro_rules! findings {
    ($($finding:ident $name:literal $exit:ident $gate:ident $what:literal $remedy:expr;)*) => {
        /// The findings that are told apart. The names in kebab case are stable: `--json` carries
        /// them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Finding {
            $(#[doc = $what] $finding,)*
        }

        impl Finding {
            /// Every finding, in the order in which `check` looks.
            pub const ALL: &[Self] = &[$(Self::$finding),*];

            /// The stable name, in kebab case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$finding => $name),* }
            }

            /// What the command exits with when nothing worse was found; 0 for a warning.
            pub fn exit_code(self) -> u8 {
                match self { $(Self::$finding => exit_code::$exit),* }
            }

            /// Whether `check --gate` fails on it.
            pub fn gate(self) -> Gate {
                match self { $(Self::$finding => Gate::$gate),* }
            }

            /// What was found, without what was found here.
            pub fn what(self) -> &'static str {
                match self { $(Self::$finding => $what),* }
            }

            /// What a person does about it. `FILE` stands for the file in question.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$finding => $remedy),* }
            }
        }
    };
}

impl Finding {
    pub fn level(self) -> Level {
        Level::of(self.exit_code())
    }

    /// What `check` exits with: it looks at what the daemon needs, also before its first start.
    pub fn code_of_check(self) -> u8 {
        if self == Self::DaemonNotRunning { exit_code::FINE } else { self.exit_code() }
    }
}

findings! {
    // The settings. In the device's own file they are no reason to give an image back: see
    // `check::settings`.
    SettingWrong "setting-wrong" SETTINGS Fails
        "a setting is wrong"
        "correct that line";
    SettingMissing "setting-missing" SETTINGS Fails
        "a setting that is needed is in none of the files"
        "write it into one of the files of settings: what all devices share into the image's, the \
         rest into the device's own";
    SettingUnknown "setting-unknown" SETTINGS Fails
        "a key is no setting of this version"
        "correct its spelling or remove the line: nothing reads it";
    SettingUnknownHere "setting-unknown-here" FINE Warns
        "the device's own file has a key that is no setting of this version"
        "correct its spelling; if a newer image wrote it, let it be";
    SettingDoubtful "setting-doubtful" FINE Warns
        "a setting is not what it seems"
        "change it as the line has it, or remove it; edgerotate runs with it as it is";
    // Whose it may be is decided by the image, which makes the users: so here the device's own
    // counts too.
    SettingsNotPermitted "settings-not-permitted" NOT_PERMITTED Fails
        "a file of settings is there, and this user may not read it"
        "let the group of the user that runs edgerotate read it: chown root:edgerotate FILE && \
         chmod 0640 FILE";
    NotProvisioned "not-provisioned" FINE Warns
        "a setting that each device brings itself is not there"
        "nothing, if the device is yet to be provisioned; else write it into its own file";

    // The daemon, and who looks.
    DaemonNotRunning "daemon-not-running" DEVICE Warns
        "edgerotate does not run"
        "journalctl -u edgerotate says why it ended; systemctl start edgerotate starts it";
    DaemonNotUp "daemon-not-up" DEVICE FailsAtLast
        "edgerotate.service is there, and edgerotate does not come up"
        "systemctl status edgerotate and journalctl -b -u edgerotate say why; systemd-analyze \
         verify edgerotate.service finds a broken unit";
    RunningUnknown "running-unknown" DEVICE Warns
        "it can't be told whether edgerotate runs"
        "run it as the daemon's user, where all of /proc is mounted (no ProcSubset=pid)";
    OtherUser "other-user" FINE Warns
        "this is not the daemon's user, so what only that one may not do is not seen"
        "run it as that user: sudo -u USER edgerotate check, or as root runuser -u USER -- \
         edgerotate check";

    // Directories and files.
    DirectoryMissing "directory-missing" DEVICE FailsAtLast
        "a directory of edgerotate's is not there"
        "start edgerotate.service once, which makes it; or make it for the user that runs \
         edgerotate: install -d -m 700 -o USER FILE";
    DirectoryNotUsable "directory-not-usable" NOT_PERMITTED FailsAtLast
        "a directory of edgerotate's can't be written"
        "run check as the daemon's user; if it is that one, give it the directory: chown -R USER \
         FILE";
    DirectoryFull "directory-full" DEVICE Warns
        "the file system of a directory of edgerotate's is full"
        "make room there (df FILE says how much there is): what is kept in it can't be replaced, \
         the credentials among it";
    SecretReadable "secret-readable" NOT_PERMITTED Warns
        "every user of this device can read a secret"
        "chmod o= FILE";
    WritableByAll "writable-by-all" NOT_PERMITTED Warns
        "every user of this device can replace it"
        "chmod o-w FILE";
    SecretsOnFlash "secrets-on-flash" FINE Warns
        "credentials are kept on storage, which remembers them"
        "put FILE below /run, which is tmpfs";
    StateOnTmpfs "state-on-tmpfs" FINE Warns
        "the marks of a refused PIN and of a suspect replica are gone after a reboot"
        "set EDGEROTATE_STATE_DIRECTORY to a directory on the data partition";
    EnvironmentFileMissing "environment-file-missing" FINE Warns
        "no credentials have been handed over yet"
        "see that the daemon runs and what keeps it from credentials, in the lines above";
    EnvironmentFileNotReadable "environment-file-not-readable" FINE Warns
        "the environment file can't be read by this user"
        "run check as the daemon's user or as root";

    MarkNotRemoved "mark-not-removed" NOT_PERMITTED Warns
        "the mark of a refused PIN can't be removed"
        "run check --pin-changed as root or as the daemon's user; or remove FILE";

    // The certificate.
    CertificateExpired "certificate-expired" DEVICE Warns
        "the device's certificate has expired"
        "issue a new certificate for this device's key, and put it in the place of FILE";
    CertificateExpiresSoon "certificate-expires-soon" FINE Warns
        "the device's certificate expires soon"
        "issue a new certificate for this device's key before then, and put it in the place of \
         FILE";
    CertificateNotYetValid "certificate-not-yet-valid" DEVICE Warns
        "the device's certificate is not valid yet"
        "set this device's clock, which is probably behind (timedatectl)";
    ThingNameDiffers "thing-name-differs" FINE Warns
        "the certificate names another thing than EDGEROTATE_THING_NAME"
        "see that the certificate is this device's, and attached to that thing in AWS IoT";

    // The clock.
    ClockOff "clock-off" FINE Warns
        "this device's clock is off"
        "look at the time synchronisation (timedatectl); S3 refuses uploads from 15 minutes on";
    ClockWrong "clock-wrong" AWAY Warns
        "this device's clock is so far off that S3 refuses uploads"
        "set it, and look at the time synchronisation (timedatectl)";
    NoDate "no-date" FINE Warns
        "the provider's answer has no Date to compare the clock with"
        "look for a proxy that changes the answer";

    // Databases.
    DatabaseDirectory "database-directory" DEVICE FailsAtLast
        "the database's directory is not there, or not for this user"
        "make it for the user that runs edgerotate, or correct EDGEROTATE_DATABASE";
    DatabaseVolatile "database-volatile" SETTINGS Fails
        "the database is on tmpfs, in memory, and gone after a reboot"
        "put it on the data partition, or set EDGEROTATE_ALLOW_VOLATILE_DATABASE=yes";
    DatabaseNotUsable "database-not-usable" DEVICE FailsAtLast
        "the database can't be opened and written"
        "let the user that runs edgerotate write FILE, its -wal and -shm, and their directory; if \
         the storage is read-only or broken, see dmesg";
    DatabaseBusy "database-busy" DEVICE Warns
        "the database is locked by another program for too long"
        "look for a program that keeps a write transaction open: fuser FILE";
    DatabaseDamaged "database-damaged" DEVICE Warns
        "the database is damaged, or none"
        "stop edgerotate and Litestream, move FILE and what is beside it away, and restore it: \
         litestream restore FILE";
    DatabaseNotWal "database-not-wal" DEVICE Warns
        "the database is not in WAL mode, which Litestream needs"
        "start edgerotate, which sets it; if it stays, look for a program that sets another mode";
    LittleRoom "little-room" FINE Warns
        "the file system of the database is nearly full"
        "make room: a WAL may grow to EDGEROTATE_GUARD_MAX_WAL before it is given up";
    NoRoom "no-room" DEVICE Warns
        "the file system of the database is full"
        "make room: heartbeats and the applications' rows can't be written";

    // Litestream.
    LitestreamNotRun "litestream-not-run" DEVICE Fails
        "Litestream's program can't be run"
        "install Litestream for this machine, or correct EDGEROTATE_LITESTREAM";
    LitestreamConfigMissing "litestream-config-missing" SETTINGS Fails
        "Litestream's configuration is not there"
        "set EDGEROTATE_LITESTREAM_CONFIG to the file that Litestream's unit uses";
    LitestreamConfigNotReadable "litestream-config-not-readable" FINE Warns
        "Litestream's configuration can't be read by this user"
        "run check as root, or let the daemon's user read FILE: chmod o+r FILE, if no key stands \
         in it";
    LitestreamConfigBroken "litestream-config-broken" SETTINGS Fails
        "Litestream does not understand its configuration"
        "correct it, and try: litestream databases -config FILE";
    LitestreamExample "litestream-config-example" SETTINGS Warns
        "Litestream's configuration still has the bucket of the example, which is nobody's"
        "write the name of your own bucket into FILE";
    LitestreamPermanentKeys "litestream-permanent-keys" SETTINGS Warns
        "Litestream's configuration has keys of its own, and signs with them instead of the \
         credentials that rotate"
        "take access-key-id, secret-access-key and keys in a url: out of FILE, and revoke them";
    LitestreamDirectory "litestream-directory" SETTINGS Warns
        "Litestream's configuration names a directory (dir:), whose databases can't be checked, \
         verified or mended"
        "name each database by path: in FILE";
    LitestreamExecutes "litestream-exec" FINE Warns
        "Litestream runs a program (exec:), which is restarted with it at each rotation"
        "let systemd run the program, and take exec: out of FILE; or use \
         EDGEROTATE_DELIVERY=endpoint";
    LitestreamVersionBad "litestream-version" FINE Warns
        "this version of Litestream is known to lose rows, to stop, or to lack what mends a replica"
        "install 0.5.9 or later, or 0.3.13";
    LitestreamOtherDatabase "litestream-config-other-database" SETTINGS Fails
        "Litestream's configuration does not name the heartbeat's database"
        "write the path in EDGEROTATE_DATABASE into FILE, letter by letter";
    NotReplicated "not-replicated" FINE Warns
        "a database in EDGEROTATE_GUARD_DATABASES is not in Litestream's configuration"
        "name it in FILE, or take it out of EDGEROTATE_GUARD_DATABASES";
    NotGuarded "not-guarded" FINE Warns
        "a database that Litestream replicates is not guarded while it restarts"
        "name it in EDGEROTATE_GUARD_DATABASES: a restart of Litestream 0.5 can lose rows of it";
    LitestreamNotSeen "litestream-not-seen" FINE Warns
        "whether Litestream runs can't be seen here"
        "where there is no systemd, set EDGEROTATE_LITESTREAM_PID_FILE";
    LitestreamNotRunning "litestream-not-running" DEVICE Warns
        "Litestream does not run, so nothing is replicated"
        "systemctl start litestream (or what EDGEROTATE_LITESTREAM_UNIT names), and see its log: \
         journalctl -u litestream";
    LitestreamRestarting "litestream-restarting" FINE Warns
        "Litestream is being restarted"
        "look again in a minute: edgerotate goes on until it runs with the newest credentials";
    LitestreamNoCredentials "litestream-no-credentials" DEVICE Warns
        "Litestream runs without the environment file"
        "write EnvironmentFile=FILE into its unit (systemctl edit litestream), then restart it";
    LitestreamOtherCredentials "litestream-other-credentials" DEVICE Warns
        "Litestream runs with other credentials than the environment file has"
        "systemctl restart litestream; if it comes again, see that EDGEROTATE_RESTART_COMMAND \
         restarts this Litestream and its unit reads FILE";

    // What keeps rows from being lost.
    GuardNotHad "guard-not-had" DEVICE Warns
        "a database can't be guarded while Litestream restarts, so rows can get lost in its replica"
        "let the user that runs edgerotate read and write FILE, its -wal and -shm, and their \
         directory; a guarded database is in WAL mode";
    GuardDatabaseMissing "guard-database-missing" FINE Warns
        "a database in EDGEROTATE_GUARD_DATABASES is not there"
        "nothing, if its application makes it later; else correct EDGEROTATE_GUARD_DATABASES";
    Suspect "suspect" DEVICE Warns
        "a replica may lack rows"
        crate::core::suspect::REMEDY;
    SuspectUnknown "suspect-unknown" DEVICE Warns
        "which replicas may lack rows can't be told"
        "run it as the daemon's user, who must be able to read FILE; if that is broken, remove it \
         and make new snapshots";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::problems::failure::Cause;

    #[test]
    fn the_table_is_sound() {
        let mut names: HashSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        for &finding in Finding::ALL {
            let name = finding.name();
            assert!(names.insert(name), "{name} twice");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
            for text in [finding.what(), finding.remedy()] {
                assert!(
                    !text.is_empty() && !text.contains('\n') && !text.ends_with('.'),
                    "{name}: {text}"
                );
                for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                    let known =
                        crate::settings::SETTINGS.iter().any(|setting| setting.name == word);
                    assert!(known || !word.starts_with("EDGEROTATE_"), "{name}: {word}");
                }
            }
            assert!([0, 69, 75, 77, 78].contains(&finding.exit_code()));
            assert!(
                finding.gate() == Gate::Warns || finding.level() == Level::Error,
                "{name}: no warning gives an image back"
            );
        }
    }
}
