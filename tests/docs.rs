//! The documents say what the code says. `UPDATE_DOCS=1 cargo test --test docs` writes what has changed into them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so and stop")]

use std::{collections::BTreeMap, env, fs, path::Path};

use edgerotate::{
    failure::{Cause, Class},
    finding::{Finding, Gate},
    status::{
        findings::Kind,
        metrics::{FAMILIES, Family},
    },
};

#[test]
fn troubleshooting_has_every_cause_and_finding_as_it_is() {
    let causes = Cause::ALL.iter().map(|cause| (cause.name(), row(*cause)));
    let findings = Finding::ALL.iter().map(|finding| (finding.name(), row_of_finding(*finding)));
    assert_rows("docs/troubleshooting.md", "# ", causes.chain(findings).collect());
}

#[test]
fn status_has_every_finding_and_metric_as_it_is() {
    let rows = Kind::ALL.iter().map(|kind| {
        let (name, code) = (kind.name(), kind.exit_code());
        (name, format!("| `{name}` | {} | {} | {code} |", kind.what(), kind.remedy()))
    });
    assert_rows("docs/status.md", "Findings", rows.collect());
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
    let screen = |name| fs::read_to_string(root.join("src/status/screens").join(name)).unwrap();
    assert!(readme.contains(&screen("well")));
    let denied = screen("denied");
    let (findings, _) = denied.split_once("\n\n  daemon").unwrap();
    assert!(readme.contains(findings));
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
        Class::Setup => "slowly",
        Class::PinRefused => "never",
    };
    format!("| `{cause}` | {} | {} | {again} |", cause.what(), cause.remedy())
}

fn row_of_finding(finding: Finding) -> String {
    let weight = match (finding.exit_code(), finding.gate()) {
        (0, _) => "a warning".to_owned(),
        (code, Gate::Warns) => code.to_string(),
        (code, Gate::Fails | Gate::FailsAtLast) => format!("{code}, gate"),
    };
    format!("| `{}` | {} | {} | {weight} |", finding.name(), finding.what(), finding.remedy())
}
