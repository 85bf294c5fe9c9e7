//! The provider's part in the simulation: willing, down, set up wrong; or the token keeps the
//! device from asking it.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Provider {
    Willing,
    Down { retry_after: Option<Duration> },
    SetUpWrong,
    TokenFails,
}

#[derive(Debug)]
pub(super) enum Answer {
    Credentials { expiration: DateTime<Utc>, date: Option<DateTime<Utc>> },
    Failed { class: Class, retry_after: Option<Duration> },
}

impl World {
    /// The provider changes its mind, for some minutes to some hours.
    pub(super) fn provider_becomes(&mut self, provider: Provider) {
        self.provider = provider;
        let (rate, longest) = match provider {
            Provider::Willing => return,
            Provider::Down { .. } => (self.weather.outages, 7_200),
            Provider::SetUpWrong => (self.weather.setup_faults, 86_400),
            Provider::TokenFails => (self.weather.token_faults, 86_400),
        };
        if let Provider::Down { .. } = self.provider {
            let asked = self.up_to(Duration::from_secs(900));
            let retry_after = (self.random.share() < 0.2).then_some(asked);
            self.provider = Provider::Down { retry_after };
        }
        let until = self.now + self.up_to(Duration::from_secs(longest));
        self.at(until, Happens::ProviderBecomes(Provider::Willing));
        let gap = until.since(self.now);
        self.some_time_after(gap, rate, Happens::ProviderBecomes(provider));
    }

    pub(super) fn ask(&mut self) -> (Duration, Answer) {
        let took =
            Duration::from_millis(50) + self.up_to(FETCH_SLOWEST - Duration::from_millis(50));
        if !self.pin_good {
            self.check(!self.pin_marked, "a refused PIN was tried again");
            self.count.pin_tries += 1;
            return (took, Answer::Failed { class: Class::PinRefused, retry_after: None });
        }
        match self.provider {
            Provider::Willing => {
                let true_time = self.true_time();
                let date = self.sends_date.then(|| true_time + TimeDelta::from_std(took).unwrap());
                let expiration = true_time + TimeDelta::from_std(LIFETIME).unwrap();
                (took, Answer::Credentials { expiration, date })
            }
            Provider::Down { retry_after } => {
                let took =
                    if self.random.share() < 0.3 { self.up_to(FETCH_DEADLINE) } else { took };
                (took, Answer::Failed { class: Class::Passing, retry_after })
            }
            Provider::SetUpWrong => {
                (took, Answer::Failed { class: Class::Setup, retry_after: None })
            }
            Provider::TokenFails => {
                (took, Answer::Failed { class: Class::Device, retry_after: None })
            }
        }
    }

    pub(super) fn true_time(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
            + TimeDelta::days(21_000)
            + TimeDelta::milliseconds(self.now.as_millis() as i64)
    }
}
