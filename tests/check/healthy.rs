//! A device on which all is well: with a daemon, whose token is left alone, and without one; and
//! nothing is changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    harness::{Bench, By},
    support::{
        Generation, SOON,
        secrets::{Secrets, files_below},
    },
};

#[test]
fn with_a_daemon_all_is_well_and_its_token_is_left_alone() {
    for generation in Generation::BOTH {
        let mut bench = Bench::running("daemon", generation);
        let fetches = bench.cloud.fetches();
        let answer = bench.check(&[]);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(answer.text.ends_with("\nall is well\n"), "{}", answer.text);
        assert!(
            answer.text.lines().rev().skip(1).all(|line| line.starts_with("ok ")),
            "{}",
            answer.text
        );
        answer.assert_has(
            "ok daemon it runs as process *; what it found of token and provider is used",
        );
        answer.assert_has("ok key it signs (by the daemon, * s ago)");
        answer.assert_has(
            "ok role alias edgerotate-role-alias: credentials came (by the daemon, * s ago)",
        );
        answer.assert_has("ok Litestream runs process *, with what is in MEMORY/litestream.env");
        assert_eq!(bench.cloud.fetches(), fetches, "the daemon has asked already");

        // Who has put another certificate there wants to know of that one.
        fs::copy(&bench.certificate.path, bench.path("copy.pem")).unwrap();
        fs::rename(bench.path("copy.pem"), &bench.certificate.path).unwrap();
        let answer = bench.check(&[]);
        assert_eq!(answer.code, 0, "{answer:?}");
        answer.assert_has(
            "ok daemon it runs as process *; settings or files have changed since it asked, so \
             token and provider are \
             asked here",
        );
        answer.assert_has("ok key EC, 256 bits; it signs");
        assert_eq!(bench.cloud.fetches(), fetches + 1);

        let answer = bench.check_as(By::Owner, &[], &[("ROLE_ALIAS", "another")]);
        answer.assert_has(
            "ok daemon it runs as process *; it has other settings, so token and \
         provider are asked here",
        );
        assert_eq!(answer.code, 78, "{answer:?}");
        bench.stop();
    }
}

#[test]
fn what_the_daemon_can_t_do_is_taken_from_it() {
    let mut bench = Bench::new("failing", Generation::V05);
    bench.set("ROLE_ALIAS", "another");
    bench.start();
    bench.wait_for_problem("[role-alias-missing;", SOON);
    bench.wait_for_record(|record| record["fetch"]["failure"]["cause"] == "role-alias-missing");
    let asked = bench.cloud.requests().len();
    let answer = bench.check(&[]);
    assert_eq!(answer.code, 78, "{answer:?}");
    answer.assert_has("ok key it can be opened (by the daemon, * s ago)");
    answer.assert_has(
        "WRONG role alias the provider knows no such role alias: HTTP 404, Role alias does not \
         exist, * (by the daemon, * s \
         ago) [role-alias-missing]",
    );
    answer.assert_has(
        "-> check EDGEROTATE_ROLE_ALIAS, and that the alias is in the endpoint's account and \
         region",
    );
    assert_eq!(bench.cloud.requests().len(), asked);
    bench.stop();
}

#[test]
fn without_a_daemon_the_provider_is_asked_once() {
    let bench = Bench::new("alone", Generation::V03);
    let answer = bench.check(&[]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(bench.cloud.fetches(), 1);
    answer.assert_has("ok role alias edgerotate-role-alias: credentials for 3599 s came");
    answer.assert_has("ok database DEVICE/data/device.db is not there yet; the daemon makes it");
    assert!(answer.text.ends_with("\n2 to look at, 2 not reached\n"), "{}", answer.text);
    // No lock of the token's that nobody has made, and of the PIN only that it is good.
    let left = [&bench.runtime_directory, &bench.state_directory].map(|d| files_below(d));
    let names: Vec<_> =
        left.concat().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["pin-accepted"]);
}

/// Every file below a directory, with what is in it.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files_below(directory).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn nothing_is_changed_and_nothing_left_behind() {
    let mut bench = Bench::running("traces", Generation::V05);
    bench.wait_until("a heartbeat", SOON, |device| !device.rows().is_empty());
    bench.stop();
    bench.litestream.stop();
    // As a clean shutdown of an application leaves it: no -wal, no -shm.
    let connection = rusqlite::Connection::open(&bench.database).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(connection);
    let [wal, shm] =
        ["-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", bench.database.display())));
    assert!(!wal.exists() && !shm.exists());

    let places = ["data", "state", "litestream"].map(|name| bench.path(name));
    let look = |bench: &Bench| {
        let mut all: Vec<_> = places.iter().map(|place| contents(place)).collect();
        all.push(contents(&bench.runtime_directory));
        all
    };
    let before = look(&bench);
    for arguments in [&[][..], &["--json"], &["--gate", "--patience", "0"], &["--config-only"]] {
        bench.check(arguments);
        let after = look(&bench);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(
                before.keys().collect::<Vec<_>>(),
                after.keys().collect::<Vec<_>>(),
                "{arguments:?}"
            );
            assert!(before == after, "{arguments:?} changed a file");
        }
    }
}

#[test]
fn a_running_application_keeps_its_wal() {
    let bench = Bench::new("wal", Generation::V05);
    let connection = rusqlite::Connection::open(&bench.database).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT \
         INTO t VALUES (1)",
        )
        .unwrap();
    let wal = PathBuf::from(format!("{}-wal", bench.database.display()));
    let before = fs::read(&wal).unwrap();
    let answer = bench.check(&[]);
    answer.assert_has("ok database DEVICE/data/device.db: it can be written; WAL, *, read through");
    answer.assert_has("ok guard DEVICE/data/device.db can be guarded");
    assert!(fs::read(&wal).unwrap() == before, "no checkpoint, no write");
}

#[test]
fn no_secret_is_shown() {
    let mut bench = Bench::running("secrets", Generation::V05);
    let uri = format!("pkcs11:token=device;object=device-key?pin-value={}", bench.token.pin());
    bench.environment.insert("EDGEROTATE_PRIVATE_KEY".to_owned(), uri);
    // Newer than what the daemon found, so that it is asked anew.
    fs::copy(&bench.certificate.path, bench.path("copy.pem")).unwrap();
    fs::rename(bench.path("copy.pem"), &bench.certificate.path).unwrap();
    let mut seen = Vec::new();
    for (arguments, settings) in [
        (&[][..], &[][..]),
        (&["--json"], &[]),
        (&["--json"], &[("PKCS11_PIN_FILE", "")]),
        (&["--gate", "--patience", "0"], &[("PKCS11_PIN_FILE", "")]),
        (&[], &[("PKCS11_PIN_FILE", ""), ("ROLE_ALIAS", "another")]),
        (&["--config-only"], &[]),
    ] {
        let answer = bench.check_as(By::Owner, arguments, settings);
        seen.extend([answer.text, answer.errors].concat().into_bytes());
    }
    let secrets = Secrets::of(&bench);
    assert!(secrets.len() >= 7, "the PIN, the daemon's own credentials, and those of two checks");
    secrets.assert_none_in("what check printed", &seen);
    bench.stop();
}

/// However long an old one takes to stop, as far as the daemon gives it time.
#[test]
fn a_litestream_in_the_middle_of_its_restart_is_no_fault() {
    let mut bench = Bench::new("restart", Generation::V05);
    bench.set("RESTART_TIMEOUT", "10min");
    bench.litestream.hold_starts();
    bench.start();
    bench.wait_until("Litestream's start", SOON, |device| device.litestream.waits_to_start());
    let answer = bench.check(&[]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    answer.assert_has(
        "warning Litestream runs Litestream is being restarted: DEVICE/litestream/pid \
         [litestream-restarting]",
    );
    bench.litestream.allow_starts();
    bench.wait_for_log("restart success litestream", SOON);
    let answer = bench.check(&[]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    answer.assert_has("ok Litestream runs process *, with what is in MEMORY/litestream.env");
    bench.stop();
}

/// It stands in the daemon's record until the daemon looks for its mark again.
#[test]
fn a_refusal_that_was_taken_back_is_not_repeated() {
    let mut bench = Bench::new("taken-back", Generation::V05);
    let pin = bench.token.pin().to_owned();
    bench.token.change_pin(&pin, "1357924680");
    bench.start();
    bench.wait_for_record(|record| record["fetch"]["failure"]["cause"] == "pin-incorrect");
    bench.check(&[]).assert_has("WRONG PIN * [pin-incorrect]");
    // Not the file was wrong, but the token.
    bench.token.change_pin("1357924680", &pin);
    bench.check(&["--pin-changed"]).assert_has("ok PIN the token takes it*");
    bench.check(&[]).assert_has("ok PIN the token takes it*");
    bench.stop();
}
