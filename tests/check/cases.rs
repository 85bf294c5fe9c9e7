//! Every finding, with a cause that is real: a file, a right, a mount, a certificate, a fault of
//! the cloud, a Litestream.
//!
//! A case takes a device on which all is well, breaks one thing, and compares the whole line and
//! the remedy.

use std::collections::BTreeSet;

use edgerotate::problems::finding::{Finding, Level};

use crate::{
    harness::{Bench, By, Mend},
    support::{Generation, skip},
};

/// One finding.
pub struct Case {
    pub finding: Finding,
    /// What the whole check exits with.
    pub code: i32,
    pub by: By,
    pub arguments: &'static [&'static str],
    /// Further settings, without `EDGEROTATE_`.
    pub settings: &'static [(&'static str, &'static str)],
    pub given: fn(&Bench) -> Mend,
    /// As [`crate::harness::Answer::assert_has`] wants it, without the name at its end; then the
    /// remedy.
    pub line: &'static str,
    pub remedy: &'static str,
}

/// What a case leaves out.
pub const CASE: Case = Case {
    finding: Finding::SettingWrong,
    code: 0,
    by: By::Owner,
    arguments: &[],
    settings: &[],
    given: |_| Mend::nothing(),
    line: "",
    remedy: "",
};

impl Case {
    fn run(&self, bench: &Bench) {
        let name = self.finding.name();
        if !matches!(self.by, By::Owner) && !nix::unistd::geteuid().is_root() {
            return skip(&format!("{name} needs root, to become somebody else or to mount"));
        }
        let mend = (self.given)(bench);
        let answer = bench.check_as(self.by, self.arguments, self.settings);
        let arguments = [self.arguments, &["--json"]].concat();
        let of_json = bench.check_as(self.by, &arguments, self.settings).json();
        drop(mend);
        answer.assert_has(&format!("{} [{name}]", self.line));
        answer.assert_has(&format!("-> {}", self.remedy));
        assert_eq!(answer.code, self.code, "{name}\n{}{}", answer.text, answer.errors);
        // What else may be found must not stand for this one.
        let code = self.finding.code_of_check();
        let steps = of_json["steps"].as_array().unwrap();
        let found = steps.iter().flat_map(|step| step["findings"].as_array().unwrap());
        let own: Vec<_> = found.filter(|found| found["code"] == name).collect();
        assert!(!own.is_empty(), "{name}\n{of_json:#}");
        for found in own {
            assert_eq!(found["exit_code"], code, "{name}\n{of_json:#}");
            assert_eq!(found["level"], Level::of(code).name(), "{name}\n{of_json:#}");
        }
    }
}

fn run(name: &str, cases: &[Case]) {
    let bench = Bench::new(name, Generation::V05);
    for case in cases {
        case.run(&bench);
    }
    // Each was mended, or the next would have stumbled over it.
    assert_eq!(bench.check(&[]).code, 0);
}

#[test]
fn settings() {
    run("settings", crate::of_settings::CASES);
}

#[test]
fn files() {
    run("files", crate::of_files::CASES);
}

#[test]
fn certificates() {
    run("certificates", crate::of_certificates::CASES);
}

#[test]
fn databases() {
    run("databases", crate::of_databases::CASES);
}

#[test]
fn litestream() {
    run("litestream", crate::of_litestream::CASES);
}

#[test]
fn there_is_a_case_for_each_finding() {
    let all = [
        crate::of_settings::CASES,
        crate::of_files::CASES,
        crate::of_certificates::CASES,
        crate::of_databases::CASES,
        crate::of_litestream::CASES,
    ];
    let with: BTreeSet<_> = all.into_iter().flatten().map(|case| case.finding.name()).collect();
    let without: Vec<_> =
        Finding::ALL.iter().map(|f| f.name()).filter(|name| !with.contains(name)).collect();
    assert!(without.is_empty(), "{without:?}");
}
