//! The documents say what the code says. `UPDATE_DOCS=1 cargo test --test docs` writes what has changed into them.

use std::{collections::BTreeMap, env, fs, path::Path};

use edgerotate::{
    failure::{Cause, Class},
    finding::{Finding, Gate},
};

#[test]
fn troubleshooting_has_every_cause_and_finding_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let text = fs::read_to_string(&path).unwrap();
    let causes = Cause::ALL.iter().map(|cause| (cause.name(), row(*cause)));
    let findings = Finding::ALL.iter().map(|finding| (finding.name(), row_of_finding(*finding)));
    let mut known: BTreeMap<String, String> =
        causes.chain(findings).map(|(name, row)| (format!("| `{name}` |"), row)).collect();

    // A line keeps its place, so that causes and findings stay in their groups.
    let corrected: String = text
        .lines()
        .map(|line| {
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

    let in_section = |line: &&str| line.starts_with("| `") && line.matches(" | ").count() == 3;
    assert_eq!(
        text.lines().filter(in_section).count(),
        Cause::ALL.len() + Finding::ALL.len(),
        "a cause or a finding that is no more"
    );
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
