//! The builds that are measured: the release as it is shipped, and the one with libcurl inside.

use std::{env, path::PathBuf, process::Command, sync::OnceLock};

use crate::support::{device::program, root};

/// One of them.
pub struct Build {
    /// What its figures begin with.
    pub prefix: &'static str,
    pub program: PathBuf,
}

/// Both; the second only where it could be built.
pub fn builds() -> Vec<Build> {
    let shipped = Build { prefix: "", program: program() };
    let with_curl = with_curl().map(|program| Build { prefix: "static-curl: ", program });
    [Some(shipped), with_curl].into_iter().flatten().collect()
}

fn with_curl() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let target = root().join("target/static-curl");
        println!("bench: building edgerotate with static-curl");
        let built = Command::new(env::var_os("CARGO")?)
            .args(["build", "--locked", "--quiet", "--release", "--bin", "edgerotate"])
            .args(["--features", "static-curl", "--target-dir"])
            .arg(&target)
            .current_dir(root())
            .status();
        built.is_ok_and(|status| status.success()).then(|| target.join("release/edgerotate"))
    };
    BUILT.get_or_init(build).clone()
}
