//! What can be wrong with the settings.

use std::{fs, os::unix::fs::PermissionsExt};

use edgerotate::problems::finding::Finding;

use crate::{
    cases::{CASE, Case},
    harness::{By, put},
};

pub const CASES: &[Case] = &[
    Case {
        finding: Finding::SettingWrong,
        code: 78,
        settings: &[("LOG", "loud")],
        line: "WRONG settings environment: EDGEROTATE_LOG: must be error, warn, info or debug (got \
         \"loud\")",
        remedy: "correct that line",
        ..CASE
    },
    Case {
        finding: Finding::SettingMissing,
        code: 78,
        arguments: &["--config", "DEVICE/image.env"],
        given: |bench| put(bench.path("image.env"), "EDGEROTATE_ROLE_ALIAS=\n"),
        line: "WRONG settings settings: EDGEROTATE_ROLE_ALIAS: is empty in DEVICE/image.env:1, but \
         needed: which role to \
               ask for, such as litestream-replica",
        remedy: "write it into one of the files of settings: what all devices share into the \
         image's, the rest into the device's \
                 own",
        ..CASE
    },
    Case {
        finding: Finding::SettingUnknown,
        code: 78,
        settings: &[("LOGG", "debug")],
        line: "WRONG settings environment: EDGEROTATE_LOGG: is not a setting; is EDGEROTATE_LOG \
         meant?",
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
        line: "warning settings environment: EDGEROTATE_ROTATION_LEAD: is 30s, not more than \
         EDGEROTATE_FETCH_DEADLINE \
               (1min): one fetch that hangs outlasts the credentials",
        remedy: "change it as the line has it, or remove it; edgerotate runs with it as it is",
        ..CASE
    },
    Case {
        finding: Finding::NotProvisioned,
        arguments: &[
            "--gate",
            "--config",
            "DEVICE/image.env",
            "--device-config",
            "DEVICE/nothing.env",
        ],
        given: |bench| put(bench.path("image.env"), "EDGEROTATE_ROLE_ALIAS=\n"),
        line: "warning settings settings: EDGEROTATE_ROLE_ALIAS: is empty in DEVICE/image.env:1, \
         but needed: which role to \
               ask for, such as litestream-replica",
        remedy: "nothing, if the device is yet to be provisioned; else write it into its own file",
        ..CASE
    },
    Case {
        finding: Finding::SettingsNotPermitted,
        code: 77,
        by: By::Nobody,
        arguments: &["--device-config", "DEVICE/own.env"],
        given: |bench| {
            let mend = put(bench.path("own.env"), "EDGEROTATE_LOG=info\n");
            fs::set_permissions(bench.path("own.env"), fs::Permissions::from_mode(0o600)).unwrap();
            mend
        },
        line: "WRONG settings DEVICE/own.env: cannot be read: Permission denied (os error 13)",
        remedy: "let the group of the user that runs edgerotate read it: chown root:edgerotate \
         DEVICE/own.env && chmod 0640 \
                 DEVICE/own.env",
        ..CASE
    },
];
