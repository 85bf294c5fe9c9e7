//! What is in an image beyond Debian, and on a data partition.

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    parts::{Parts, THING},
    support::{
        Generation,
        device::program,
        process::{run, tied, try_run},
        root,
        token::SOFTHSM,
    },
};

/// What is the fleet's own in an image, and its users where they are other ones.
pub const FLEET_FILES: [(&str, &str); 5] = [
    ("edgerotate.env", "/usr/lib/edgerotate/edgerotate.env"),
    ("litestream.yml", "/etc/litestream.yml"),
    ("ca.pem", "/etc/ssl/certs/ca-certificates.crt"),
    ("etc/passwd", "/etc/passwd"),
    ("etc/group", "/etc/group"),
];

/// With which edgerotate finds the token also by hand.
pub const TOKEN_BY_HAND: &str =
    "EDGEROTATE_MODULE_ENVIRONMENT=SOFTHSM2_CONF=/usr/lib/edgerotate/softhsm2.conf";

/// systemd/sysusers.conf.
const EDGEROTATE: u32 = 780;

impl Parts {
    pub fn write_fleet_files(&self) {
        let shipped = |path: &str| fs::read_to_string(self.image.join(path)).expect("shipped");
        let settings = shipped("usr/lib/edgerotate/edgerotate.env");
        let key = "EDGEROTATE_PRIVATE_KEY=";
        let settings = settings
            .lines()
            .map(|line| {
                if line.starts_with(key) {
                    format!("{key}{}\n", self.token.key_uri())
                } else {
                    format!("{line}\n")
                }
            })
            .collect::<String>();
        let settings = format!(
            "{settings}EDGEROTATE_ENDPOINT={}\nEDGEROTATE_ROLE_ALIAS={}\nEDGEROTATE_REGION={}\n\
             EDGEROTATE_PKCS11_MODULE={SOFTHSM}\nEDGEROTATE_PKCS11_PIN_FILE=/data/edgerotate/pin\n\
             EDGEROTATE_HEARTBEAT_INTERVAL=200ms\nEDGEROTATE_RESTART_TIMEOUT=50s\nEDGEROTATE_BOOT_SPREAD=0s\n",
            self.cloud.endpoint(),
            self.cloud.role_alias(),
            self.cloud.region(),
        );
        fs::write(self.fleet.join("edgerotate.env"), settings).expect("settings");

        let replica = shipped("etc/litestream.yml");
        let bucket = "bucket: example-device-replicas";
        assert!(replica.contains(bucket), "{replica}");
        let ours = format!(
            "bucket: {}\n        endpoint: {}\n        force-path-style: true",
            self.cloud.bucket(),
            self.cloud.s3_endpoint()
        );
        // The generations indent differently.
        let ours = match self.generation {
            Generation::V03 => ours,
            Generation::V05 => ours.replace("\n        ", "\n      "),
        };
        fs::write(self.fleet.join("litestream.yml"), replica.replace(bucket, &ours))
            .expect("litestream.yml");
        fs::copy(self.cloud.ca_file(), self.fleet.join("ca.pem")).expect("the provider's CA");
    }

    /// Adds a line to the image's settings; from the next boot on.
    pub fn set_in_image(&self, line: &str) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(self.fleet.join("edgerotate.env"))
            .expect("settings");
        writeln!(file, "{line}").expect("settings");
    }

    /// The next image made other users before ours.
    pub fn use_other_users(&self, others: &str) {
        let directory = self.fleet.join("usr/lib/sysusers.d");
        fs::create_dir_all(&directory).expect("a directory of users");
        fs::write(directory.join("00-others.conf"), others).expect("other users");
        fs::copy(root().join("systemd/sysusers.conf"), directory.join("edgerotate.conf"))
            .expect("our users");
        let etc = self.fleet.join("etc");
        fs::create_dir(&etc).expect("a directory for users");
        for file in ["passwd", "group"] {
            // Those of the image that are not ours.
            let text = fs::read_to_string(self.image.join("etc").join(file)).expect("users");
            let ours = |line: &&str| {
                ["edgerotate:", "litestream:", "replica:"].iter().any(|name| line.starts_with(name))
            };
            let text: String =
                text.lines().filter(|line| !ours(line)).map(|line| format!("{line}\n")).collect();
            fs::write(etc.join(file), text).expect("users");
        }
        run(tied("systemd-sysusers").arg(format!("--root={}", self.fleet.display())));
    }

    /// What the factory does, or somebody in the field: token, PIN, certificate, the device's name.
    pub fn provision(&self) {
        self.provision_with(json!({}));
        self.give_name();
    }

    pub fn give_name(&self) {
        self.put("device.env", &format!("EDGEROTATE_THING_NAME={THING}\n"), 0o640);
    }

    /// Token, PIN and a certificate that is asked for with more than a request; no name.
    pub fn provision_with(&self, more: Value) {
        let own = self.data.join("edgerotate");
        fs::create_dir_all(own.join("softhsm")).expect("the token's place");
        run(tied("cp").arg("-a").arg(self.scratch.join("token/store/.")).arg(own.join("softhsm")));
        run(tied("chown")
            .args(["-R", &format!("{EDGEROTATE}:{EDGEROTATE}")])
            .arg(own.join("softhsm")));
        self.put("pin", self.token.pin(), 0o640);
        let request = self.token.certificate_request(THING);
        let mut order = json!({"csr": request, "thing": THING});
        for (key, value) in more.as_object().expect("an object") {
            order[key] = value.clone();
        }
        let answer = self.cloud.control("POST", "/certificates", Some(&order));
        self.put("device.crt", answer["certificate_pem"].as_str().expect("a certificate"), 0o644);
    }

    /// Puts a file in place for edgerotate, in one step.
    pub fn put(&self, name: &str, text: &str, mode: u32) {
        let path = self.data.join("edgerotate").join(name);
        let new = path.with_extension("new");
        fs::write(&new, text).expect("a file of the device");
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).expect("its mode");
        chown(&new, Some(0), Some(EDGEROTATE)).expect("its owner");
        fs::rename(new, path).expect("a file of the device");
    }
}

/// Which edgerotate is in an image, and which units.
pub struct Release {
    pub program: PathBuf,
    pub checkout: PathBuf,
}

impl Release {
    pub fn today() -> Self {
        Self { program: program(), checkout: root().to_owned() }
    }

    /// An older one, built from the history.
    pub fn of(commit: &str) -> Result<Self, String> {
        let (succeeded, said) = try_run(
            tied(root().join("tests/image/older"))
                .arg(commit)
                .env("HOME", env::var_os("HOME").unwrap_or_default())
                .env("PATH", env::var_os("PATH").unwrap_or_default()),
        );
        let checkout = PathBuf::from(said.lines().next().unwrap_or_default());
        if succeeded {
            Ok(Self { program: checkout.join("target/debug/edgerotate"), checkout })
        } else {
            Err(said.trim().to_owned())
        }
    }
}

/// The image with this Litestream and this release; or why it can't be had.
pub fn image(generation: Generation, release: &Release) -> Result<PathBuf, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root, to boot a container".to_owned());
    }
    for program in ["systemd-nspawn", "mmdebstrap"] {
        if !Path::new("/usr/bin").join(program).exists() {
            return Err(format!("needs {program}"));
        }
    }
    match built(&mut build(generation, release)) {
        // Whatever else keeps it from being built is a fault, and no reason to leave the test out.
        Err(said) if !said.contains("Debian's mirror") => panic!("no image was built: {said}"),
        built => built,
    }
}

/// The command that makes an image.
pub fn build(generation: Generation, release: &Release) -> Command {
    let mut command = tied(root().join("tests/image/build"));
    command.arg(generation.version()).arg(&release.program).arg(&release.checkout);
    command
}

/// Where that is which a command makes; or why it makes none.
pub fn built(command: &mut Command) -> Result<PathBuf, String> {
    let (succeeded, said) = try_run(command);
    let path = said.lines().next().unwrap_or_default();
    if succeeded { Ok(path.into()) } else { Err(said.trim().to_owned()) }
}
