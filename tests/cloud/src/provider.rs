//! The AWS IoT Core credential provider: what it checks, in which order, and what it answers.
//!
//! Source: AWS IoT Core developer guide, "Authorizing direct calls to AWS services using AWS IoT Core credential
//! provider", and what clients have seen. AWS documents no values for `x-amzn-ErrorType`; those here are its usual ones.

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use hyper::{Method, Request, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::{
    Cloud, pki,
    registry::{Issued, State, Status},
    reply::{self, Answer, Response},
    request_log::{Entry, Side},
    secrets,
    tls::Peer,
};

pub const OPERATION: &str = "AssumeRoleWithCertificate";
const THING_HEADER: &str = "x-amzn-iot-thingname";

/// One of the provider's own errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub error_type: &'static str,
    pub message: &'static str,
}

const fn refusal(status: StatusCode, error_type: &'static str, message: &'static str) -> Refusal {
    Refusal { status, error_type, message }
}

const WRONG_ENDPOINT: Refusal = refusal(
    StatusCode::FORBIDDEN,
    "AccessDeniedException",
    "Certificate is invalid on this endpoint",
);
const ACCESS_DENIED: Refusal =
    refusal(StatusCode::FORBIDDEN, "AccessDeniedException", "Access Denied");
const WRONG_THING: Refusal =
    refusal(StatusCode::FORBIDDEN, "AccessDeniedException", "Invalid thing name passed");
const NO_ALIAS: Refusal =
    refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", "Role alias does not exist");
const NO_ROLE: Refusal = refusal(
    StatusCode::BAD_REQUEST,
    "InvalidRequestException",
    "Unable to assume the role, or the role to assume does not exist",
);
const TOO_LONG: Refusal = refusal(
    StatusCode::BAD_REQUEST,
    "InvalidRequestException",
    "The requested CredentialDurationSeconds exceeds the MaxSessionDuration set for the role",
);
const NO_SUCH_PATH: Refusal =
    refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", "Not Found");

/// Serves one connection to its end.
pub async fn serve(cloud: Arc<Cloud>, stream: TcpStream) {
    let faults = cloud.provider_faults.on_connection();
    let (stream, peer) = match cloud.tls.accept(stream, &faults).await {
        Ok(accepted) => accepted,
        Err(refused) => {
            let mut entry = cloud.log.begin(Side::Tls);
            entry.line.sni = refused.sni;
            return entry.finish(None, Some(refused.reason));
        }
    };
    let peer = Arc::new(peer);
    let service = service_fn(|request| {
        let (cloud, peer) = (Arc::clone(&cloud), Arc::clone(&peer));
        async move { answer(&cloud, &peer, &request).await }
    });
    // What ends a connection early is the client's doing or ours on purpose: the log has it.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    cloud: &Cloud,
    peer: &Peer,
    request: &Request<Incoming>,
) -> Result<Response, reply::CutOff> {
    let thing = request
        .headers()
        .get(THING_HEADER)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut entry = cloud.log.begin(Side::Provider);
    entry.line.operation = Some(OPERATION.to_owned());
    entry.line.sni = Some(peer.sni.clone());
    entry.line.thing.clone_from(&thing);
    let faults = cloud.provider_faults.on_request();
    if let Some(delay) = faults.delay_s {
        tokio::time::sleep(Duration::from_secs_f64(delay.clamp(0.0, 86_400.0))).await;
    }
    let answer = match faults.status {
        Some(_) => Answer::Ordered,
        None => match assume_role(cloud, peer, request.method(), request.uri().path(), thing) {
            Ok(issued) => {
                entry.line.access_key_id = Some(issued.access_key_id.clone());
                Answer::Issued(issued)
            }
            Err(refusal) => Answer::Refused(refusal),
        },
    };
    finish(entry, reply::shape(&answer, &faults))
}

fn finish(
    entry: Entry,
    result: Result<reply::Shaped, reply::CutOff>,
) -> Result<Response, reply::CutOff> {
    match result {
        Ok(shaped) => {
            entry.finish(Some(shaped.response.status().as_u16()), shaped.error);
            Ok(shaped.response)
        }
        Err(cut) => {
            entry.finish(None, Some(cut.to_string()));
            Err(cut)
        }
    }
}

fn assume_role(
    cloud: &Cloud,
    peer: &Peer,
    method: &Method,
    path: &str,
    thing: Option<String>,
) -> Result<Issued, Refusal> {
    let certificate_id = pki::certificate_id(&peer.certificate);
    let alias = alias_of(path).filter(|_| method == Method::GET).ok_or(NO_SUCH_PATH)?;
    if !peer.sni.eq_ignore_ascii_case(&cloud.endpoint_host) {
        return Err(WRONG_ENDPOINT);
    }
    let lifetime = authorize(&cloud.registry.state(), &certificate_id, thing.as_deref(), alias)?;
    // Whole seconds, as it is told.
    let now = Utc::now();
    let issued = Issued {
        access_key_id: secrets::access_key_id("ASIA"),
        secret_access_key: secrets::secret_access_key(),
        session_token: secrets::session_token(),
        expiration: now - TimeDelta::nanoseconds(now.timestamp_subsec_nanos().into()) + lifetime,
        thing,
        certificate_id,
        role_alias: alias.to_owned(),
    };
    cloud.registry.issue(issued.clone()).map_err(|error| {
        eprintln!("issued credentials can't be kept: {error}");
        NO_ROLE
    })?;
    Ok(issued)
}

/// Who may assume what, and for how long.
fn authorize(
    state: &State,
    certificate_id: &str,
    thing: Option<&str>,
    alias: &str,
) -> Result<TimeDelta, Refusal> {
    let certificate = state.certificates.get(certificate_id).ok_or(WRONG_ENDPOINT)?;
    if certificate.status != Status::Active {
        return Err(ACCESS_DENIED);
    }
    if thing.is_some_and(|thing| !certificate.things.iter().any(|attached| attached == thing)) {
        return Err(WRONG_THING);
    }
    if !certificate.policy_attached {
        return Err(ACCESS_DENIED);
    }
    let alias = state.role_aliases.get(alias).ok_or(NO_ALIAS)?;
    if !alias.role_exists {
        return Err(NO_ROLE);
    }
    if alias.lifetime_s > alias.max_session_s {
        return Err(TOO_LONG);
    }
    Ok(TimeDelta::seconds(alias.lifetime_s))
}

fn alias_of(path: &str) -> Option<&str> {
    let alias = path.strip_prefix("/role-aliases/")?.strip_suffix("/credentials")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,@-".contains(&byte);
    ((1..=128).contains(&alias.len()) && alias.bytes().all(allowed)).then_some(alias)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::registry::{Certificate, PermanentKey, RoleAlias};

    fn state() -> State {
        State {
            permanent: PermanentKey {
                access_key_id: String::new(),
                secret_access_key: String::new(),
            },
            ports: None,
            certificates: BTreeMap::from([(
                "c".to_owned(),
                Certificate {
                    status: Status::Active,
                    things: vec!["device-1".to_owned()],
                    policy_attached: true,
                },
            )]),
            role_aliases: BTreeMap::from([("alias".to_owned(), RoleAlias::default())]),
        }
    }

    fn with(change: impl FnOnce(&mut Certificate, &mut RoleAlias)) -> Result<TimeDelta, Refusal> {
        let mut state = state();
        let mut certificate = state.certificates.remove("c").unwrap();
        let mut alias = state.role_aliases.remove("alias").unwrap();
        change(&mut certificate, &mut alias);
        state.certificates.insert("c".to_owned(), certificate);
        state.role_aliases.insert("alias".to_owned(), alias);
        authorize(&state, "c", Some("device-1"), "alias")
    }

    #[test]
    fn a_good_certificate_gets_the_lifetime_of_the_alias() {
        assert_eq!(with(|_, _| ()), Ok(TimeDelta::seconds(900)));
        assert_eq!(authorize(&state(), "c", None, "alias"), Ok(TimeDelta::seconds(900)));
    }

    #[test]
    fn each_check_has_its_own_answer() {
        assert_eq!(authorize(&state(), "unknown", None, "alias"), Err(WRONG_ENDPOINT));
        assert_eq!(authorize(&state(), "c", Some("device-2"), "alias"), Err(WRONG_THING));
        assert_eq!(authorize(&state(), "c", None, "other"), Err(NO_ALIAS));
        assert_eq!(
            with(|certificate, _| certificate.status = Status::Inactive),
            Err(ACCESS_DENIED)
        );
        assert_eq!(with(|certificate, _| certificate.status = Status::Revoked), Err(ACCESS_DENIED));
        assert_eq!(with(|certificate, _| certificate.policy_attached = false), Err(ACCESS_DENIED));
        assert_eq!(with(|_, alias| alias.role_exists = false), Err(NO_ROLE));
        assert_eq!(with(|_, alias| alias.max_session_s = 899), Err(TOO_LONG));
    }

    #[test]
    fn an_alias_has_the_alphabet_of_aws() {
        assert_eq!(alias_of("/role-aliases/a_=,@-Z9/credentials"), Some("a_=,@-Z9"));
        for path in [
            "/role-aliases//credentials",
            "/role-aliases/a%20b/credentials",
            "/role-aliases/a",
            "/",
        ] {
            assert_eq!(alias_of(path), None, "{path}");
        }
    }
}
