//! Litestream: its program, its configuration, and the process with its credentials.

use std::{fs, process::Command, thread, time::Duration};

use edgerotate::problems::finding::Finding;

use crate::{
    cases::{CASE, Case},
    harness::{Bench, By, Mend, chmod, put},
    support::{process::run, token::write_private},
};

/// Litestream, started with these variables; then the environment file has those.
fn started_with(bench: &Bench, at_start: &str, now: &str) -> Mend {
    write_private(&bench.environment_file, at_start);
    let (program, port) = bench.litestream.restart_command.split_once(' ').unwrap();
    run(Command::new(program).arg(port));
    write_private(&bench.environment_file, now);
    // Past the time that a restart may take.
    thread::sleep(Duration::from_millis(1100));
    let path = bench.environment_file.clone();
    Mend::by(move || fs::remove_file(path).unwrap())
}

/// The environment file is written, and no Litestream runs.
fn handed_over(bench: &Bench) -> Mend {
    write_private(&bench.environment_file, "AWS_ACCESS_KEY_ID=ASIA1\n");
    let path = bench.environment_file.clone();
    Mend::by(move || fs::remove_file(path).unwrap())
}

fn rewritten(bench: &Bench, from: &str, to: &str) -> Mend {
    let path = bench.litestream.configuration.clone();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    put(path, &text.replace(from, to))
}

const HURRY: (&str, &str) = ("RESTART_TIMEOUT", "1s");

pub const CASES: &[Case] = &[
    Case {
        finding: Finding::LitestreamNotRun,
        code: 69,
        settings: &[("LITESTREAM", "/usr/lib/no-litestream")],
        line: "WRONG Litestream Litestream's program can't be run: /usr/lib/no-litestream (*)",
        remedy: "install Litestream for this machine, or correct EDGEROTATE_LITESTREAM",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamConfigMissing,
        code: 78,
        settings: &[("LITESTREAM_CONFIG", "DEVICE/nowhere.yml")],
        line: "WRONG litestream.yml Litestream's configuration is not there: DEVICE/nowhere.yml",
        remedy: "set EDGEROTATE_LITESTREAM_CONFIG to the file that Litestream's unit uses",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamConfigNotReadable,
        code: 69,
        by: By::Nobody,
        given: |bench| {
            let copy = bench.path("litestream-for-all");
            fs::copy(bench.litestream.generation.program(), &copy).unwrap();
            chmod(bench.litestream.configuration.clone(), 0o600)
        },
        settings: &[
            ("ENVIRONMENT_FILE", "DEVICE/nothing.env"),
            ("LITESTREAM", "DEVICE/litestream-for-all"),
        ],
        line: "warning litestream.yml Litestream's configuration can't be read by this user: \
               DEVICE/litestream/litestream.yml",
        remedy: "run check as root, or let the daemon's user read \
         DEVICE/litestream/litestream.yml: chmod o+r \
                 DEVICE/litestream/litestream.yml, if no key stands in it",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamConfigBroken,
        code: 78,
        given: |bench| put(bench.litestream.configuration.clone(), "dbs: [\n"),
        line: "WRONG litestream.yml Litestream does not understand its configuration: \
         DEVICE/litestream/litestream.yml \
               (litestream: yaml: *)",
        remedy: "correct it, and try: litestream databases -config \
         DEVICE/litestream/litestream.yml",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamExample,
        code: 78,
        given: |bench| {
            let bucket = fs::read_to_string(&bench.litestream.configuration).unwrap();
            let bucket = bucket.lines().find(|line| line.contains("bucket: ")).unwrap().to_owned();
            let (key, _) = bucket.split_once("bucket: ").unwrap();
            rewritten(bench, &bucket, &format!("{key}bucket: example-device-replicas"))
        },
        line: "WRONG litestream.yml Litestream's configuration still has the bucket of the \
         example, which is nobody's: \
               DEVICE/litestream/litestream.yml (example-device-replicas)",
        remedy: "write the name of your own bucket into DEVICE/litestream/litestream.yml",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamPermanentKeys,
        code: 78,
        given: |bench| {
            rewritten(bench, "dbs:\n", "access-key-id: AKIA1\nsecret-access-key: x\ndbs:\n")
        },
        line: "WRONG litestream.yml Litestream's configuration has keys of its own, and signs with \
         them instead of the \
               credentials that rotate: DEVICE/litestream/litestream.yml (line *)",
        remedy: "take access-key-id, secret-access-key and keys in a url: out of \
                 DEVICE/litestream/litestream.yml, and revoke them",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamDirectory,
        code: 78,
        given: |bench| {
            let data = bench.path("data");
            let text = format!(
                "dbs:\n  - dir: {0}\n    pattern: '*.db'\n    replica:\n      type: file\n      \
                 path: {0}.x\n",
                data.display()
            );
            put(bench.litestream.configuration.clone(), &text)
        },
        line: "WRONG litestream.yml Litestream's configuration names a directory (dir:), whose \
         databases can't be checked, \
               verified or mended: DEVICE/litestream/litestream.yml (line 2)",
        remedy: "name each database by path: in DEVICE/litestream/litestream.yml",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamExecutes,
        given: |bench| rewritten(bench, "dbs:\n", "exec: /usr/bin/application\ndbs:\n"),
        line: "warning litestream.yml Litestream runs a program (exec:), which is restarted with \
         it at each rotation: \
               DEVICE/litestream/litestream.yml (line *)",
        remedy: "let systemd run the program, and take exec: out of \
         DEVICE/litestream/litestream.yml; or use \
                 EDGEROTATE_DELIVERY=endpoint",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamVersionBad,
        given: |bench| {
            // Its version alone is another one.
            let script = bench.path("litestream-of-old");
            let real = bench.litestream.generation.program();
            let text = format!(
                "#!/bin/sh\n[ \"$1\" = version ] && echo 0.5.6 && exit\nexec {} \"$@\"\n",
                real.display()
            );
            fs::write(&script, text).unwrap();
            chmod(script, 0o755)
        },
        settings: &[("LITESTREAM", "DEVICE/litestream-of-old")],
        line: "warning Litestream this version of Litestream is known to lose rows, to stop, or to \
         lack what mends a \
               replica: it stops reading when the WAL begins anew (*)",
        remedy: "install 0.5.9 or later, or 0.3.13",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamOtherDatabase,
        code: 78,
        given: |bench| rewritten(bench, "device.db", "other.db"),
        line: "WRONG litestream.yml Litestream's configuration does not name the heartbeat's \
         database: \
               DEVICE/litestream/litestream.yml names DEVICE/data/other.db, not \
               DEVICE/data/device.db",
        remedy: "write the path in EDGEROTATE_DATABASE into DEVICE/litestream/litestream.yml, \
         letter by letter",
        ..CASE
    },
    Case {
        finding: Finding::NotReplicated,
        settings: &[("GUARD_DATABASES", "DEVICE/data/app.db")],
        line: "warning litestream.yml a database in EDGEROTATE_GUARD_DATABASES is not in \
         Litestream's configuration: \
               DEVICE/data/app.db",
        remedy: "name it in DEVICE/litestream/litestream.yml, or take it out of \
         EDGEROTATE_GUARD_DATABASES",
        ..CASE
    },
    Case {
        finding: Finding::NotGuarded,
        given: |bench| {
            let device = bench.database.display();
            let app = bench.path("data/app.db");
            let entry = format!(
                "dbs:\n  - path: {}\n    replica:\n        type: file\n        path: {device}.x\n",
                app.display()
            );
            rewritten(bench, "dbs:\n", &entry)
        },
        line: "warning litestream.yml a database that Litestream replicates is not guarded while \
         it restarts: \
               DEVICE/data/app.db",
        remedy: "name it in EDGEROTATE_GUARD_DATABASES: a restart of Litestream 0.5 can lose rows \
         of it",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamNotSeen,
        by: By::Mounts("mount -t tmpfs tmpfs /run"),
        settings: &[("LITESTREAM_PID_FILE", "")],
        line: "warning Litestream runs whether Litestream runs can't be seen here",
        remedy: "where there is no systemd, set EDGEROTATE_LITESTREAM_PID_FILE",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamNotRunning,
        code: 69,
        settings: &[HURRY],
        given: |bench| {
            let written = handed_over(bench);
            // Past the time that a restart may take.
            thread::sleep(Duration::from_millis(1100));
            written
        },
        line: "WRONG Litestream runs Litestream does not run, so nothing is replicated: \
         DEVICE/litestream/pid",
        remedy: "systemctl start litestream (or what EDGEROTATE_LITESTREAM_UNIT names), and see \
         its log: journalctl -u \
                 litestream",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamRestarting,
        // A busy machine is within it, too.
        settings: &[("RESTART_TIMEOUT", "10min")],
        given: handed_over,
        line: "warning Litestream runs Litestream is being restarted: DEVICE/litestream/pid",
        remedy: "look again in a minute: edgerotate goes on until it runs with the newest \
         credentials",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamNoCredentials,
        code: 69,
        settings: &[HURRY],
        given: |bench| started_with(bench, "X=1\n", "AWS_ACCESS_KEY_ID=ASIA1\n"),
        line: "WRONG Litestream runs Litestream runs without the environment file: process *",
        remedy: "write EnvironmentFile=MEMORY/litestream.env into its unit (systemctl edit \
         litestream), then restart it",
        ..CASE
    },
    Case {
        finding: Finding::LitestreamOtherCredentials,
        code: 69,
        settings: &[HURRY],
        given: |bench| {
            started_with(bench, "AWS_ACCESS_KEY_ID=ASIA1\n", "AWS_ACCESS_KEY_ID=ASIA2\n")
        },
        line: "WRONG Litestream runs Litestream runs with other credentials than the environment \
         file has: process *",
        remedy: "systemctl restart litestream; if it comes again, see that \
         EDGEROTATE_RESTART_COMMAND restarts this \
                 Litestream and its unit reads MEMORY/litestream.env",
        ..CASE
    },
];
