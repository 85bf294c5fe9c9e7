//! The rules by name, so that the simulation can take each of them out and see what is lost.

/// What the machine would do wrong without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A lock that was seen proves nothing: Litestream must have read on since it started.
    ReadOnSinceStart,
    /// Where nothing tells how far Litestream has read, its lock must outlive any answer of S3.
    OutliveAnyAnswer,
    /// Litestream's lock is looked at for as long as it keeps the WAL.
    LookingNeverEnds,
    /// Another start of Litestream has to prove itself anew.
    NewStartProvesAnew,
    /// Nobody is Litestream while a restart is under way.
    NobodyDuringRestart,
    /// Each WAL that began anew is judged by what Litestream had read of the one before.
    JudgeEachBeginning,
    /// What can't be shown any more counts as lost.
    MarkWhatIsGone,
    /// The same where Litestream's position is not known.
    MarkUnprovenBeginning,
    /// A Litestream that keeps the file that was exchanged, or reads no more, is restarted.
    RestartWhatStandsStill,
    /// A guard has an end.
    EndAtTheLimit,
    /// Time counts only while the device is awake and Litestream runs silently.
    OnlySilenceCounts,
}

/// All of the rules, or all but one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    #[cfg(test)]
    pub(super) without: Option<Rule>,
}

impl Rules {
    #[cfg(test)]
    pub(super) fn holds(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "there is nothing to take out but in tests")]
    pub(super) fn holds(self, _rule: Rule) -> bool {
        true
    }
}
