//! The documents say what the code says. `UPDATE_DOCS=1 cargo test --test docs` writes what has
//! changed into them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so and stop")]

use std::{collections::BTreeMap, env, fs, path::Path};

use edgerotate::{
    core::class::Class,
    problems::{
        failure::Cause,
        finding::{Finding, Gate},
        kinds::Kind,
    },
    record::metrics::{FAMILIES, Family},
};

#[test]
fn troubleshooting_has_every_cause_and_finding_as_it_is() {
    let causes = Cause::ALL.iter().map(|cause| (cause.name(), row(*cause)));
    let findings = Finding::ALL.iter().map(|finding| (finding.name(), row_of_finding(*finding)));
    let kinds = Kind::ALL.iter().filter(|kind| !is_shared(**kind)).map(|kind| {
        let (name, weight) = (kind.name(), weight(kind.exit_code()));
        (name, format!("| `{name}` | {} | {} | {weight} |", kind.what(), kind.remedy()))
    });
    let rows = causes.chain(findings).chain(kinds).collect();
    assert_rows("docs/troubleshooting.md", "# ", rows);
}

/// What `status` finds stands in the table of `check`, where that finds it, too; the text says
/// which.
#[test]
fn troubleshooting_names_what_both_commands_find() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split("\n## ").find(|part| part.starts_with("`edgerotate status`")).unwrap();
    let (words, _) = section.split_once("\n|").unwrap();
    for kind in Kind::ALL {
        let named = words.contains(&format!("`{}`", kind.name()));
        assert_eq!(named, is_shared(*kind), "{kind:?}");
    }
}

fn is_shared(kind: Kind) -> bool {
    Finding::ALL.iter().any(|finding| finding.name() == kind.name())
}

#[test]
fn status_has_every_metric_as_it_is() {
    let rows = FAMILIES.iter().map(|family| {
        let Family { name, kind, help } = family;
        (*name, format!("| `{name}` | {kind} | {help} |"))
    });
    assert_rows("docs/status.md", "Metrics", rows.collect());
}

/// What the README shows is what a test saw, line for line.
#[test]
fn the_readme_shows_screens_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let screen =
        |name| fs::read_to_string(root.join("src/commands/status/screens").join(name)).unwrap();
    assert!(readme.contains(&screen("well")));
    let denied = screen("denied");
    let (findings, _) = denied.split_once("\n\n  daemon").unwrap();
    assert!(readme.contains(findings));
}

/// Of a page of ours, that is; what others have on theirs is not looked at.
#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("meta-edgerotate/README.md")];
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|end| end == "md")));
    let mut dead = Vec::new();
    let mut count = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&prose(&text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (file, anchor) = link.split_once('#').map_or((link, None), |(f, a)| (f, Some(a)));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let is_there = match anchor {
                None => target.exists(),
                Some(anchor) => fs::read_to_string(&target)
                    .is_ok_and(|text| anchors(&prose(&text)).iter().any(|known| known == anchor)),
            };
            if !is_there {
                dead.push(format!("{}: {link}", page.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(count > 30, "only {count} links were found");
}

/// A page without its blocks of code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code
    };
    text.lines().filter(|line| is_prose(line)).map(|line| format!("{line}\n")).collect()
}

/// What stands in `](…)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect()
}

/// The headings, as they are in addresses.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for title in text.lines().filter(|line| line.starts_with('#')) {
        let title = title.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        let anchor: String =
            title.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect();
        // The second of one name has a number.
        let before = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if before == 0 { anchor } else { format!("{anchor}-{before}") });
    }
    anchors
}

/// Compares the rows of the tables in a section with those of the code, each under its name.
fn assert_rows(file: &str, section: &str, rows: BTreeMap<&str, String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap();
    let mut known: BTreeMap<String, String> =
        rows.into_iter().map(|(name, row)| (format!("| `{name}` |"), row)).collect();
    let columns = known.values().next().unwrap().matches(" | ").count();
    let count = known.len();

    let mut is_in_section = false;
    let mut found = 0;
    // A line keeps its place, so that the rows stay in their groups.
    let corrected: String = text
        .lines()
        .map(|line| {
            if let Some(title) = line.strip_prefix("## ") {
                is_in_section = title.starts_with(section);
            }
            // The whole document.
            let is_looked_at = is_in_section || section == "# ";
            if !is_looked_at {
                return line.to_owned() + "\n";
            }
            found += usize::from(line.starts_with("| `") && line.matches(" | ").count() == columns);
            let start = known.keys().find(|start| line.starts_with(*start)).cloned();
            start.and_then(|start| known.remove(&start)).unwrap_or_else(|| line.to_owned()) + "\n"
        })
        .collect();
    assert!(known.is_empty(), "these lines are missing: {:#?}", known.values());
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &corrected).unwrap();
    } else {
        let wrong: Vec<_> =
            text.lines().zip(corrected.lines()).filter(|(old, new)| old != new).collect();
        assert!(wrong.is_empty(), "UPDATE_DOCS=1 corrects these lines: {wrong:#?}");
    }
    assert_eq!(found, count, "{file} has a row of what is no more");
}

fn row(cause: Cause) -> String {
    let again = match cause.class() {
        Class::Passing => "soon",
        Class::Device => "soon, then slowly",
        Class::Setup => "slowly",
        Class::PinRefused => "never",
    };
    format!("| `{cause}` | {} | {} | {again} |", cause.what(), cause.remedy())
}

fn row_of_finding(finding: Finding) -> String {
    let (code, in_check) = (finding.exit_code(), weight(finding.code_of_check()));
    let weight = match finding.gate() {
        Gate::Fails | Gate::FailsAtLast => format!("{in_check}, gate"),
        Gate::Warns if code != finding.code_of_check() => format!("{in_check}; to `status` {code}"),
        Gate::Warns => in_check,
    };
    format!("| `{}` | {} | {} | {weight} |", finding.name(), finding.what(), finding.remedy())
}

fn weight(code: u8) -> String {
    if code == 0 { "a warning".to_owned() } else { code.to_string() }
}
