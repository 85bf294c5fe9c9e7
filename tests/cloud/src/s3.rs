//! S3 over HTTP: takes each request in, has s3s check and serve it, and logs what came of it.

use std::{io, path::Path, sync::Arc, time::Duration};

use chrono::Utc;
use http_body_util::BodyExt;
use hyper::{Request, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::{
    Body, HttpResponse, S3ErrorCode,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{net::TcpStream, sync::RwLock};

use crate::{
    Cloud, Failure,
    faults::S3Faults,
    request_log::Side,
    s3_access::{Access, Arrived, Keys},
    s3_caller::{self, Caller},
};

pub struct S3 {
    cloud: Arc<Cloud>,
    service: S3Service,
    /// The file store lists by walking the directories, and a file that is deleted meanwhile fails the listing.
    listing: RwLock<()>,
}

impl S3 {
    pub fn new(cloud: &Arc<Cloud>, directory: &Path) -> Result<Arc<Self>, Failure> {
        std::fs::create_dir_all(directory.join(&cloud.bucket))?;
        let store =
            FileSystem::new(directory).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(Keys(Arc::downgrade(cloud)));
        builder.set_access(Access(Arc::downgrade(cloud)));
        Ok(Arc::new(Self {
            cloud: Arc::clone(cloud),
            service: builder.build(),
            listing: RwLock::new(()),
        }))
    }

    /// Serves one connection to its end.
    pub async fn serve(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let s3 = Arc::clone(&self);
            async move { s3.answer(request).await }
        });
        // What ends a connection early is the client's doing or ours on purpose: the log has it.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> io::Result<HttpResponse> {
        let arrived = Arrived(Utc::now());
        let (mut parts, body) = request.into_parts();
        let caller = Caller::of(&parts.uri, &parts.headers);
        let path = s3_caller::percent_decode(parts.uri.path()).unwrap_or_default();
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
        let operation = s3_caller::operation(
            parts.method.as_str(),
            key.is_empty(),
            parts.uri.query().unwrap_or_default(),
        );
        let mut entry = self.cloud.log.begin(Side::S3);
        entry.line.operation = Some(operation.to_owned());
        entry.line.key = Some(key.to_owned()).filter(|key| !key.is_empty());
        entry.line.thing = caller
            .access_key_id
            .as_deref()
            .and_then(|access_key_id| self.cloud.registry.issued(access_key_id))
            .and_then(|issued| issued.thing);
        entry.line.access_key_id.clone_from(&caller.access_key_id);
        entry.line.signed = caller.signed.map(|signed| signed.timestamp());

        // Taken in whole before it is judged: a client that is still sending when it is refused may never see why.
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        entry.line.bytes = body.len() as u64;

        let faults = self.cloud.s3_faults.on_request();
        if let Some(delay) = faults.delay_s {
            tokio::time::sleep(Duration::from_secs_f64(delay.clamp(0.0, 86_400.0))).await;
        }
        if let Some((response, code)) = ordered(&faults).map_err(io::Error::other)? {
            entry.finish(Some(response.status().as_u16()), Some(code));
            return Ok(response);
        }

        parts.extensions.insert(caller);
        parts.extensions.insert(arrived);
        let request = Request::from_parts(parts, Body::from(body));
        let response = if operation.starts_with("ListObjects") {
            let _no_deletes = self.listing.write().await;
            self.service.call(request).await
        } else {
            let _no_listing = self.listing.read().await;
            self.service.call(request).await
        };
        let mut response = response.map_err(|error| io::Error::other(format!("{error:?}")))?;
        if operation == "GetBucketLocation" && response.status().is_success() {
            // The file store has no region, and a client that asks signs with what it is told.
            *response.body_mut() = Body::from(location(&self.cloud.region));
        }
        let error = error_code(&response);
        entry.finish(Some(response.status().as_u16()), error);
        Ok(response)
    }
}

/// The error that was ordered, as S3 words it.
fn ordered(faults: &S3Faults) -> Result<Option<(HttpResponse, String)>, Failure> {
    let code = match (&faults.code, faults.status) {
        (Some(code), _) => code.clone(),
        (None, Some(503)) => "SlowDown".to_owned(),
        (None, Some(403)) => "AccessDenied".to_owned(),
        (None, Some(_)) => "InternalError".to_owned(),
        (None, None) => return Ok(None),
    };
    let known = S3ErrorCode::from_bytes(code.as_bytes()).and_then(|code| code.status_code());
    let status = match faults.status {
        Some(status) => StatusCode::from_u16(status)?,
        None => known.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as ordered</Message></Error>"
    );
    let response =
        hyper::Response::builder().status(status).header("Content-Type", "application/xml");
    Ok(Some((response.body(Body::from(xml))?, code)))
}

fn location(region: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LocationConstraint \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{region}</LocationConstraint>"
    )
}

/// The `<Code>` of an error's XML.
fn error_code(response: &HttpResponse) -> Option<String> {
    if response.status().is_success() {
        return None;
    }
    let text = response.body().bytes().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    Some(code.map_or_else(|| response.status().to_string(), |(code, _)| code.to_owned()))
}
