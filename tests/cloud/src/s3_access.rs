//! What S3 checks of a caller: the key is known, the token is the one issued with it, it has not expired, and the
//! request stays where the role's policy allows.

use std::sync::{Arc, Weak};

use chrono::{DateTime, Utc};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    dto,
};

use crate::{
    Cloud,
    s3_caller::{Caller, percent_decode},
};

/// Knows every key that was issued, and the permanent one.
pub struct Keys(pub Weak<Cloud>);

pub struct Access(pub Weak<Cloud>);

/// When a request came in: what has not expired then is good to its end, as at AWS. Put into its extensions.
#[derive(Clone, Copy)]
pub struct Arrived(pub DateTime<Utc>);

/// Where a caller's objects must lie. Put into a request's extensions once the caller is known.
#[derive(Clone)]
struct Within(Option<String>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let cloud = cloud(&self.0)?;
        let permanent = cloud.registry.state().permanent;
        let secret = match cloud.registry.issued(access_key) {
            Some(issued) => issued.secret_access_key,
            None if access_key == permanent.access_key_id => permanent.secret_access_key,
            None => return Err(unknown_key()),
        };
        Ok(secret.into())
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    /// After the signature has proved good, before the operation's input is read.
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let cloud = cloud(&self.0)?;
        let Some(access_key) =
            context.credentials().map(|credentials| credentials.access_key.clone())
        else {
            return Err(denied("Access Denied"));
        };
        let caller = context.extensions_mut().get::<Caller>().cloned().unwrap_or_default();
        let Arrived(arrived) =
            context.extensions_mut().get().copied().unwrap_or(Arrived(Utc::now()));
        let operation = context.s3_op().name();
        if operation != "GetBucketLocation" && caller.region.as_deref() != Some(&cloud.region) {
            return Err(wrong_region(&cloud.region));
        }
        let within = check_session(&cloud, &access_key, &caller, arrived)?;

        let path = context.s3_path();
        if path.get_bucket_name() != Some(&cloud.bucket)
            || matches!(operation, "CreateBucket" | "DeleteBucket")
        {
            return Err(denied("Access Denied: outside the bucket that the role may use"));
        }
        if let Some(key) = path.get_object_key() {
            check_key(key, &within)?;
        } else if operation.starts_with("ListObjects") {
            let prefix = query_field(context.uri().query(), "prefix").unwrap_or_default();
            within.check(&prefix)?;
        } else if within.0.is_some()
            && !matches!(operation, "DeleteObjects" | "HeadBucket" | "GetBucketLocation")
        {
            return Err(denied("Access Denied"));
        }
        if let Some(source) =
            context.headers().get("x-amz-copy-source").and_then(|value| value.to_str().ok())
        {
            let source = percent_decode(source.trim_start_matches('/')).unwrap_or_default();
            match source.split_once('/') {
                Some((bucket, key)) if bucket == cloud.bucket => check_key(key, &within)?,
                _ => return Err(denied("Access Denied: the source is outside the bucket")),
            }
        }
        context.extensions_mut().insert(within);
        Ok(())
    }

    /// The keys to delete stand in the body.
    async fn delete_objects(
        &self,
        request: &mut S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<()> {
        let within = request.extensions.get::<Within>().cloned().unwrap_or(Within(None));
        request.input.delete.objects.iter().try_for_each(|object| check_key(&object.key, &within))
    }

    // The file store ties an upload to the access key that began it. At AWS it belongs to the bucket, and one that
    // spans a rotation goes on: without the name of a caller the file store sees it that way too.
    async fn create_multipart_upload(
        &self,
        request: &mut S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<()> {
        request.credentials = None;
        Ok(())
    }

    async fn upload_part(&self, request: &mut S3Request<dto::UploadPartInput>) -> S3Result<()> {
        request.credentials = None;
        Ok(())
    }

    async fn complete_multipart_upload(
        &self,
        request: &mut S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<()> {
        request.credentials = None;
        Ok(())
    }

    async fn abort_multipart_upload(
        &self,
        request: &mut S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<()> {
        request.credentials = None;
        Ok(())
    }

    async fn list_parts(&self, request: &mut S3Request<dto::ListPartsInput>) -> S3Result<()> {
        request.credentials = None;
        Ok(())
    }
}

impl Within {
    fn check(&self, key: &str) -> S3Result<()> {
        match &self.0 {
            Some(prefix) if !key.starts_with(prefix) => {
                Err(denied("Access Denied: outside the prefix of the caller's thing"))
            }
            _ => Ok(()),
        }
    }
}

/// Token and expiry, and where the role lets this caller go.
fn check_session(
    cloud: &Cloud,
    access_key: &str,
    caller: &Caller,
    arrived: DateTime<Utc>,
) -> S3Result<Within> {
    let Some(issued) = cloud.registry.issued(access_key) else {
        return match caller.session_token {
            // A permanent key goes without.
            None => Ok(Within(None)),
            Some(_) => Err(invalid_token()),
        };
    };
    match caller.session_token.as_deref() {
        // AWS finds a temporary key by its token: without one it is a key nobody knows.
        None => return Err(unknown_key()),
        Some(token) if token != issued.session_token => return Err(invalid_token()),
        Some(_) if !caller.token_is_signed => {
            return Err(denied("There were headers present in the request which were not signed"));
        }
        Some(_) => {}
    }
    if issued.expiration <= arrived {
        return Err(S3Error::with_message(
            S3ErrorCode::ExpiredToken,
            "The provided token has expired.",
        ));
    }
    let per_thing = cloud
        .registry
        .state()
        .role_aliases
        .get(&issued.role_alias)
        .is_some_and(|alias| alias.prefix_per_thing);
    if !per_thing {
        return Ok(Within(None));
    }
    // A policy variable without a value allows nothing.
    let thing = issued
        .thing
        .ok_or_else(|| denied("Access Denied: no thing name was given at the provider"))?;
    Ok(Within(Some(format!("{thing}/"))))
}

/// The objects are files: a key must not step out of its directory.
fn check_key(key: &str, within: &Within) -> S3Result<()> {
    if key.split('/').any(|part| part == "." || part == "..") {
        return Err(S3Error::with_message(
            S3ErrorCode::InvalidURI,
            "keys with . or .. are not stored here",
        ));
    }
    within.check(key)
}

fn query_field(query: Option<&str>, name: &str) -> Option<String> {
    let pair = query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    percent_decode(&pair.replace('+', " "))
}

fn cloud(cloud: &Weak<Cloud>) -> S3Result<Arc<Cloud>> {
    cloud.upgrade().ok_or_else(|| S3ErrorCode::InternalError.into())
}

fn unknown_key() -> S3Error {
    let message = "The AWS Access Key Id you provided does not exist in our records.";
    S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, message)
}

fn invalid_token() -> S3Error {
    S3Error::with_message(
        S3ErrorCode::InvalidToken,
        "The provided token is malformed or otherwise invalid.",
    )
}

fn wrong_region(expected: &str) -> S3Error {
    let message = format!(
        "The authorization header is malformed; the region is wrong; expecting '{expected}'"
    );
    S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, message)
}

fn denied(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, message)
}
