//! When a PIN may be tried: what keeps a fleet from locking its own tokens, and a sound device from
//! being kept offline by that very care.
//!
//! A token locks after a few wrong PINs in a row, often three, often for good. So a login leaves a
//! mark before it begins. The answer takes the mark back, or turns it into that of a refusal. A
//! mark that is found later belongs to a login that ended without an answer, and may have been a
//! refusal. Two of either kind and the PIN is not tried again until it is changed, or a person says
//! that it is right.
//!
//! Three things are no refusal, and never keep a PIN from being tried:
//!
//! - whatever happens before `C_Login`: no mark is there yet;
//! - a token that is locked for a time, as a TPM is after some power cuts. It does not look at the
//!   PIN at all, and unlocks itself;
//! - logins without an answer where the token took this very PIN before: a bus that hangs is the
//!   likely reason. From the second one on the token's own flags are looked at first. Only a token
//!   that says that it has refused a PIN lately is left alone.
//!
//! Nothing here reads a file, a clock or a token: what is remembered comes in as a [`Memory`], and
//! what is to be remembered goes out.

#[cfg(test)]
mod tests;

/// So many refusals in a row, or logins that may have been one, and the PIN is not tried again.
pub const MOST: u32 = 2;

/// What is known of the PIN that stands in the settings now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The token took this very PIN, and nothing has refused it since.
    pub accepted: bool,
    /// On the data partition.
    pub lasting: Option<Mark>,
    /// In memory: gone after a boot.
    pub of_this_boot: Option<Mark>,
}

/// What an earlier login left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub kind: Kind,
    /// Refusals in a row, this one included, or logins that may have been one.
    pub count: u32,
    /// Whether the PIN that it is about may be the one that stands in the settings now.
    pub of_this_pin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The login ended without an answer. `accepted`: the token had taken that PIN before.
    Unanswered { accepted: bool },
    /// The token refused the PIN.
    Refused,
}

/// Why a PIN is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The token refused it.
    Refused,
    /// The token may have refused it: as often as is allowed no answer came.
    Uncertain,
}

/// What the token's flags say, just before a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Nothing of wrong PINs. Some tokens, such as a TPM, never do.
    Silent,
    /// It has refused a PIN since it took one last: CKF_USER_PIN_COUNT_LOW and what goes beyond it.
    RefusedLately,
}

/// The mark to be made before a login, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tentative {
    pub mark: Mark,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the data partition. It outlives a power cut.
    Lasting,
    /// In memory: flash is spared, and a power cut is not the module's doing.
    ThisBoot,
}

/// How a login ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Refused,
    /// By anything but the PIN: the token is locked for a time, or the module failed.
    Otherwise,
}

/// What is to be remembered after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// That the token takes this PIN, and no mark.
    Accepted,
    /// A mark of so many refusals, and no acceptance.
    Refused { count: u32 },
    /// What was remembered before the login.
    AsBefore,
}

impl Memory {
    /// Whether the PIN must be left alone, as far as that is known without the token.
    pub fn stop(&self) -> Option<Stop> {
        let stops = |mark: Mark| match mark.kind {
            Kind::Unanswered { accepted: true } => None,
            // From the last allowed one on it is for every PIN: something may be rewriting the
            // file.
            _ if !mark.of_this_pin && mark.count < MOST => None,
            Kind::Refused => Some(Stop::Refused),
            Kind::Unanswered { accepted: false } => (mark.count >= MOST).then_some(Stop::Uncertain),
        };
        self.marks().find_map(stops)
    }

    /// Whether this PIN is known to be good, and yet the last logins with it ended without an
    /// answer: it is tried slowly then, and not where the token says that it has refused one.
    pub fn is_doubtful(&self) -> bool {
        self.accepted && self.unanswered() >= MOST
    }

    /// Begins a login.
    ///
    /// # Errors
    /// If the PIN must be left alone.
    pub fn begin(&self, flags: Flags) -> Result<Tentative, Stop> {
        if let Some(stop) = self.stop() {
            return Err(stop);
        }
        if self.is_doubtful() && flags == Flags::RefusedLately {
            return Err(Stop::Uncertain);
        }
        let kind = Kind::Unanswered { accepted: self.accepted };
        let place = if self.accepted { Place::ThisBoot } else { Place::Lasting };
        let mark = Mark { kind, count: self.earlier().saturating_add(1), of_this_pin: true };
        Ok(Tentative { mark, place })
    }

    /// Ends a login that had an answer. `self` is what was remembered before it.
    pub fn end(&self, answer: Answer) -> Outcome {
        match answer {
            Answer::Accepted => Outcome::Accepted,
            Answer::Refused => Outcome::Refused { count: self.earlier().saturating_add(1) },
            Answer::Otherwise => Outcome::AsBefore,
        }
    }

    /// How many logins in a row ended without an answer.
    pub fn unanswered(&self) -> u32 {
        let unanswered = self.that_count().filter(|mark| mark.kind != Kind::Refused);
        unanswered.map(|mark| mark.count).max().unwrap_or_default()
    }

    /// How often a PIN was refused in a row, or may have been.
    fn earlier(&self) -> u32 {
        self.that_count().map(|mark| mark.count).max().unwrap_or_default()
    }

    /// The marks, without those of another PIN that the token had taken: a login with that one says
    /// nothing about this one.
    fn that_count(&self) -> impl Iterator<Item = Mark> {
        let accepted = self.accepted;
        self.marks().filter(move |mark| {
            mark.kind != (Kind::Unanswered { accepted: true }) || (accepted && mark.of_this_pin)
        })
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        [self.lasting, self.of_this_boot].into_iter().flatten()
    }
}
