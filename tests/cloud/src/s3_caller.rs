//! Who signed a request to S3, as far as its headers say. The signature itself is checked by s3s.

use chrono::{DateTime, NaiveDateTime, Utc};
use hyper::{HeaderMap, Uri, header::AUTHORIZATION};

/// What a request claims about its caller, from the `Authorization` header or a presigned URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub access_key_id: Option<String>,
    pub region: Option<String>,
    pub session_token: Option<String>,
    /// A token outside the signature proves nothing.
    pub token_is_signed: bool,
    /// `X-Amz-Date`, which is part of what is signed; in whole seconds.
    pub signed: Option<DateTime<Utc>>,
}

impl Caller {
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        match headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
            Some(authorization) => Self::from_header(authorization, headers),
            None => Self::from_query(uri.query().unwrap_or_default()),
        }
    }

    fn from_header(authorization: &str, headers: &HeaderMap) -> Self {
        let fields = authorization.split_once(' ').map_or("", |(_, fields)| fields);
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let (access_key_id, region) = scope(field("Credential").unwrap_or_default());
        let token = headers.get("x-amz-security-token");
        Self {
            access_key_id,
            region,
            session_token: token
                .map(|token| String::from_utf8_lossy(token.as_bytes()).into_owned()),
            token_is_signed: field("SignedHeaders")
                .is_some_and(|names| names.split(';').any(|name| name == "x-amz-security-token")),
            signed: headers.get("x-amz-date").and_then(|text| time(text.to_str().ok()?)),
        }
    }

    fn from_query(query: &str) -> Self {
        let field = |name: &str| {
            let pair =
                query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
            percent_decode(pair)
        };
        let (access_key_id, region) = scope(&field("X-Amz-Credential").unwrap_or_default());
        Self {
            access_key_id,
            region,
            session_token: field("X-Amz-Security-Token"),
            token_is_signed: true,
            signed: field("X-Amz-Date").and_then(|text| time(&text)),
        }
    }
}

/// `20260102T030405Z`
fn time(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok().map(|time| time.and_utc())
}

/// `KEY/20260102/REGION/s3/aws4_request`
fn scope(credential: &str) -> (Option<String>, Option<String>) {
    let mut parts = credential.split('/');
    let mut next = |skip| parts.nth(skip).filter(|part| !part.is_empty()).map(str::to_owned);
    (next(0), next(1))
}

/// A query or path part, decoded.
pub fn percent_decode(text: &str) -> Option<String> {
    Some(percent_encoding::percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// The operation that a request asks for, for the log alone: s3s tells it only once the signature has proved good.
pub fn operation(method: &str, bucket_alone: bool, query: &str) -> &'static str {
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match (method, bucket_alone) {
        ("GET", true) if has("location") => "GetBucketLocation",
        ("GET", true) if has("list-type") => "ListObjectsV2",
        ("GET", true) if has("uploads") => "ListMultipartUploads",
        ("GET", true) => "ListObjects",
        ("HEAD", true) => "HeadBucket",
        ("PUT", true) => "CreateBucket",
        ("DELETE", true) => "DeleteBucket",
        ("POST", true) if has("delete") => "DeleteObjects",
        ("GET", false) if has("uploadId") => "ListParts",
        ("GET", false) => "GetObject",
        ("HEAD", false) => "HeadObject",
        ("PUT", false) if has("partNumber") => "UploadPart",
        ("PUT", false) => "PutObject",
        ("DELETE", false) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", false) => "DeleteObject",
        ("POST", false) if has("uploads") => "CreateMultipartUpload",
        ("POST", false) if has("uploadId") => "CompleteMultipartUpload",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_signed_header_names_its_caller() {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_static(
                "AWS4-HMAC-SHA256 Credential=ASIAX/20260102/eu-central-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=00",
            ),
        );
        headers.insert("x-amz-security-token", HeaderValue::from_static("token+/="));
        headers.insert("x-amz-date", HeaderValue::from_static("20260102T030405Z"));
        let caller = Caller::of(&Uri::from_static("/replica/key"), &headers);
        assert_eq!(
            caller,
            Caller {
                access_key_id: Some("ASIAX".to_owned()),
                region: Some("eu-central-1".to_owned()),
                session_token: Some("token+/=".to_owned()),
                token_is_signed: true,
                signed: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            }
        );
    }

    #[test]
    fn a_presigned_url_names_its_caller() {
        let uri = Uri::from_static(
            "/replica/key?X-Amz-Credential=ASIAX%2F20260102%2Feu-central-1%2Fs3%2Faws4_request&X-Amz-Security-Token=a%2Bb&X-Amz-Date=20260102T030405Z",
        );
        let caller = Caller::of(&uri, &HeaderMap::new());
        assert_eq!(caller.access_key_id.as_deref(), Some("ASIAX"));
        assert_eq!(caller.region.as_deref(), Some("eu-central-1"));
        assert_eq!(caller.session_token.as_deref(), Some("a+b"));
        assert_eq!(caller.signed, Some("2026-01-02T03:04:05Z".parse().unwrap()));
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!(Caller::of(&Uri::from_static("/"), &HeaderMap::new()).access_key_id, None);
    }

    #[test]
    fn operations_are_told_apart() {
        assert_eq!(operation("GET", true, "list-type=2&prefix=a"), "ListObjectsV2");
        assert_eq!(operation("POST", true, "delete="), "DeleteObjects");
        assert_eq!(operation("PUT", false, "partNumber=1&uploadId=x"), "UploadPart");
        assert_eq!(operation("PUT", false, "x-id=PutObject"), "PutObject");
    }
}
