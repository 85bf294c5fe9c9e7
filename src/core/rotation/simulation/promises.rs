//! What must hold in every moment of the simulated years.

use super::*;

impl World {
    pub(super) fn check_promises(&self) {
        self.check_coverage();
        self.check_restart_owed();
        self.check_handed_over();
    }

    pub(super) fn check(&self, holds: bool, what: &str) {
        assert!(holds, "seed {}, {} ms after boot: {what}", self.seed, self.now.as_millis());
    }

    /// No moment without valid credentials that a willing provider would have covered.
    fn check_coverage(&self) {
        let excused = self.now < self.valid_until
            || self.provider != Provider::Willing
            || !self.pin_good
            || self.pin_marked
            || self.doomed
            || self.now <= self.excused_until + FETCH_SLOWEST;
        self.check(excused, "no valid credentials although the provider is willing");
    }

    /// Every failed restart is retried: it is planned, and soon.
    fn check_restart_owed(&self) {
        let latest = self.now + HAND_OVER.cap;
        let planned = match self.rotation.hand_over {
            HandOver::WriteDue { at, .. } | HandOver::RestartDue { at, .. } => at <= latest,
            HandOver::UnderWay { .. } => true,
            HandOver::Done => false,
        };
        self.check(!self.restart_owed || planned, "a failed restart was forgotten");
    }

    /// Litestream runs with the newest credentials, or is about to.
    fn check_handed_over(&self) {
        let done = matches!(self.rotation.hand_over, HandOver::Done);
        let current = match self.policy.delivery {
            HandOverPolicy::EachTime => {
                self.rotation.held().is_none_or(|held| self.in_use == Some(held))
            }
            HandOverPolicy::Once { done } => done || self.count.restarts > 0,
        };
        self.check(!done || current, "the newest credentials were never handed over");
    }
}
