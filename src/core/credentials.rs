//! The credentials that the provider issues, and the reading of its answer.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::{
    by_name::{ByName, TextField},
    secret::Secret,
};

/// The largest answer that is read, in bytes; today's is about 1.1 KB and grows with session tags.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Temporary AWS credentials as the AWS IoT credential provider issues them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Secret,
    /// The end of their life by the provider's clock, which need not be this device's.
    pub expiration: DateTime<Utc>,
}

impl Credentials {
    /// Reads the body of a 200 answer, field by field.
    ///
    /// # Errors
    /// Names the field and what is wrong with it, never its value.
    ///
    /// Source: AWS IoT Core developer guide, "Authorizing direct calls to AWS services using AWS
    /// IoT Core credential provider".
    pub fn from_answer(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct ProviderAnswer {
            credentials: ByName<Fields>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        #[derive(Default)]
        struct Fields {
            access_key_id: TextField,
            secret_access_key: TextField,
            session_token: TextField,
            expiration: TextField,
        }

        if body.len() > MAX_ANSWER_BYTES {
            return Err(format!("more than {MAX_ANSWER_BYTES} bytes"));
        }
        if body.trim_ascii().is_empty() {
            return Err("an empty body".to_owned());
        }
        let answer: ByName<ProviderAnswer> = serde_json::from_slice(body).map_err(in_words)?;
        let fields = answer.0.credentials.0;
        let access_key_id = fields.access_key_id.text("accessKeyId")?.expose().to_owned();
        let secret_access_key = fields.secret_access_key.text("secretAccessKey")?;
        let session_token = fields.session_token.text("sessionToken")?;
        let expiration = fields.expiration.text("expiration")?;
        check("accessKeyId", &access_key_id)?;
        check("secretAccessKey", secret_access_key.expose())?;
        check("sessionToken", session_token.expose())?;
        let expiration = DateTime::parse_from_rfc3339(expiration.expose())
            .map_err(|_| "expiration is not a time such as 2018-01-18T09:18:06Z")?
            .with_timezone(&Utc);
        Ok(Self { access_key_id, secret_access_key, session_token, expiration })
    }
}

/// serde_json quotes what it found, which may be a secret: only the place is handed on, and of a
/// field that comes twice its name, which is one of ours.
fn in_words(e: serde_json::Error) -> String {
    let said = e.to_string();
    let what = match e.classify() {
        serde_json::error::Category::Data if said.starts_with("duplicate field `") => {
            let name = said.split('`').nth(1).unwrap_or_default();
            format!("JSON in which {name} comes twice")
        }
        serde_json::error::Category::Data => {
            "JSON, but not of the form {\"credentials\":{…}}".to_owned()
        }
        _ => "not JSON".to_owned(),
    };
    format!("{what} (line {}, column {})", e.line(), e.column())
}

/// Whether a character may stand in a value of the environment file.
///
/// All that AWS issues is made of these, and none of them means anything to systemd or to a shell:
/// so there is no escaping code, and nothing to get wrong in it.
pub fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/+=._-".contains(c)
}

fn check(field: &str, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("{field} is empty"));
    }
    match value.chars().position(|c| !is_plain(c)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{field} has a character outside A-Z a-z 0-9 / + = . _ - at position {}",
            at + 1
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"credentials":{"accessKeyId":"ASIAEXAMPLE","secretAccessKey":"wJalr/XUtn+FEMI=",
        "sessionToken":"AgoGb3JpZ2lu","expiration":"2018-01-18T09:18:06Z"}}"#;

    #[test]
    fn reads_the_documented_answer() {
        let credentials = Credentials::from_answer(GOOD.as_bytes()).unwrap();
        assert_eq!(credentials.access_key_id, "ASIAEXAMPLE");
        assert_eq!(credentials.secret_access_key.expose(), "wJalr/XUtn+FEMI=");
        assert_eq!(credentials.session_token.expose(), "AgoGb3JpZ2lu");
        assert_eq!(credentials.expiration.to_rfc3339(), "2018-01-18T09:18:06+00:00");
    }

    #[test]
    fn refuses_every_field_that_is_missing_empty_or_outside_the_alphabet() {
        for (field, value) in [
            ("accessKeyId", "ASIAEXAMPLE"),
            ("secretAccessKey", "wJalr/XUtn+FEMI="),
            ("sessionToken", "AgoGb3JpZ2lu"),
            ("expiration", "2018-01-18T09:18:06Z"),
        ] {
            let renamed = GOOD.replace(field, "somethingElse");
            let error = Credentials::from_answer(renamed.as_bytes()).unwrap_err();
            assert_eq!(error, format!("{field} is missing"));

            for bad in ["", "a b", "a\\nb", "$(id)", "a\\\"b", "a'b", "a\\\\b", "a%b", "é"] {
                let broken = GOOD.replace(value, bad);
                let error = Credentials::from_answer(broken.as_bytes()).unwrap_err();
                assert!(error.starts_with(field), "{field} {bad:?}: {error}");
            }
        }
    }

    #[test]
    fn an_error_never_quotes_the_answer() {
        let body = r#"{"credentials":"wJalrSECRET"}"#;
        let error = Credentials::from_answer(body.as_bytes()).unwrap_err();
        assert!(!error.contains("SECRET"), "{error}");
    }

    #[test]
    fn a_list_is_no_object_and_a_field_is_text_and_comes_once() {
        let refused = |body: &str| Credentials::from_answer(body.as_bytes()).unwrap_err();
        let form = "JSON, but not of the form {\"credentials\":{…}}";
        let list = r#"["ASIAEXAMPLE","wJalr","AgoGb3","2018-01-18T09:18:06Z"]"#;
        for body in [format!("[{list}]"), format!(r#"{{"credentials":{list}}}"#), "[]".to_owned()] {
            assert!(refused(&body).starts_with(form), "{body}: {}", refused(&body));
        }
        for (value, what) in
            [("7", "a number"), ("null", "null"), ("[1]", "a list"), (r#"{"a":1}"#, "an object")]
        {
            let body = GOOD.replace(r#""AgoGb3JpZ2lu""#, value);
            assert_eq!(refused(&body), format!("sessionToken is {what} and not text"));
        }
        let twice = GOOD.replace(r#""sessionToken""#, r#""accessKeyId":"SECRET","sessionToken""#);
        let said = refused(&twice);
        assert!(said.starts_with("JSON in which accessKeyId comes twice (line "), "{said}");
        assert_eq!(refused(" \n"), "an empty body");
    }

    #[test]
    fn refuses_what_is_not_json_and_what_is_too_large() {
        assert_eq!(Credentials::from_answer(b"<html>").unwrap_err(), "not JSON (line 1, column 1)");
        let large = vec![b' '; MAX_ANSWER_BYTES + 1];
        assert_eq!(Credentials::from_answer(&large).unwrap_err(), "more than 65536 bytes");
    }
}
