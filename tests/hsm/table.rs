//! The table in docs/hsm.md: what was seen of which module.

use std::{env, fs, sync::Mutex};

use crate::{
    modules::{Hsm, version_of},
    support::root,
};

/// Tests run side by side, and each writes its row.
static FILE: Mutex<()> = Mutex::new(());

/// Where the rows stand.
const BEGIN: &str = "<!-- rows: tests/hsm -->\n";
const END: &str = "<!-- end of rows -->\n";

/// Holds the document to what was seen, or writes it.
pub fn put(hsm: &Hsm, seen: &[String]) {
    let way = format!("OpenSSL {}, engine {}", version_of("libssl3"), engine());
    let row = format!("| {} | {} | {way} | {} |", hsm.name, hsm.version, seen.join(" | "));
    eprintln!("{row}");
    let _held = FILE.lock().unwrap();
    let path = root().join("docs/hsm.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the rows' begin");
    let (rows, after) = rest.split_once(END).expect("the rows' end");
    let is_of = |line: &&str| line.starts_with(&format!("| {} |", hsm.name));
    let there = rows.lines().find(is_of);
    if env::var_os("UPDATE_DOCS").is_none() {
        // Versions differ from machine to machine; what is seen must not.
        let end = format!(" | {} |", seen.join(" | "));
        let holds = there.is_some_and(|there| there.ends_with(&end));
        assert!(holds, "docs/hsm.md has {there:?}; UPDATE_DOCS=1 writes\n{row}");
        return;
    }
    let mut rows: Vec<&str> = rows.lines().filter(|line| !is_of(line)).collect();
    rows.push(&row);
    // Below the head, which is two lines.
    rows[2..].sort_unstable();
    fs::write(path, format!("{before}{BEGIN}{}\n{END}{after}", rows.join("\n"))).unwrap();
}

fn engine() -> String {
    version_of("libengine-pkcs11-openssl")
}
