//! Directories, files, and who may do what with them.

use std::{fs, os::unix::fs::PermissionsExt};

use edgerotate::problems::finding::Finding;

use crate::{
    cases::{CASE, Case},
    harness::{By, Mend, chmod, put},
};

pub const CASES: &[Case] = &[
    Case {
        finding: Finding::DaemonNotRunning,
        line: "warning daemon edgerotate does not run",
        remedy: "journalctl -u edgerotate says why it ended; systemctl start edgerotate starts it",
        ..CASE
    },
    Case {
        finding: Finding::DaemonNotUp,
        code: 69,
        by: By::Mounts(crate::gate::BOOTED),
        arguments: &["--gate", "--patience", "0"],
        line: "WRONG daemon edgerotate.service is there, and edgerotate does not come up: it does \
         not run",
        remedy: "systemctl status edgerotate and journalctl -b -u edgerotate say why; \
         systemd-analyze verify \
                 edgerotate.service finds a broken unit",
        ..CASE
    },
    Case {
        finding: Finding::RunningUnknown,
        by: By::Nobody,
        code: 69,
        line: "WRONG daemon it can't be told whether edgerotate runs: *Permission denied*",
        remedy: "run it as the daemon's user, where all of /proc is mounted (no ProcSubset=pid)",
        ..CASE
    },
    Case {
        finding: Finding::OtherUser,
        by: By::Nobody,
        code: 69,
        line: "warning daemon this is not the daemon's user, so what only that one may not do is \
         not seen: nobody, and \
               it is root",
        remedy: "run it as that user: sudo -u root edgerotate check, or as root runuser -u root -- \
         edgerotate check",
        ..CASE
    },
    Case {
        finding: Finding::DirectoryMissing,
        code: 69,
        settings: &[("STATE_DIRECTORY", "DEVICE/nowhere")],
        line: "WRONG state directory a directory of edgerotate's is not there: DEVICE/nowhere (No \
         such file or directory)",
        remedy: "start edgerotate.service once, which makes it; or make it for the user that runs \
         edgerotate: install -d \
                 -m 700 -o * DEVICE/nowhere",
        ..CASE
    },
    Case {
        finding: Finding::DirectoryNotUsable,
        code: 69,
        by: By::Nobody,
        line: "WRONG state directory a directory of edgerotate's can't be written: DEVICE/state \
         (Permission denied)",
        remedy: "run check as the daemon's user; if it is that one, give it the directory: chown \
         -R root DEVICE/state",
        ..CASE
    },
    Case {
        finding: Finding::DirectoryFull,
        code: 69,
        by: By::Mounts(
            "mkdir DEVICE/full 2>&-; mount -t tmpfs -o size=64k,mode=700 tmpfs DEVICE/full && \
             { dd if=/dev/zero of=DEVICE/full/journal bs=4k status=none 2>&- || :; }",
        ),
        settings: &[("RUNTIME_DIRECTORY", "DEVICE/full")],
        line: "WRONG runtime directory the file system of a directory of edgerotate's is full: \
         DEVICE/full",
        remedy: "make room there (df DEVICE/full says how much there is): what is kept in it can't \
         be replaced, the \
                 credentials among it",
        ..CASE
    },
    Case {
        finding: Finding::SecretReadable,
        code: 77,
        given: |bench| chmod(bench.token.pin_file.clone(), 0o644),
        line: "WRONG PIN file every user of this device can read a secret: DEVICE/token/pin",
        remedy: "chmod o= DEVICE/token/pin",
        ..CASE
    },
    Case {
        finding: Finding::WritableByAll,
        code: 77,
        given: |bench| chmod(bench.certificate.path.clone(), 0o666),
        line: "WRONG certificate file every user of this device can replace it: DEVICE/device.pem",
        remedy: "chmod o-w DEVICE/device.pem",
        ..CASE
    },
    // Whoever may write the directory may put another file in its place.
    Case {
        finding: Finding::WritableByAll,
        code: 77,
        given: |bench| chmod(bench.token.pin_file.parent().unwrap().to_owned(), 0o777),
        line: "WRONG PIN file every user of this device can replace it: DEVICE/token",
        remedy: "chmod o-w DEVICE/token",
        ..CASE
    },
    Case {
        finding: Finding::SecretsOnFlash,
        settings: &[("RUNTIME_DIRECTORY", "DEVICE/run")],
        line: "warning runtime directory credentials are kept on storage, which remembers them: \
         DEVICE/run",
        remedy: "put DEVICE/run below /run, which is tmpfs",
        ..CASE
    },
    Case {
        finding: Finding::StateOnTmpfs,
        settings: &[("STATE_DIRECTORY", "MEMORY")],
        line: "warning state directory the marks of a refused PIN and of a suspect replica are \
         gone after a reboot: MEMORY",
        remedy: "set EDGEROTATE_STATE_DIRECTORY to a directory on the data partition",
        ..CASE
    },
    Case {
        finding: Finding::EnvironmentFileMissing,
        line: "warning environment file no credentials have been handed over yet: \
         MEMORY/litestream.env (No such file or \
               directory)",
        remedy: "see that the daemon runs and what keeps it from credentials, in the lines above",
        ..CASE
    },
    Case {
        finding: Finding::EnvironmentFileNotReadable,
        code: 69,
        by: By::Nobody,
        settings: &[("ENVIRONMENT_FILE", "DEVICE/token/other.env")],
        given: |bench| {
            let path = bench.path("token/other.env");
            let written = put(path.clone(), "AWS_ACCESS_KEY_ID=x\n");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            let passable = chmod(bench.path("token"), 0o755);
            Mend::by(move || drop((written, passable)))
        },
        line: "warning environment file the environment file can't be read by this user: \
         DEVICE/token/other.env \
               (Permission denied)",
        remedy: "run check as the daemon's user or as root",
        ..CASE
    },
    Case {
        finding: Finding::MarkNotRemoved,
        code: 77,
        arguments: &["--pin-changed"],
        given: |bench| {
            // Not even root removes a directory as if it were a file.
            let mark = bench.state_directory.join("pin-refused");
            fs::create_dir(&mark).unwrap();
            Mend::by(move || fs::remove_dir(mark).unwrap())
        },
        line: "WRONG PIN the mark of a refused PIN can't be removed: DEVICE/state/pin-refused (Is \
         a directory)",
        remedy: "run check --pin-changed as root or as the daemon's user; or remove \
         DEVICE/state/pin-refused",
        ..CASE
    },
];
