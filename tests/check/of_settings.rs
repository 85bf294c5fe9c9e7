//! What can be wrong with the settings.

use edgerotate::finding::Finding;

use crate::{
    cases::{CASE, Case},
    harness::put,
};

pub const CASES: &[Case] = &[
    Case {
        finding: Finding::SettingWrong,
        code: 78,
        settings: &[("LOG", "loud")],
        line: "WRONG settings environment: EDGEROTATE_LOG: must be error, warn, info or debug (got \"loud\")",
        remedy: "correct that line",
        ..CASE
    },
    Case {
        finding: Finding::SettingMissing,
        code: 78,
        settings: &[("ROLE_ALIAS", "")],
        line: "WRONG settings settings: EDGEROTATE_ROLE_ALIAS: is empty in environment, but needed: which role to ask \
               for, such as litestream-replica",
        remedy: "write it into one of the files named there",
        ..CASE
    },
    Case {
        finding: Finding::SettingUnknown,
        code: 78,
        settings: &[("LOGG", "debug")],
        line: "WRONG settings environment: EDGEROTATE_LOGG: is not a setting; is EDGEROTATE_LOG meant?",
        remedy: "correct its spelling or remove the line: nothing reads it",
        ..CASE
    },
    Case {
        finding: Finding::SettingUnknownHere,
        arguments: &["--device-config", "DEVICE/own.env"],
        given: |bench| put(bench.path("own.env"), "EDGEROTATE_OF_A_NEWER_IMAGE=yes\n"),
        line: "warning settings DEVICE/own.env:1: EDGEROTATE_OF_A_NEWER_IMAGE: is not a setting",
        remedy: "correct its spelling; if a newer image wrote it, let it be",
        ..CASE
    },
    Case {
        finding: Finding::SettingDoubtful,
        settings: &[("ROTATION_LEAD", "30s")],
        line: "warning settings environment: EDGEROTATE_ROTATION_LEAD: is 30s, not more than EDGEROTATE_FETCH_DEADLINE \
               (1min): one fetch that hangs outlasts the credentials",
        remedy: "change it as the line has it, or remove it; edgerotate runs with it as it is",
        ..CASE
    },
    Case {
        finding: Finding::NotProvisioned,
        arguments: &["--gate", "--device-config", "DEVICE/nothing.env"],
        settings: &[("ROLE_ALIAS", "")],
        line: "warning settings settings: EDGEROTATE_ROLE_ALIAS: is empty in environment, but needed: which role to ask \
               for, such as litestream-replica",
        remedy: "nothing, if the device is yet to be provisioned; else write it into its own file",
        ..CASE
    },
];
