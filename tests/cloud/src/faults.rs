//! Faults to order. They are set and healed while the cloud runs, and are gone after a restart.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// What is wrong with the credential provider. Several can hold at once (a late 503 with a wrong `Date`).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderFaults {
    /// Answer this instead of looking at the request; alone, with `{"message": …}`.
    pub status: Option<u16>,
    pub message: Option<String>,
    pub error_type: Option<String>,
    /// Put in as it is, so that nonsense can be tried.
    pub retry_after: Option<String>,
    /// Seconds from the request to the start of the answer.
    pub delay_s: Option<f64>,
    pub drip: Option<Drip>,
    pub cut: Option<Cut>,
    pub garbage: Option<Garbage>,
    pub huge_body_bytes: Option<u64>,
    /// A wrong clock at the provider: in `Date` and in `expiration`.
    pub date_offset_s: Option<i64>,
    pub no_date: bool,
    pub replace_field: Option<ReplaceField>,
    pub server_certificate: Option<ServerCertificate>,
    pub redirect: Option<String>,
    pub refuse_connections: bool,
    /// Only for so many requests (connections, where the fault is in the handshake); then healed.
    pub count: Option<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drip {
    pub bytes_per_s: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// After the client's first message.
    Handshake,
    /// After the request, before any answer.
    Headers,
    /// In the middle of the announced body.
    Body,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Garbage {
    Html,
    TruncatedJson,
    Empty,
    Binary,
    /// Sound JSON of another kind.
    NotCredentials,
}

/// Puts any JSON in place of a field of the credentials; without a value the field is left out.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceField {
    pub field: String,
    #[serde(default, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerCertificate {
    Expired,
    WrongHost,
    Untrusted,
}

/// What is wrong with S3.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Faults {
    pub status: Option<u16>,
    pub code: Option<String>,
    pub delay_s: Option<f64>,
    pub refuse_connections: bool,
    pub count: Option<u64>,
}

/// The faults of one side, as they are ordered and used up.
pub struct Faults<T>(Mutex<T>);

pub trait Fault: Clone + Default + Serialize {
    fn count(&mut self) -> &mut Option<u64>;
    fn refuses_connections(&self) -> bool;
    /// Says what can't be meant.
    fn check(&self) -> Result<(), &'static str>;
}

impl Fault for ProviderFaults {
    fn count(&mut self) -> &mut Option<u64> {
        &mut self.count
    }

    fn refuses_connections(&self) -> bool {
        self.refuse_connections
    }

    fn check(&self) -> Result<(), &'static str> {
        /// A hundred years: further off, dates have no four-digit year any more.
        const FARTHEST_S: u64 = 100 * 366 * 86_400;
        check_status(self.status)?;
        let far = |offset: i64| offset.unsigned_abs() > FARTHEST_S;
        let flows = |drip: &Drip| drip.bytes_per_s > 0.0;
        let spoils_an_answer =
            self.status.is_some() || self.garbage.is_some() || self.delay_s.is_some();
        refuse_if([
            (self.date_offset_s.is_some_and(far), "date_offset_s reaches past a hundred years"),
            (!self.drip.as_ref().is_none_or(flows), "drip.bytes_per_s must be above 0"),
            (self.message.is_some() && self.status.is_none(), "a message needs a status"),
            (
                self.in_handshake() && spoils_an_answer,
                "a fault in the handshake leaves no request for others",
            ),
            (self.refuse_connections && self.count.is_some(), UNCOUNTABLE),
        ])
    }
}

impl Fault for S3Faults {
    fn count(&mut self) -> &mut Option<u64> {
        &mut self.count
    }

    fn refuses_connections(&self) -> bool {
        self.refuse_connections
    }

    fn check(&self) -> Result<(), &'static str> {
        check_status(self.status)?;
        refuse_if([(self.refuse_connections && self.count.is_some(), UNCOUNTABLE)])
    }
}

const UNCOUNTABLE: &str = "refused connections can't be counted: the kernel refuses them";

fn check_status(status: Option<u16>) -> Result<(), &'static str> {
    let wrong = status.is_some_and(|status| !(200..=599).contains(&status));
    refuse_if([(wrong, "status must be 200 to 599")])
}

fn refuse_if<const N: usize>(flaws: [(bool, &'static str); N]) -> Result<(), &'static str> {
    match flaws.into_iter().find(|(flawed, _)| *flawed) {
        Some((_, what)) => Err(what),
        None => Ok(()),
    }
}

impl ProviderFaults {
    /// Whether it strikes before there is a request.
    fn in_handshake(&self) -> bool {
        self.server_certificate.is_some() || self.cut == Some(Cut::Handshake)
    }
}

impl<T: Fault> Faults<T> {
    pub fn healthy() -> Self {
        Self(Mutex::new(T::default()))
    }

    pub fn set(&self, faults: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    pub fn get(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The faults that strike now, if `when` says so; uses one up where they are counted.
    fn take(&self, when: impl Fn(&T) -> bool) -> T {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !when(&faults) {
            return T::default();
        }
        let struck = faults.clone();
        match faults.count() {
            None => {}
            Some(0 | 1) => *faults = T::default(),
            Some(left) => *left -= 1,
        }
        struck
    }
}

impl Faults<ProviderFaults> {
    pub fn on_connection(&self) -> ProviderFaults {
        self.take(ProviderFaults::in_handshake)
    }

    pub fn on_request(&self) -> ProviderFaults {
        self.take(|faults| !faults.in_handshake())
    }
}

impl Faults<S3Faults> {
    pub fn on_request(&self) -> S3Faults {
        self.take(|_| true)
    }
}

fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_heals_itself() {
        let faults = Faults::healthy();
        faults.set(ProviderFaults { status: Some(503), count: Some(2), ..Default::default() });
        let statuses: Vec<_> = (0..3).map(|_| faults.on_request().status).collect();
        assert_eq!(statuses, [Some(503), Some(503), None]);
    }

    #[test]
    fn a_handshake_fault_is_counted_by_connections_alone() {
        let faults = Faults::healthy();
        faults.set(ProviderFaults {
            cut: Some(Cut::Handshake),
            count: Some(1),
            ..Default::default()
        });
        assert!(faults.on_request().cut.is_none());
        assert!(faults.on_connection().cut.is_some());
        assert!(faults.on_connection().cut.is_none());
    }

    #[test]
    fn a_null_is_a_value_and_no_value_is_none() {
        let null: ReplaceField = serde_json::from_str(r#"{"field":"a","value":null}"#).unwrap();
        assert_eq!(null.value, Some(Value::Null));
        let none: ReplaceField = serde_json::from_str(r#"{"field":"a"}"#).unwrap();
        assert_eq!(none.value, None);
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        assert!(serde_json::from_str::<ProviderFaults>(r#"{"delay":1}"#).is_err());
    }
}
