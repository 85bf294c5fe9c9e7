//! The kinds of findings of `status`, in one table, which the screen, `--json` and the
//! documentation go by. What `check` can find as well is told in the words of its table,
//! [`crate::problems::finding`].

use crate::problems::{exit_code, finding};

/// What is told of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    name: &'static str,
    exit_code: u8,
    what: &'static str,
    remedy: &'static str,
}

impl From<finding::Finding> for Told {
    fn from(shared: finding::Finding) -> Self {
        Self {
            name: shared.name(),
            exit_code: shared.exit_code(),
            what: shared.what(),
            remedy: shared.remedy(),
        }
    }
}

macro_rules! told {
    (= $shared:ident) => {
        Told::from(finding::Finding::$shared)
    };
    ($name:literal $exit:ident $what:literal $remedy:expr) => {
        Told { name: $name, exit_code: exit_code::$exit, what: $what, remedy: $remedy }
    };
}

macro_rules! kinds {
    ($(
        $kind:ident $(= $shared:ident)? $($name:literal $exit:ident $what:literal $remedy:expr)?;
    )*) => {
        /// What is told apart, beside the causes of a failed fetch. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[doc = $what])? $kind,)*
        }

        impl Kind {
            /// Every kind, the worst first.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            fn told(self) -> Told {
                match self {
                    $(Self::$kind => told!($(= $shared)? $($name $exit $what $remedy)?)),*
                }
            }
        }
    };
}

impl Kind {
    pub fn name(self) -> &'static str {
        self.told().name
    }

    /// What `edgerotate status` exits with for it; 0 for what is only worth knowing.
    pub fn exit_code(self) -> u8 {
        self.told().exit_code
    }

    pub fn what(self) -> &'static str {
        self.told().what
    }

    /// `FILE` stands for the file in question.
    pub fn remedy(self) -> &'static str {
        self.told().remedy
    }
}

kinds! {
    StateNotPermitted "state-not-permitted" NOT_PERMITTED
        "what edgerotate wrote down may not be read"
        "run it as edgerotate's user: sudo -u edgerotate edgerotate status, or as root runuser -u \
         edgerotate -- edgerotate status";
    NotRunning = DaemonNotRunning;
    SettingWrong = SettingWrong;
    SettingMissing = SettingMissing;
    SettingsNotPermitted = SettingsNotPermitted;
    RunningUnknown = RunningUnknown;
    StateUnreadable "state-unreadable" DEVICE
        "what edgerotate wrote down can't be understood"
        "systemctl restart edgerotate: another version of it runs, or ran";
    StateNotWritten "state-not-written" AWAY
        "edgerotate runs and has not written down yet what it does"
        "look again in a few seconds; if it stays, journalctl -u edgerotate says why the file was \
         not written";
    DirectoryFull = DirectoryFull;
    StateOld "state-old" DEVICE
        "edgerotate runs, and what it wrote down is old: nothing more of it is shown"
        "make room in its runtime directory (df), or see in journalctl -u edgerotate why it does \
         not write it anew";
    CredentialsExpired "credentials-expired" AWAY
        "the credentials have expired, and there are no newer ones: Litestream can't upload"
        "see what keeps the next fetch from them, above; if nothing stands there, edgerotate fetch \
         asks once by hand and says it";
    HandOverFails "hand-over-fails" DEVICE
        "Litestream does not get the newest credentials"
        AS_SAID;
    LitestreamNotRunning = LitestreamNotRunning;
    HandOverSlow "hand-over-slow" AWAY
        "Litestream is not seen yet to have started with the newest credentials; until then \
         nothing may be replicated"
        "look again in a minute, as one that can't upload takes 30 s to stop; if it stays so: \
         systemctl status litestream";
    HeartbeatFails "heartbeat-fails" DEVICE
        "heartbeats can't be written"
        AS_SAID;
    HeartbeatSilent "heartbeat-silent" DEVICE
        "no heartbeat was written, and none failed"
        "look at the storage (dmesg); the watchdog ends edgerotate, and systemd starts it again";
    Suspect = Suspect;
    SuspectUnknown = SuspectUnknown;
    GuardNotHad = GuardNotHad;
    GuardGivenUp "guard-given-up" DEVICE
        "the guard over a database was let go at a limit, and Litestream has not taken over"
        "see that litestream.yml names this database, that Litestream runs, and what it says: \
         journalctl -u litestream";
    ReplicaStandsStill "replica-stands-still" AWAY
        "Litestream runs, and reads nothing of what is written to a database"
        "it is restarted, which mends most causes; if it stays so, see what it says of the \
         database: journalctl -u litestream";
    WalTooLarge "wal-too-large" AWAY
        "the WAL of a database stays beyond EDGEROTATE_GUARD_MAX_WAL, and Litestream keeps it"
        "see what Litestream says of the database (journalctl -u litestream), and whether a \
         program keeps a read transaction open";
    ReplicaBehind "replica-behind" AWAY
        "the replica has not moved for longer than EDGEROTATE_VERIFY_MAX_LAG"
        "look at Litestream's log (journalctl -u litestream) and at the network to S3; `edgerotate \
         verify` tells whether rows are missing";
    ClockWrong = ClockWrong;
    NoCredentials "no-credentials" AWAY
        "there are no credentials yet"
        "look again in a minute; if it stays so, journalctl -u edgerotate says what it waits for";
    NotHandedOver "not-handed-over" AWAY
        "Litestream does not have its first credentials yet"
        "look again in a minute; if it stays so, see why Litestream does not start: journalctl -u \
         litestream";
    ClockOff = ClockOff;
    SettingIgnored "setting-ignored" FINE
        "a key is no setting of this version, and nothing reads it"
        "correct its spelling or remove it; if a newer image wrote it, let it be";
    ConsumerRanOut "consumer-ran-out" FINE
        "a program no longer asks for credentials, and what it got has run out"
        "see whether it still runs, and what it logs";
    UploadsUnseen "uploads-unseen" FINE
        "Litestream's uploads can't be watched"
        "see that Litestream runs, and that `addr:` in its configuration is what \
         EDGEROTATE_LITESTREAM_METRICS names";
}

/// Where the line ends with what to do, since it depends on what was found.
const AS_SAID: &str = "what the line ends with; what fails is tried again by itself";
