//! The root of a newer Debian that `tests/provider-route` makes: there edgerotate runs, the token's
//! other programs do not.

use std::env;

use crate::support::process::{run, tied};

pub struct Newer {
    root: String,
    /// By OpenSSL's provider; else by its engine.
    pub is_provider: bool,
}

impl Newer {
    pub fn of_environment() -> Option<Self> {
        let root = env::var("EDGEROTATE_TEST_ROOT").ok()?;
        let is_provider = env::var("EDGEROTATE_TEST_ROUTE").is_ok_and(|route| route == "provider");
        Some(Self { root, is_provider })
    }

    /// What stands before edgerotate, which is `/edgerotate` there.
    pub fn wrapper(&self) -> [&str; 7] {
        let enter =
            "for of in proc dev; do mkdir -p \"$0/$of\"; mount --rbind /$of \"$0/$of\"; done
                     exec chroot \"$0\" \"$@\"";
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", enter]
    }

    pub fn root(&self) -> &str {
        &self.root
    }

    /// Its packages are unpacked and not on record: what their changelogs begin with.
    pub fn version_of(&self, package: &str) -> String {
        let changelog = format!("{}/usr/share/doc/{package}/changelog.Debian.gz", self.root);
        let text = run(tied("zcat").arg(changelog));
        let version = text.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
        version.expect("a version in brackets").0.to_owned()
    }
}
