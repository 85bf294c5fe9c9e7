//! The house: which room of `src/` may import from which, and that no two files import each other
//! in a circle.
//!
//! Each room's `mod.rs` says `May import:`, and this reads it. Tests inside of `src/` may look
//! anywhere.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so and stop")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The modules that each module imports, by their paths: `core::rotation`.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_room_imports_upwards_or_sideways() {
    let mut wrong = Vec::new();
    for (module, imported) in imports() {
        let room = room(&module);
        let text = fs::read_to_string(source().join(room).join("mod.rs")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("//! May import: "));
        let allowed = line.unwrap_or_else(|| panic!("src/{room}/mod.rs: no line `May import: `"));
        let allowed: Vec<_> = allowed.trim_end_matches('.').split(", ").collect();
        let strangers = imported.iter().map(|other| (other, self::room(other)));
        let strangers = strangers.filter(|(_, other)| *other != room && !allowed.contains(other));
        wrong.extend(strangers.map(|(other, _)| format!("{module} imports {other}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut imports = imports();
    // A module that imports none of those that are left is in no circle.
    loop {
        let left: BTreeSet<_> = imports.keys().cloned().collect();
        let before = imports.len();
        imports.retain(|_, imported| imported.iter().any(|other| left.contains(other)));
        if imports.len() == before {
            break;
        }
    }
    // Nor is one that only leads to a circle.
    loop {
        let wanted: BTreeSet<_> = imports.values().flatten().cloned().collect();
        let before = imports.len();
        imports.retain(|module, _| wanted.contains(module));
        if imports.len() == before {
            break;
        }
    }
    assert!(imports.is_empty(), "in a circle: {imports:#?}");
}

/// A connection that is opened elsewhere can forget what keeps Litestream's replica whole.
#[test]
fn databases_are_opened_in_one_place() {
    let opens = files(&source()).into_iter().filter(|file| {
        let module = name(file).unwrap_or_default();
        !is_test(&module) && product(file).contains("Connection::open")
    });
    let opens: Vec<_> = opens.filter_map(|file| name(&file)).collect();
    assert_eq!(opens, ["replica::sqlite"]);
}

/// Comments and strings, too, which rustfmt leaves as they are.
#[test]
fn lines_end_at_100_columns() {
    let long =
        files(&source()).into_iter().filter(|file| !is_test(&name(file).unwrap_or_default()));
    let long: Vec<_> = long
        .flat_map(|file| {
            let text = product(&file);
            let long = text.lines().enumerate().filter(|(_, line)| line.chars().count() > 100);
            long.map(|(at, _)| format!("{}:{}", file.display(), at + 1)).collect::<Vec<_>>()
        })
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// What the files import of each other, but for their tests.
fn imports() -> Imports {
    let modules: BTreeMap<_, _> =
        files(&source()).into_iter().filter_map(|file| Some((name(&file)?, file))).collect();
    let known = |path: &str| -> Option<String> {
        let mut path = path;
        while !modules.contains_key(path) {
            path = path.rsplit_once("::")?.0;
        }
        Some(path.to_owned())
    };
    let imports = modules.iter().filter(|(module, _)| !is_test(module)).map(|(module, file)| {
        let text = product(file);
        let children = children(&text).into_iter().map(|child| format!("self::{child}"));
        let paths = paths(&text).into_iter().chain(children);
        let paths = paths.map(|path| absolute(&path, module));
        let imported = paths.filter_map(|path| known(&path)).filter(|other| other != module);
        (module.clone(), imported.collect())
    });
    imports.collect()
}

/// The text of a file, without its tests.
fn product(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The modules that a text declares and names: `look` in `mod look;` and `look::look()`.
fn children(text: &str) -> Vec<String> {
    let declared = text.lines().filter_map(|line| {
        let (_, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
        Some(name.to_owned())
    });
    let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join(" ");
    let is_named = |name: &String| {
        code.match_indices(&format!("{name}::")).any(|(at, _)| {
            !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
        })
    };
    declared.filter(is_named).collect()
}

/// Every path of the crate in a text: those of `use`, with their groups taken apart, and those in
/// the code.
fn paths(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut paths = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            // `super::super::` is found as one path, from its first word on.
            if !code[..at].ends_with("super::") && !code[..at].ends_with(char::is_alphanumeric) {
                take_apart("", &code[at..], &mut paths);
            }
        }
    }
    paths
}

/// One tree of a `use`, or a plain path; answers with what comes after it.
fn take_apart<'a>(prefix: &str, text: &'a str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    let end =
        text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (path, mut rest) = text.split_at(end);
    let path = format!("{prefix}{path}");
    if !(path.ends_with("::") && rest.starts_with('{')) {
        paths.push(path.trim_end_matches("::").trim_end_matches("::self").to_owned());
        return rest;
    }
    while let Some(next) = rest.strip_prefix(['{', ',']) {
        if next.trim_start().starts_with('}') {
            rest = next.trim_start();
            break;
        }
        rest = take_apart(&path, next, paths).trim_start();
        // `as` and the other name.
        rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

/// `super::x` in `a::b` is `a::x`.
fn absolute(path: &str, module: &str) -> String {
    let mut base: Vec<_> = module.split("::").collect();
    let mut words: Vec<_> = path.split("::").collect();
    match words.remove(0) {
        "crate" => base.clear(),
        "super" => {
            base.pop();
        }
        _ => {}
    }
    while words.first() == Some(&"super") {
        words.remove(0);
        base.pop();
    }
    [base, words].concat().join("::")
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(of).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

/// `src/core/rotation/mod.rs` is `core::rotation`; none for `lib.rs` and `main.rs`.
fn name(file: &Path) -> Option<String> {
    let path = file.strip_prefix(source()).unwrap().with_extension("");
    let path = if path.ends_with("mod") { path.parent()? } else { &path };
    let words: Vec<_> = path.iter().filter_map(|word| word.to_str()).collect();
    (!matches!(*words, ["lib" | "main"])).then(|| words.join("::"))
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// A module of tests alone.
fn is_test(module: &str) -> bool {
    module.split("::").any(|word| word == "tests" || word == "simulation")
}

#[test]
fn takes_imports_apart() {
    let text = "use crate::{core::{secret::{self, Secret}, span as s}, settings};\n\
                use super::{a, b::C};\nlet x = crate::system::clock::wall();";
    let mut found: Vec<_> =
        paths(text).iter().map(|path| absolute(path, "replica::guard")).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "core::secret",
            "core::secret::Secret",
            "core::span",
            "replica::a",
            "replica::b::C",
            "settings",
            "system::clock::wall"
        ]
    );
}
