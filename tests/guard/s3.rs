//! What S3 answers, what the control socket is told, and what is deleted: the guard trusts no
//! moment of it.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{
    application::Application,
    harness::{LET_GO, LONG, assert_whole, end_rotations, suspect, under_steps},
    support::{Device, Generation, SOON, process::run},
};

/// S3 refuses for as long as some tries of Litestream take, from before a restart on. Each answer
/// comes late, as over LTE.
fn refused_over_a_restart(name: &str, generation: Generation, answer: &Value) {
    let mut device = Device::new(name, generation, std::time::Duration::from_secs(20));
    let application = Application::new(&mut device, "app.db");
    let path = application.path.clone();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    device.start();
    device.wait_for_log_times(LET_GO, 2, 2 * SOON);
    under_steps(application, || {
        for _ in 0..2 {
            device.cloud.s3_fault(answer);
            let restarts = device.litestream.restarts();
            device.wait_until("a restart", 2 * SOON, |d| d.litestream.restarts() > restarts);
            let rows = device.rows().len();
            device.wait_until("some tries", 2 * SOON, |device| device.rows().len() > rows + 40);
            device.cloud.heal();
            let uploads = device.cloud.uploads().len();
            device.wait_until("an upload", 4 * SOON, |d| d.cloud.uploads().len() > uploads);
        }
        end_rotations(&device);
    });
    assert_whole(&device, &[&path]);
    assert_eq!(suspect(&device), "", "{:#?}", device.problems());
    device.stop();
}

#[test]
fn an_s3_that_refuses_over_a_restart_loses_nothing() {
    for generation in Generation::BOTH {
        let answer = json!({"status": 403, "code": "AccessDenied", "delay_s": 0.6});
        refused_over_a_restart("refused", generation, &answer);
    }
}

#[test]
fn an_s3_for_which_the_token_has_expired_over_a_restart_loses_nothing() {
    let answer = json!({"status": 400, "code": "ExpiredToken", "delay_s": 0.6});
    refused_over_a_restart("expired", Generation::V05, &answer);
}

/// `litestream stop` and `start` of one database, again and again.
#[test]
fn a_database_that_is_stopped_at_the_control_socket_is_guarded() {
    let mut device = Device::new("socket", Generation::V05, LONG);
    let application = Application::new(&mut device, "app.db");
    device.set("GUARD_DATABASES", application.path.to_str().unwrap());
    let socket = device.scratch.join("control.sock");
    let text = fs::read_to_string(&device.litestream.configuration).unwrap();
    let text = format!("socket:\n  enabled: true\n  path: {}\n{text}", socket.display());
    fs::write(&device.litestream.configuration, text).unwrap();
    device.start();
    device.wait_for_log_times(LET_GO, 2, SOON);
    let control = |what: &str| {
        let mut command = Command::new(Generation::V05.program());
        run(command.arg(what).arg("-socket").arg(&socket).arg(&application.path));
    };
    let guarded = "app.db: guarded";
    for _ in 0..6 {
        application.write(100);
        let (before, held) = (device.count_in_log(guarded), device.count_in_log(LET_GO));
        control("stop");
        device.wait_for_log_times(guarded, before + 1, SOON);
        application.overwrite_the_wal();
        control("start");
        device.wait_for_log_times(LET_GO, held + 1, SOON);
    }
    assert_whole(&device, &[&application.path]);
    assert_eq!(suspect(&device), "", "{:#?}", device.problems());
    device.stop();
}

/// Litestream reads the database no more, and keeps its lock.
#[test]
fn a_litestream_whose_directory_was_deleted_is_restarted() {
    let mut device = Device::new("deleted", Generation::V05, LONG);
    device.set("VERIFY_MAX_LAG", "10s");
    let application = Application::new(&mut device, "app.db");
    device.set("GUARD_DATABASES", application.path.to_str().unwrap());
    device.start();
    device.wait_for_log_times(LET_GO, 2, SOON);
    let starts = device.litestream.starts().len();
    fs::remove_dir_all(device.database.with_file_name(".app.db-litestream")).unwrap();
    application.write(20);
    let line =
        device.wait_for_problem("reads nothing of what is written; it is restarted", 4 * SOON);
    assert!(line.contains("app.db"), "{line}");
    device.wait_until("the restart", SOON, |d| d.litestream.starts().len() > starts);
    assert_whole(&device, &[&application.path]);
    assert_eq!(suspect(&device), "", "{:#?}", device.problems());
    device.stop();
}

/// With `endpoint` no rotation restarts Litestream.
#[test]
fn a_litestream_that_keeps_to_an_exchanged_file_is_restarted() {
    let mut device = Device::new("kept-file", Generation::V05, LONG);
    let old = Application::new(&mut device, "listed.db");
    let path = old.path.clone();
    device.set("GUARD_DATABASES", path.to_str().unwrap());
    device.mend_at_starts();
    device.start();
    device.wait_for_log_times(LET_GO, 2, SOON);
    let starts = device.litestream.starts().len();
    let backup = device.scratch.join("data/backup.db");
    let into = format!("VACUUM INTO '{}'", backup.display());
    crate::support::database::open(&path).unwrap().execute_batch(&into).unwrap();
    crate::support::database::open(&backup)
        .unwrap()
        .execute_batch("PRAGMA journal_mode = WAL")
        .unwrap();
    drop(old);
    for suffix in ["db-wal", "db-shm"] {
        fs::remove_file(path.with_extension(suffix)).ok();
    }
    fs::rename(&backup, &path).unwrap();
    device.wait_for_problem("Litestream keeps to the file that was there before", SOON);
    device.wait_until("the restart", SOON, |d| d.litestream.starts().len() > starts);
    device.wait_until("the mark to go", 2 * SOON, |device| suspect(device).is_empty());
    assert_whole(&device, &[&path]);
    device.stop();
}
