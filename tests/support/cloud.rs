//! tests/cloud as a test sees it: AWS for one device, with faults to order and a log of every
//! request.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Process, SOON, http, process::tied, root, wait_for};

/// A running cloud.
pub struct Cloud {
    process: Process,
    directory: PathBuf,
    lifetime: Duration,
    facts: Value,
}

/// One line of the request log.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was answered.
    pub time: DateTime<Utc>,
    /// When it came in.
    pub arrived: DateTime<Utc>,
    /// When it was signed, by what it says itself: in whole seconds, rounded down. At S3 alone.
    pub signed: Option<DateTime<Utc>>,
    /// `provider`, `s3` or `tls`.
    pub side: String,
    pub operation: String,
    pub status: u64,
    pub error: Option<String>,
    pub access_key_id: Option<String>,
    pub key: Option<String>,
    pub bytes: u64,
}

/// Credentials that the cloud issued.
#[derive(Clone, Debug)]
pub struct Issued {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    pub expiration: DateTime<Utc>,
}

/// The file a certificate was written to, and the id that control knows it by.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub path: PathBuf,
    pub id: String,
}

impl Cloud {
    /// Starts a cloud below `directory` whose credentials live for `lifetime`.
    pub fn start(directory: &Path, lifetime: Duration) -> Self {
        let directory = directory.join("cloud");
        fs::create_dir_all(&directory).expect("the cloud's directory");
        let (process, facts) = launch(&directory, lifetime);
        Self { process, directory, lifetime, facts }
    }

    /// Goes away, as it does for a device that loses its network.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Comes back at the same addresses with all it had stored.
    pub fn restart(&mut self) {
        self.process.kill();
        let endpoint = self.endpoint();
        (self.process, self.facts) = launch(&self.directory, self.lifetime);
        assert_eq!(
            self.endpoint(),
            endpoint,
            "a cloud that comes back is to be found where it was"
        );
    }

    /// `host:port` of the credential provider.
    pub fn endpoint(&self) -> String {
        self.fact("endpoint")
    }

    pub fn role_alias(&self) -> String {
        self.fact("role_alias")
    }

    pub fn region(&self) -> String {
        self.fact("region")
    }

    pub fn bucket(&self) -> String {
        self.fact("bucket")
    }

    pub fn s3_endpoint(&self) -> String {
        self.fact("s3_endpoint")
    }

    pub fn ca_file(&self) -> PathBuf {
        self.fact("ca_file").into()
    }

    pub fn wrong_ca_file(&self) -> PathBuf {
        self.fact("wrong_ca_file").into()
    }

    /// A key that does not expire, for restoring after the fact: id and secret.
    pub fn permanent_key(&self) -> (String, String) {
        let part = |name: &str| {
            self.facts["permanent"][name].as_str().expect("a permanent key").to_owned()
        };
        (part("access_key_id"), part("secret_access_key"))
    }

    /// Signs a certificate request for a thing and writes the certificate to `path`.
    pub fn issue(&self, request: &str, thing: &str, path: &Path) -> Certificate {
        let answer =
            self.control("POST", "/certificates", Some(&json!({"csr": request, "thing": thing})));
        let part = |name: &str| {
            answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
        };
        fs::write(path, part("certificate_pem")).expect("a certificate file");
        Certificate { path: path.to_owned(), id: part("certificate_id") }
    }

    /// Orders a fault of the provider until [`Cloud::heal`].
    pub fn provider_fault(&self, fault: &Value) {
        self.control("PUT", "/faults/provider", Some(fault));
    }

    /// Orders a fault of S3 until [`Cloud::heal`].
    pub fn s3_fault(&self, fault: &Value) {
        self.control("PUT", "/faults/s3", Some(fault));
    }

    pub fn heal(&self) {
        self.control("DELETE", "/faults/provider", None);
        self.control("DELETE", "/faults/s3", None);
    }

    /// What heals the provider later, without the cloud at hand.
    pub fn healer(&self) -> impl FnOnce() + 'static {
        let path = format!("{}/faults/provider", self.fact("control").trim_end_matches('/'));
        move || drop(http::must("DELETE", &path, None))
    }

    /// The lifetime of the credentials issued from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        let path = format!("/role-aliases/{}", self.role_alias());
        self.control("PUT", &path, Some(&json!({"lifetime_s": lifetime.as_secs()})));
    }

    pub fn control(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        http::must(method, &format!("{}{path}", self.fact("control").trim_end_matches('/')), body)
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        let text = fs::read_to_string(self.directory.join("requests.jsonl")).unwrap_or_default();
        // The last line may still be on its way.
        text.lines().filter_map(|line| Request::parse(&serde_json::from_str(line).ok()?)).collect()
    }

    /// Credentials issued so far, in order; the client may not have got them.
    pub fn issued(&self) -> Vec<Issued> {
        let text = fs::read_to_string(self.directory.join("credentials.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| Issued::parse(&serde_json::from_str(line).ok()?)).collect()
    }

    /// Requests that the provider answered with 200.
    pub fn fetches(&self) -> usize {
        self.requests().iter().filter(|r| r.side == "provider" && r.status == 200).count()
    }

    /// How often S3 answered with this error code, such as `ExpiredToken`.
    pub fn count_error(&self, code: &str) -> usize {
        self.requests()
            .iter()
            .filter(|r| r.side == "s3" && r.error.as_deref() == Some(code))
            .count()
    }

    /// What was uploaded successfully, in order.
    pub fn uploads(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_upload).collect()
    }

    /// The longest time between one successful upload and the next.
    pub fn longest_upload_gap(&self) -> Duration {
        let gap = |pair: &[Request]| (pair[1].time - pair[0].time).to_std().unwrap_or_default();
        self.uploads().windows(2).map(gap).max().unwrap_or_default()
    }

    /// Where its state is, with all that it ever issued.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn output(&self) -> String {
        self.process.output()
    }

    fn fact(&self, name: &str) -> String {
        self.facts[name].as_str().unwrap_or_else(|| panic!("no {name} in cloud.json")).to_owned()
    }
}

impl Issued {
    fn parse(line: &Value) -> Option<Self> {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        Some(Self {
            access_key_id: text("access_key_id")?,
            secret_access_key: text("secret_access_key")?,
            session_token: text("session_token")?,
            expiration: DateTime::parse_from_rfc3339(&text("expiration")?)
                .ok()?
                .with_timezone(&Utc),
        })
    }
}

impl Request {
    fn parse(line: &Value) -> Option<Self> {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let time = |name: &str| {
            DateTime::from_timestamp_millis((line[name].as_f64()? * 1000.0).round() as i64)
        };
        Some(Self {
            time: time("time")?,
            arrived: time("arrived")?,
            signed: time("signed"),
            side: text("side")?,
            operation: text("operation").unwrap_or_default(),
            status: line["status"].as_u64().unwrap_or_default(),
            error: text("error"),
            access_key_id: text("access_key_id"),
            key: text("key"),
            bytes: line["bytes"].as_u64().unwrap_or_default(),
        })
    }

    pub fn is_upload(&self) -> bool {
        self.side == "s3"
            && self.status == 200
            && matches!(self.operation.as_str(), "PutObject" | "UploadPart")
    }

    /// Whether it was for an object in this folder of the bucket.
    pub fn is_below(&self, folder: &str) -> bool {
        self.key.as_deref().is_some_and(|key| key.starts_with(&format!("{folder}/")))
    }
}

fn launch(directory: &Path, lifetime: Duration) -> (Process, Value) {
    let program = env::var_os("EDGEROTATE_CLOUD")
        .map_or_else(|| root().join("tests/cloud/target/debug/edgerotate-cloud"), PathBuf::from);
    assert!(program.exists(), "{} is missing: run tests/prepare", program.display());
    let facts = directory.join("cloud.json");
    let mut process = Process::start(
        "the cloud",
        tied(program).arg("--directory").arg(directory).args([
            "--lifetime",
            &lifetime.as_secs().to_string(),
            "--tie-to-parent",
        ]),
        &directory.join("cloud.log"),
    );
    let facts = wait_for("the cloud's facts", SOON, || {
        assert!(process.has_exited().is_none(), "the cloud ended:\n{}", process.output());
        let facts: Value = serde_json::from_str(&fs::read_to_string(&facts).ok()?).ok()?;
        // A cloud before this one left its facts there.
        (facts["pid"] == process.pid()).then_some(facts)
    });
    (process, facts)
}
