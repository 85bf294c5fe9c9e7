//! What a device has beside the machine that it runs on: an image, a data partition, a token, and
//! the cloud outside.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::support::{
    Cloud, Generation, SOON, Scratch, Token, database,
    process::{tied, try_run},
    root,
    secrets::Secrets,
    wait_for,
};

/// The thing that the device is.
pub const THING: &str = "line-7-press-12";

/// The database, on the data partition.
pub const DATABASE: &str = "edgerotate/replica/heartbeat.db";

pub struct Parts {
    /// The image's root.
    pub image: PathBuf,
    pub generation: Generation,
    pub cloud: Cloud,
    pub token: Token,
    /// The data partition, mounted on /data.
    pub data: PathBuf,
    /// What the fleet's owner puts into the image: settings, Litestream's bucket, the provider's
    /// CA.
    pub fleet: PathBuf,
    pub scratch: Scratch,
}

impl Parts {
    /// Nothing is on the data partition yet.
    pub fn new(name: &str, image: PathBuf, generation: Generation, lifetime: Duration) -> Self {
        // Not below the directory for temporary files, which may be tmpfs.
        let scratch = Scratch::below(&root().join("target/image"), name);
        let [data, fleet] = ["data", "fleet"].map(|name| scratch.join(name));
        for directory in [&data, &fleet] {
            fs::create_dir(directory).expect("a directory of the device");
        }
        let cloud = Cloud::start(&scratch, lifetime);
        let token = Token::new(&scratch);
        let parts = Self { image, generation, cloud, token, data, fleet, scratch };
        parts.write_fleet_files();
        parts
    }

    pub fn database(&self) -> PathBuf {
        self.data.join(DATABASE)
    }

    /// What must not be seen.
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.add(self.token.pin());
        for issued in self.cloud.issued() {
            secrets.add(&issued.secret_access_key);
            secrets.add(&issued.session_token);
        }
        secrets
    }

    /// Restores the newest state in S3, with a key that does not expire, until all these rows are
    /// in it.
    pub fn restore_whole(&self, original: &[i64]) {
        let to = self.scratch.join("restored.db");
        let (id, secret) = self.cloud.permanent_key();
        wait_for("a replica with every row", 2 * SOON, || {
            for suffix in ["", "-wal", "-shm"] {
                fs::remove_file(format!("{}{suffix}", to.display())).ok();
            }
            let (succeeded, _) = try_run(
                tied(self.generation.program())
                    .envs([("AWS_ACCESS_KEY_ID", &id), ("AWS_SECRET_ACCESS_KEY", &secret)])
                    .env("AWS_DEFAULT_REGION", self.cloud.region())
                    .env("EDGEROTATE_THING_NAME", THING)
                    .arg("restore")
                    .arg("-config")
                    .arg(self.fleet.join("litestream.yml"))
                    .arg("-o")
                    .arg(&to)
                    .arg(Path::new("/data").join(DATABASE)),
            );
            let copy = succeeded.then(|| database::try_rows(&to).ok()).flatten()?;
            let (missing, _) = database::compare(original, &copy);
            // Pruning takes from the beginning, which is no hole.
            missing.is_empty().then_some(())
        });
        assert_eq!(database::integrity(&to), "ok");
    }
}
