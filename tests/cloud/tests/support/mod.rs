//! What the acceptance tests share: a cloud in a directory of its own, a device with key and certificate, and the real
//! clients. A tool that is absent fails the test.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Far longer than anything takes; only a failure ever waits for it.
const PATIENCE: Duration = Duration::from_secs(90);

/// The kind of key that devices have.
const P_256: &[&str] = &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// A cloud that ends with its test.
pub struct Cloud {
    pub directory: PathBuf,
    pub description: Value,
    child: Child,
}

/// A directory and a cloud in it.
pub fn cloud(arguments: &[&str]) -> (TempDir, Cloud) {
    let scratch = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(&scratch.path().join("cloud"), arguments);
    (scratch, cloud)
}

impl Cloud {
    pub fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = command(directory, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let description = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the cloud did not start: {line}"));
        Self { directory: directory.to_owned(), description, child }
    }

    pub fn text(&self, field: &str) -> &str {
        self.description[field].as_str().unwrap()
    }

    pub fn stop(mut self) -> ExitStatus {
        self.terminate()
    }

    fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        // It may have ended by itself.
        let _ = kill(pid, Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    /// Status and answer of the control interface.
    pub fn try_control(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let output = curl()
            .args(["--request", method, "--data", &body.to_string(), "--write-out", "%{http_code}"])
            .arg(format!("{}{path}", self.text("control")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let answer = text(&output.stdout);
        let (answer, status) = answer.split_at(answer.len() - 3);
        (status.parse().unwrap(), serde_json::from_str(answer).unwrap())
    }

    pub fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_control(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    pub fn break_provider(&self, faults: Value) {
        self.control("PUT", "/faults/provider", &faults);
    }

    pub fn heal_provider(&self) {
        self.control("DELETE", "/faults/provider", &json!(null));
    }

    pub fn set_role_alias(&self, settings: Value) {
        self.control("PUT", "/role-aliases/edgerotate-role-alias", &settings);
    }

    pub fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.join("requests.jsonl")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub fn permanent(&self) -> Session {
        let field = |name: &str| self.description["permanent"][name].as_str().unwrap().to_owned();
        Session { key: field("access_key_id"), secret: field("secret_access_key"), token: None }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.terminate();
    }
}

pub fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgerotate-cloud"));
    command.arg("--directory").arg(directory).arg("--tie-to-parent").args(arguments);
    command
}

/// A device with a key of its own.
pub struct Device {
    pub key: PathBuf,
    pub certificate: PathBuf,
    pub id: String,
}

impl Device {
    pub fn new(cloud: &Cloud, scratch: &Path, thing: &str) -> Self {
        Self::with(cloud, scratch, thing, json!({}))
    }

    /// With more fields of the request for a certificate.
    pub fn with(cloud: &Cloud, scratch: &Path, thing: &str, more: Value) -> Self {
        Self::make(cloud, scratch, thing, P_256, more)
    }

    /// With a key of another kind: what `openssl genpkey -algorithm` takes.
    pub fn with_key(cloud: &Cloud, scratch: &Path, thing: &str, kind: &[&str]) -> Self {
        Self::make(cloud, scratch, thing, kind, json!({}))
    }

    fn make(cloud: &Cloud, scratch: &Path, thing: &str, kind: &[&str], more: Value) -> Self {
        let path = |extension| scratch.join(thing).with_extension(extension);
        let (key, csr, certificate) = (path("key"), path("csr"), path("pem"));
        let to = ["-out", key.to_str().unwrap()];
        openssl(&[&["genpkey", "-algorithm"], kind, to.as_slice()].concat());
        let subject = format!("/CN={thing}");
        let files = [key.to_str().unwrap(), "-out", csr.to_str().unwrap()];
        openssl(&[&["req", "-new", "-subj", &subject, "-key"], files.as_slice()].concat());
        let mut request = json!({ "csr": fs::read_to_string(csr).unwrap(), "thing": thing });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = cloud.control("POST", "/certificates", &request);
        fs::write(&certificate, answer["certificate_pem"].as_str().unwrap()).unwrap();
        Self { key, certificate, id: answer["certificate_id"].as_str().unwrap().to_owned() }
    }

    /// Asks for credentials the way AWS's documentation does.
    pub fn ask(&self, cloud: &Cloud, thing: Option<&str>) -> Reply {
        self.ask_with(cloud, thing, &[])
    }

    pub fn ask_with(&self, cloud: &Cloud, thing: Option<&str>, more: &[&str]) -> Reply {
        let url = format!(
            "{}/role-aliases/{}/credentials",
            cloud.text("endpoint"),
            cloud.text("role_alias")
        );
        self.get(cloud, thing, &url, more)
    }

    pub fn get(&self, cloud: &Cloud, thing: Option<&str>, url: &str, more: &[&str]) -> Reply {
        let mut curl = curl();
        curl.args(["--include", "--cacert", cloud.text("ca_file")]);
        curl.arg("--cert").arg(&self.certificate).arg("--key").arg(&self.key);
        if let Some(thing) = thing {
            curl.args(["--header", &format!("x-amzn-iot-thingname: {thing}")]);
        }
        Reply::of(&curl.args(more).arg(url).output().unwrap())
    }

    pub fn session(&self, cloud: &Cloud, thing: Option<&str>) -> Session {
        let reply = self.ask(cloud, thing);
        assert_eq!(reply.status, Some(200), "{reply:?}");
        let body = reply.json();
        let field = |name: &str| body["credentials"][name].as_str().unwrap().to_owned();
        Session {
            key: field("accessKeyId"),
            secret: field("secretAccessKey"),
            token: Some(field("sessionToken")),
        }
    }
}

/// What curl made of it.
#[derive(Debug)]
pub struct Reply {
    pub exit: i32,
    pub status: Option<u16>,
    pub head: String,
    pub body: Vec<u8>,
    pub complaint: String,
}

impl Reply {
    fn of(output: &Output) -> Self {
        let split = output.stdout.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = split.map_or((&output.stdout[..0], &output.stdout[..]), |at| {
            (&output.stdout[..at], &output.stdout[at + 4..])
        });
        let head = text(head);
        Self {
            exit: output.status.code().unwrap(),
            status: head.split(' ').nth(1).and_then(|status| status.parse().ok()),
            body: body.to_vec(),
            complaint: text(&output.stderr),
            head,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Credentials for S3.
#[derive(Clone)]
pub struct Session {
    pub key: String,
    pub secret: String,
    pub token: Option<String>,
}

impl Session {
    /// A client with these credentials, and nothing of this machine's own AWS settings.
    pub fn client(&self, program: &Path, scratch: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", scratch);
        command.env("AWS_ACCESS_KEY_ID", &self.key).env("AWS_SECRET_ACCESS_KEY", &self.secret);
        command.env("AWS_DEFAULT_REGION", "eu-central-1").env("AWS_EC2_METADATA_DISABLED", "true");
        if let Some(token) = &self.token {
            command.env("AWS_SESSION_TOKEN", token);
        }
        command
    }
}

/// A tool that the tests bring along.
pub fn tool(name: &str) -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let path = std::env::var_os("EDGEROTATE_TOOLS").map_or_else(default, PathBuf::from).join(name);
    assert!(path.exists(), "{} is missing: run tests/prepare, which makes it", path.display());
    path
}

pub fn curl() -> Command {
    let mut curl = Command::new("curl");
    // Its own settings and proxies must not have a say.
    curl.args(["--disable", "--noproxy", "*", "--silent", "--show-error"]);
    curl
}

pub fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "openssl {arguments:?}: {}", text(&output.stderr));
}

/// Looks again and again until there is something to see.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
