//! The control interface: plain HTTP and JSON, for curl and for tests. It is AWS's console and the hand on the plug.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    Cloud, Failure,
    faults::{Fault, Faults, ProviderFaults, S3Faults},
    listener::Port,
    pki,
    registry::{Certificate, RoleAlias, Status},
};

pub struct Control {
    pub cloud: Arc<Cloud>,
    pub provider_port: Arc<Port>,
    pub s3_port: Arc<Port>,
}

/// What the control interface answers when it does not do as told.
struct Refusal(StatusCode, String);

type Reply = Result<Value, Refusal>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCertificate {
    csr: String,
    thing: Option<String>,
    not_before: Option<DateTime<Utc>>,
    not_after: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStatus {
    status: Status,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewThings {
    things: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPolicy {
    attached: bool,
}

impl Control {
    pub async fn serve(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let control = Arc::clone(&self);
            async move { Ok::<_, Infallible>(control.answer(request).await) }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, value) = match self.route(request).await {
            Ok(value) => (StatusCode::OK, value),
            Err(Refusal(status, message)) => (status, json!({ "message": message })),
        };
        let mut response = Response::new(Full::from(format!("{value}\n")));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(bad_request)?.to_bytes();
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        match (parts.method, path.as_slice()) {
            (Method::POST, ["certificates"]) => self.create_certificate(parse(&body)?),
            (Method::PUT, ["certificates", id, "status"]) => {
                let new: NewStatus = parse(&body)?;
                self.change_certificate(id, |certificate| certificate.status = new.status)
            }
            (Method::PUT, ["certificates", id, "things"]) => {
                let new: NewThings = parse(&body)?;
                self.change_certificate(id, |certificate| certificate.things = new.things)
            }
            (Method::POST | Method::PUT, ["certificates", id, "policy"]) => {
                let new: NewPolicy = parse(&body)?;
                self.change_certificate(id, |certificate| {
                    certificate.policy_attached = new.attached
                })
            }
            (Method::PUT, ["role-aliases", name]) => self.put_role_alias(name, parse(&body)?),
            (Method::DELETE, ["role-aliases", name]) => {
                let removed = self.cloud.registry.change(|state| state.role_aliases.remove(*name));
                removed.map_err(failed)?.map(|_| json!({})).ok_or_else(not_found)
            }
            (Method::PUT, ["faults", "provider"]) => self.order_at_provider(parse(&body)?).await,
            (Method::DELETE, ["faults", "provider"]) => {
                self.order_at_provider(ProviderFaults::default()).await
            }
            (Method::PUT, ["faults", "s3"]) => self.order_at_s3(parse(&body)?).await,
            (Method::DELETE, ["faults", "s3"]) => self.order_at_s3(S3Faults::default()).await,
            (Method::GET, ["requests"]) => {
                let since =
                    parts.uri.query().and_then(|query| query.strip_prefix("since=")).unwrap_or("0");
                let since = since.parse().map_err(bad_request)?;
                self.cloud.log.since(since).map(Value::from).map_err(|error| failed(error.into()))
            }
            (Method::GET, ["state"]) => Ok(self.state()),
            _ => Err(not_found()),
        }
    }

    fn create_certificate(&self, new: NewCertificate) -> Reply {
        let authority = &self.cloud.pki.device_root;
        let pem = authority.device(&new.csr, new.not_before, new.not_after).map_err(bad_request)?;
        let id = pki::certificate_id(&pki::der(&pem).map_err(failed)?);
        let certificate = Certificate {
            status: Status::Active,
            things: new.thing.into_iter().collect(),
            policy_attached: true,
        };
        self.cloud
            .registry
            .change(|state| state.certificates.insert(id.clone(), certificate))
            .map_err(failed)?;
        Ok(json!({ "certificate_pem": pem, "certificate_id": id }))
    }

    fn change_certificate(&self, id: &str, change: impl FnOnce(&mut Certificate)) -> Reply {
        let changed = self.cloud.registry.change(|state| {
            let certificate = state.certificates.get_mut(id)?;
            change(certificate);
            Some(certificate.clone())
        });
        changed.map_err(failed)?.map(|certificate| json!(certificate)).ok_or_else(not_found)
    }

    /// Fields that are not given keep their value.
    fn put_role_alias(&self, name: &str, new: Value) -> Reply {
        let given = new.as_object().cloned().ok_or_else(|| bad_request("an object is expected"))?;
        let mut alias =
            json!(self.cloud.registry.state().role_aliases.get(name).cloned().unwrap_or_default());
        for (field, value) in given {
            alias[field] = value;
        }
        let alias: RoleAlias = serde_json::from_value(alias).map_err(bad_request)?;
        let kept = json!(alias);
        self.cloud
            .registry
            .change(|state| state.role_aliases.insert(name.to_owned(), alias))
            .map_err(failed)?;
        Ok(kept)
    }

    async fn order<T: Fault>(&self, side: &Faults<T>, port: &Port, faults: T) -> Reply {
        faults.check().map_err(bad_request)?;
        let refuse = faults.refuses_connections();
        let kept = json!(faults);
        side.set(faults);
        port.set_refusing(refuse).await;
        Ok(kept)
    }

    async fn order_at_provider(&self, faults: ProviderFaults) -> Reply {
        let (side, port) = (&self.cloud.provider_faults, &self.provider_port);
        self.order(side, port, faults).await
    }

    async fn order_at_s3(&self, faults: S3Faults) -> Reply {
        self.order(&self.cloud.s3_faults, &self.s3_port, faults).await
    }

    /// Everything but the secrets.
    fn state(&self) -> Value {
        let state = self.cloud.registry.state();
        let issued: Vec<Value> = self
            .cloud
            .registry
            .all_issued()
            .into_iter()
            .map(|issued| {
                json!({
                    "access_key_id": issued.access_key_id,
                    "expiration": issued.expiration,
                    "thing": issued.thing,
                    "certificate_id": issued.certificate_id,
                    "role_alias": issued.role_alias,
                })
            })
            .collect();
        json!({
            "certificates": state.certificates,
            "role_aliases": state.role_aliases,
            "issued": issued,
            "faults": { "provider": self.cloud.provider_faults.get(), "s3": self.cloud.s3_faults.get() },
        })
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(bad_request)
}

fn bad_request(error: impl ToString) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, error.to_string())
}

fn not_found() -> Refusal {
    Refusal(StatusCode::NOT_FOUND, "no such thing here; see README.md".to_owned())
}

#[allow(clippy::needless_pass_by_value)]
fn failed(error: Failure) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
