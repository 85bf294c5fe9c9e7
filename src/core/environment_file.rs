//! The text of Litestream's environment file.

use std::path::Path;

use zeroize::Zeroizing;

use crate::core::{
    credentials::{Credentials, is_plain},
    secret::Secret,
};

/// For whoever reads the file: three clients take a proxy of the environment for the way to the
/// endpoint.
const NO_PROXY: &str =
    "# A program that has HTTP_PROXY as well needs NO_PROXY=127.0.0.1 in its environment.\n";

/// The longest path of Linux.
const MAX_PATH: usize = 4096;

/// What such a file gives to a program.
pub enum Contents<'a> {
    Credentials(&'a Credentials),
    /// Where to ask for them. Every SDK takes credentials in the environment first: so there are
    /// none.
    Endpoint {
        uri: String,
        token: &'a Secret,
        /// A file that holds the token and nothing else, for the clients that read it only from
        /// one.
        token_file: Option<&'a Path>,
    },
}

/// What systemd's `EnvironmentFile=` reads: the credentials, or where to ask for them, under the
/// names that every AWS SDK knows.
///
/// `AWS_EC2_METADATA_DISABLED` keeps the SDK from asking a metadata service that no device has, and
/// `EDGEROTATE_THING_NAME` lets one image's `litestream.yml` give each device an S3 path of its
/// own.
///
/// # Errors
/// Names the key whose value has a character that would need escaping: there is no escaping code,
/// so such a value is refused. The value itself is not shown.
pub fn text(
    contents: &Contents<'_>,
    region: &str,
    thing_name: Option<&str>,
) -> Result<Zeroizing<String>, String> {
    // A URI has colons, AWS allows one in a thing name, and it means nothing to systemd.
    let with_colon = |c| is_plain(c) || c == ':';
    // Allocated once: a buffer that grows leaves copies of the secrets behind.
    let mut text;
    match contents {
        Contents::Credentials(credentials) => {
            let session_token = credentials.session_token.expose();
            text = Zeroizing::new(String::with_capacity(1024 + session_token.len()));
            add(&mut text, "AWS_ACCESS_KEY_ID", &credentials.access_key_id, is_plain)?;
            let secret_access_key = credentials.secret_access_key.expose();
            add(&mut text, "AWS_SECRET_ACCESS_KEY", secret_access_key, is_plain)?;
            add(&mut text, "AWS_SESSION_TOKEN", session_token, is_plain)?;
        }
        Contents::Endpoint { uri, token, token_file } => {
            text = Zeroizing::new(String::with_capacity(1024 + MAX_PATH));
            text.push_str(NO_PROXY);
            add(&mut text, "AWS_CONTAINER_CREDENTIALS_FULL_URI", uri, with_colon)?;
            add(&mut text, "AWS_CONTAINER_AUTHORIZATION_TOKEN", token.expose(), is_plain)?;
            if let Some(file) = token_file {
                let file = file.to_str().unwrap_or_default();
                add(&mut text, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file, is_plain)?;
            }
        }
    }
    // The JavaScript SDK reads the first alone, older ones the second.
    add(&mut text, "AWS_REGION", region, is_plain)?;
    add(&mut text, "AWS_DEFAULT_REGION", region, is_plain)?;
    add(&mut text, "AWS_EC2_METADATA_DISABLED", "true", is_plain)?;
    if let Some(thing_name) = thing_name {
        add(&mut text, "EDGEROTATE_THING_NAME", thing_name, with_colon)?;
    }
    Ok(text)
}

/// The variables in such a text. What [`text`] writes needs no unquoting, so there is none.
pub fn variables(text: &str) -> Vec<(String, Zeroizing<String>)> {
    text.lines()
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), Zeroizing::new(value.to_owned())))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

fn add(
    text: &mut String,
    key: &str,
    value: &str,
    allowed: impl Fn(char) -> bool,
) -> Result<(), String> {
    if value.is_empty() || !value.chars().all(allowed) {
        return Err(format!("{key} is empty or has a character outside A-Z a-z 0-9 / + = . _ -"));
    }
    for part in [key, "=", value, "\n"] {
        text.push_str(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn of(secret: &str, region: &str, thing_name: Option<&str>) -> Result<String, String> {
        let credentials = Credentials {
            access_key_id: "ASIAEXAMPLE".to_owned(),
            secret_access_key: Secret::new(secret.to_owned()),
            session_token: Secret::new("AgoGb3JpZ2lu==".to_owned()),
            expiration: DateTime::UNIX_EPOCH,
        };
        text(&Contents::Credentials(&credentials), region, thing_name).map(|text| (*text).clone())
    }

    #[test]
    fn holds_what_an_sdk_reads() {
        let text = of("wJalr/X+=", "eu-central-1", Some("line-7:press")).unwrap();
        assert_eq!(
            text,
            "AWS_ACCESS_KEY_ID=ASIAEXAMPLE\n\
             AWS_SECRET_ACCESS_KEY=wJalr/X+=\n\
             AWS_SESSION_TOKEN=AgoGb3JpZ2lu==\n\
             AWS_REGION=eu-central-1\n\
             AWS_DEFAULT_REGION=eu-central-1\n\
             AWS_EC2_METADATA_DISABLED=true\n\
             EDGEROTATE_THING_NAME=line-7:press\n"
        );
    }

    #[test]
    fn or_says_where_to_ask() {
        let token = Secret::new("00112233".to_owned());
        let contents = Contents::Endpoint {
            uri: "http://127.0.0.1:9170/credentials".to_owned(),
            token: &token,
            token_file: Some(Path::new("/run/edgerotate-clients/endpoint.token")),
        };
        let text = text(&contents, "eu-central-1", None).unwrap();
        assert_eq!(
            text.strip_prefix(NO_PROXY).unwrap(),
            "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:9170/credentials\n\
                 AWS_CONTAINER_AUTHORIZATION_TOKEN=00112233\n\
                 AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/run/edgerotate-clients/endpoint.token\n\
                 AWS_REGION=eu-central-1\n\
                 AWS_DEFAULT_REGION=eu-central-1\n\
                 AWS_EC2_METADATA_DISABLED=true\n"
        );
    }

    #[test]
    fn gives_back_what_it_was_made_of() {
        let text = of("wJalr/X+=", "eu-central-1", Some("line-7:press")).unwrap();
        let variables = variables(&text);
        assert_eq!(variables.len(), 7);
        let pairs: Vec<_> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs[1], ("AWS_SECRET_ACCESS_KEY", "wJalr/X+="));
        assert_eq!(pairs[6], ("EDGEROTATE_THING_NAME", "line-7:press"));
    }

    #[test]
    fn refuses_what_would_need_escaping() {
        for bad in ["", "a b", "a\nAWS_PROFILE=x", "a\"", "$HOME", "a\\", "a#b", "a;b"] {
            let error = of(bad, "eu-central-1", None).unwrap_err();
            assert!(error.starts_with("AWS_SECRET_ACCESS_KEY is"), "{bad:?}: {error}");
            assert!(of("good", bad, None).is_err(), "{bad:?}");
            assert!(of("good", "eu-central-1", Some(bad)).is_err(), "{bad:?}");
        }
    }
}
