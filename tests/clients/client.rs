//! Which clients there are, what each needs beside what edgerotate gives, and how each is started.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Device, Generation, Way, process::tied, root, tool};

/// A client of AWS, and what a person must know to use it.
pub struct Client {
    /// As in `versions`, and in clients.py.
    pub name: &'static str,
    pub title: &'static str,
    pub kind: Kind,
    /// Whether it can run `credential_process`.
    pub runs_process: bool,
    /// What it needs beside the environment that edgerotate gives.
    pub needs: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Python,
    JavaScript,
    /// Built for this test: minutes.
    Rust,
    Litestream(Generation),
}

impl Client {
    pub const ALL: &[Self] = &[
        Self::python("boto3", "boto3 (Python)", true, ""),
        Self::python("awscrt", "awscrt (aws-c-auth)", true, ""),
        Self::python("pyarrow", "pyarrow (C++)", true, ""),
        Self::python("obstore", "obstore (object_store)", false, ""),
        Self::python("opendal", "OpenDAL", false, ""),
        Self::python(
            "minio-py",
            "minio-py",
            false,
            "`IamAwsProvider` and the region, in the program",
        ),
        Self::python(
            "rclone",
            "rclone (Go v2)",
            true,
            "`env_auth = true` and `region` in the remote",
        ),
        Self::python("s5cmd", "s5cmd (Go v1)", true, ""),
        Self {
            name: "javascript",
            title: "JavaScript v3",
            kind: Kind::JavaScript,
            runs_process: true,
            needs: "",
        },
        Self { name: "rust", title: "Rust", kind: Kind::Rust, runs_process: true, needs: "" },
        Self::litestream("litestream-v03", "Litestream 0.3 (Go v1)", Generation::V03),
        Self::litestream("litestream-v05", "Litestream 0.5 (Go v2)", Generation::V05),
    ];

    const fn python(
        name: &'static str,
        title: &'static str,
        runs_process: bool,
        needs: &'static str,
    ) -> Self {
        Self { name, title, kind: Kind::Python, runs_process, needs }
    }

    const fn litestream(name: &'static str, title: &'static str, generation: Generation) -> Self {
        let kind = Kind::Litestream(generation);
        Self { name, title, kind, runs_process: true, needs: "" }
    }

    pub fn is_quick(&self) -> bool {
        matches!(self.kind, Kind::Python | Kind::JavaScript)
    }

    pub fn version(&self) -> String {
        if let Kind::Litestream(generation) = self.kind {
            let program = generation.program();
            let name = program.file_name().unwrap().to_str().unwrap();
            return name.trim_start_matches("litestream-").to_owned();
        }
        let all = versions();
        let found = all.into_iter().find(|(name, ..)| name == self.name);
        found.unwrap_or_else(|| panic!("{} is not in versions", self.name)).1
    }

    pub fn ways(&self) -> &'static [Way] {
        if self.runs_process { &[Way::Endpoint, Way::Process] } else { &[Way::Endpoint] }
    }

    /// A program that writes an object each `pause` seconds and prints a line for each; its environment is what
    /// edgerotate gives, and nothing of whoever runs the tests.
    pub fn command(&self, device: &Device, way: Way, key: &str, pause: &str) -> Command {
        let here = root().join("tests/clients");
        let mut command = match self.kind {
            Kind::Python => {
                let mut command = tied(tool("clients/bin/python"));
                command.arg(here.join("clients.py")).arg(self.name);
                command
            }
            Kind::JavaScript => {
                let mut command = tied(tool("clients/bin/node"));
                command.arg(here.join("client.cjs"));
                command.env("NODE_PATH", tool("clients-js/node_modules"));
                command
            }
            Kind::Rust => tied(built_rust_client()),
            Kind::Litestream(_) => panic!("Litestream is started by its own harness"),
        };
        command
            .args([&device.cloud.s3_endpoint(), &device.cloud.bucket(), key, pause])
            .envs(environment(device, way, key))
            .env("HOME", &*device.scratch);
        command
    }
}

/// Where programs of other users find what they need to ask.
pub fn directory(device: &Device) -> PathBuf {
    device.scratch.join("clients")
}

/// What edgerotate gives to a program, letter by letter; a profile for what it can't give.
fn environment(device: &Device, way: Way, name: &str) -> Vec<(String, String)> {
    if way == Way::Endpoint {
        let text = fs::read_to_string(directory(device).join("endpoint.env")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        return pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    }
    let command = device.edgerotate(&["credential-process"]);
    // Without what ties it to its parent, which is another one here.
    let words: Vec<_> = command.get_args().skip(3).map(|w| w.to_string_lossy()).collect();
    let region = device.cloud.region();
    let profile =
        format!("[default]\nregion = {region}\ncredential_process = {}\n", words.join(" "));
    let file = device.scratch.join(format!("{}.aws", name.replace('/', "-")));
    fs::write(&file, profile).unwrap();
    let file = file.to_str().unwrap().to_owned();
    [
        ("AWS_CONFIG_FILE", file.clone()),
        // Go's SDK v1 reads it from here without further ado.
        ("AWS_SHARED_CREDENTIALS_FILE", file),
        ("AWS_REGION", region),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// `make test-all` builds it.
fn built_rust_client() -> PathBuf {
    let path = root().join("target/clients/rust/debug/edgerotate-rust-client");
    assert!(path.exists(), "{} is missing: make test-all builds it", path.display());
    path
}

/// Name and version of each line of `versions`.
pub fn versions() -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new("tests/clients/versions")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, _, version, _] = words[..] else { panic!("versions: {line}") };
            (name.to_owned(), version.to_owned())
        })
        .collect()
}
