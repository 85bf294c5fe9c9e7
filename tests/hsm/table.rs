//! The table in docs/hsm.md: what was seen of which module.

use std::{env, fs, sync::Mutex};

use crate::{
    modules::{Hsm, version_of},
    newer::Newer,
    support::root,
};

/// Tests run side by side, and each writes its row.
static FILE: Mutex<()> = Mutex::new(());

/// Where the rows stand, below a head of two lines.
const BEGIN: &str = "<!-- rows: tests/hsm -->\n";
const END: &str = "<!-- end of rows -->\n";

/// Holds the document to what was seen, or writes it.
pub fn put(hsm: &Hsm, seen: &[String]) {
    let key = format!("| {} | {} |", hsm.name, way());
    let seen = seen.join(" | ");
    let today = chrono::Utc::now().format("%Y-%m-%d");
    let row = format!("{key} {} | {seen} | {today} |", hsm.version);
    eprintln!("{row}");
    let _held = FILE.lock().unwrap();
    let path = root().join("docs/hsm.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the rows' begin");
    let (rows, after) = rest.split_once(END).expect("the rows' end");
    let is_of = |line: &&str| line.starts_with(&key);
    if env::var_os("UPDATE_DOCS").is_none() {
        // Versions and dates differ from machine to machine; what is seen must not.
        let there = rows.lines().find(is_of);
        let holds = there.is_some_and(|there| there.contains(&format!(" | {seen} | ")));
        assert!(holds, "docs/hsm.md has {there:?}; UPDATE_DOCS=1 writes\n{row}");
        return;
    }
    let mut rows: Vec<&str> = rows.lines().filter(|line| !is_of(line)).collect();
    rows.push(&row);
    rows[2..].sort_unstable();
    fs::write(path, format!("{before}{BEGIN}{}\n{END}{after}", rows.join("\n"))).unwrap();
}

/// OpenSSL's way to the module, and on which Debian.
fn way() -> String {
    match Newer::of_environment() {
        None => format!("engine {}, Debian 12", version_of("libengine-pkcs11-openssl")),
        Some(newer) if newer.is_provider => {
            format!("provider {}, Debian 13", version_of("pkcs11-provider"))
        }
        Some(_) => format!("engine {}, Debian 13", version_of("libengine-pkcs11-openssl")),
    }
}
