//! Replicas that are whole, have holes, are another device's, or can't be put together.

use std::{fs, path::Path};

use rusqlite::Connection;
use serde_json::json;

use crate::{
    harness::{
        device, litestream, objects, replicate, rewrite, start_litestream, table, verified, verify,
        wait_until_uploaded, write,
    },
    support::{
        Device, Generation, Process, SOON, database, process::run, secrets::files_below, wait_until,
    },
};

#[test]
fn a_replica_with_every_row_is_whole() {
    for generation in Generation::BOTH {
        let mut device = device("whole", generation);
        write(&device, 1_700_000_000..=1_700_000_049);
        replicate(&mut device);

        let answer = verify(&device, &[]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let first = answer.text.lines().next().unwrap();
        assert_eq!(first, "whole: 50 heartbeats, up to id 1700000049, none missing in the replica");

        let (_, json) = verified(&device);
        assert_eq!(json["verdict"], "whole");
        assert_eq!(json["restored"]["rows"], 50);
        assert_eq!(json["restored"]["first_id"], 1_700_000_000);
        assert_eq!(json["restored"]["last_id"], 1_700_000_049);
        assert_eq!(json["restored"]["integrity"], "ok");
        assert_eq!(json["missing"]["rows"], 0);
        assert_eq!(json["newer_rows"], 0);
        assert_eq!(json["litestream"], generation.version());
        assert_eq!(json["remedy"], json!(null));
    }
}

/// The daemon marks a replica that may lack rows; a proof takes the mark back, and nothing less
/// does.
#[test]
fn a_proof_takes_the_mark_of_a_suspect_replica_back() {
    let mut device = device("mark", Generation::V05);
    write(&device, 1_700_000_000..=1_700_000_019);
    replicate(&mut device);
    let mark = device.state_directory.join("suspect");
    let reasons = json!([{"since": "2026-01-01T00:00:00Z", "what": "made up by the test"}]);
    let marked = json!({"databases": {device.database.to_str().unwrap(): reasons}});
    fs::write(&mark, marked.to_string()).unwrap();

    replace_replica(&device, "DELETE FROM HealthCheck WHERE id = 1700000005");
    let (_, json) = verified(&device);
    assert_eq!(json["suspect"], "stays");
    assert!(mark.exists());

    // Nothing is missing of what is old enough to be asked for. What Litestream makes of the rest
    // nobody knows.
    new_snapshot(&device);
    write(&device, 1_700_000_020..=1_700_000_021);
    let (_, json) = verified(&device);
    assert_eq!((&json["verdict"], &json["suspect"]), (&json!("whole"), &json!("stays")));
    assert!(mark.exists());

    new_snapshot(&device);
    let (_, json) = verified(&device);
    assert_eq!(json["suspect"], "taken-back");
    assert!(!mark.exists());
    let (_, json) = verified(&device);
    assert_eq!(json["suspect"], "no");
}

/// The daemon's mark, and what is run before Litestream starts: nobody has to do anything.
#[test]
fn a_suspect_replica_with_a_hole_is_whole_after_litestream_s_next_start() {
    for generation in Generation::BOTH {
        let mut device = device("mended", generation);
        write(&device, 1..=50);
        let mut command = litestream(&device);
        command.args(["replicate", "-config"]).arg(&device.litestream.configuration);
        let log = device.scratch.join("first.log");
        let mut replicator = Process::start("litestream", &mut command, &log);
        wait_until_uploaded(&device);
        replicator.terminate(SOON);
        replace_replica(&device, "DELETE FROM HealthCheck WHERE id BETWEEN 20 AND 24");
        let (_, json) = verified(&device);
        assert_eq!(json["verdict"], "rows-missing");
        let mark = device.state_directory.join("suspect");
        let reasons = json!([{"since": "2026-01-01T00:00:00Z", "what": "made up by the test"}]);
        let marked = json!({"databases": {device.database.to_str().unwrap(): reasons}});
        fs::write(&mark, marked.to_string()).unwrap();

        device.mend_at_starts();
        device.start();
        // 0.3 makes it while it runs: that is proven below.
        let is_proven_at_once = generation == Generation::V05;
        let said =
            if is_proven_at_once { "a new snapshot was made" } else { "begins a new generation" };
        device.wait_for_log(said, 2 * SOON);
        if is_proven_at_once {
            device.wait_until("the mark to be taken back", SOON, |_| !mark.exists());
        } else {
            device.wait_for_log("holds its own read lock", SOON);
            assert!(fs::read_to_string(&mark).unwrap().contains(said));
        }
        let rows = device.rows();
        device.litestream.restore_whole(&device.scratch.join("restored.db"), &rows, 2 * SOON);
        device.stop();
        let (answer, json) = verified(&device);
        assert_eq!(json["verdict"], "whole", "{answer:?}");
        assert_eq!(json["missing"]["rows"], 0);
        assert!(!mark.exists(), "{answer:?}");
    }
}

#[test]
fn rows_that_were_pruned_or_are_on_their_way_are_not_missing() {
    for generation in Generation::BOTH {
        let mut device = device("pruned", generation);
        write(&device, 1..=40);
        replicate(&mut device);
        table(&device.database).execute("DELETE FROM HealthCheck WHERE id <= 10", ()).unwrap();
        write(&device, 41..=45);
        let (answer, json) = verified(&device);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        assert_eq!((&json["restored"]["rows"], &json["newer_rows"]), (&json!(40), &json!(5)));
    }
}

#[test]
fn holes_are_named_and_a_new_snapshot_mends_them() {
    for generation in Generation::BOTH {
        let mut device = device("holes", generation);
        write(&device, 1..=50);
        replicate(&mut device);
        let doctored = "DELETE FROM HealthCheck WHERE id BETWEEN 20 AND 24 OR id = 31";
        replace_replica(&device, doctored);

        let answer = verify(&device, &[]);
        assert_eq!(answer.code, Some(65), "{answer:?}");
        let first = answer.text.lines().next().unwrap();
        assert_eq!(first, "ROWS MISSING: 6 of 50 heartbeats are not in the replica: 20-24, 31");
        let (_, json) = verified(&device);
        assert_eq!(json["verdict"], "rows-missing");
        assert_eq!(
            json["missing"],
            json!({"rows": 6, "ranges": 2, "first_ranges": [[20, 24], [31, 31]]})
        );
        assert_eq!(json["restored"]["integrity"], "ok");

        new_snapshot(&device);
        let (answer, json) = verified(&device);
        assert_eq!(json["verdict"], "whole", "{answer:?}");
    }
}

#[test]
fn a_hole_in_another_table_of_the_same_database_is_found() {
    for generation in Generation::BOTH {
        let mut device = device("tables", generation);
        table(&device.database)
            .execute_batch(
                "CREATE TABLE samples (id INTEGER PRIMARY KEY, value TEXT);
                 CREATE TABLE pairs (a TEXT, b TEXT);
                 CREATE TABLE named (name TEXT PRIMARY KEY) WITHOUT ROWID;
                 INSERT INTO pairs VALUES ('a', 'new');",
            )
            .unwrap();
        write(&device, 1..=10);
        for id in 1..=60 {
            table(&device.database).execute("INSERT INTO samples VALUES (?1, 'x')", [id]).unwrap();
        }
        replicate(&mut device);
        let answer = verify(&device, &[]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        assert!(answer.text.contains("nothing missing in named, pairs, samples"), "{answer:?}");

        // A row that holds what it held before may still be uploaded: no heartbeat came after it.
        replace_replica(&device, "UPDATE pairs SET b = 'old'");
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(75), &json!("too-early")), "{json}");
        let lacks = json["summary"].as_str().unwrap();
        assert!(lacks.ends_with("not have the content of 1 row of pairs: 1"), "{lacks}");

        // The heartbeats are all there: the hole fell between two of them.
        let hole = "UPDATE pairs SET b = 'new'; DELETE FROM samples WHERE id BETWEEN 30 AND 49";
        replace_replica(&device, hole);
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(65), &json!("rows-missing")), "{json}");
        assert_eq!(json["missing"]["rows"], 0);
        assert_eq!(json["tables"][2]["table"], "samples");
        assert_eq!(
            json["tables"][2]["missing"],
            json!({"rows": 20, "ranges": 1, "first_ranges": [[30, 49]]})
        );
        assert!(json["summary"].as_str().unwrap().ends_with("not 20 rows of samples: 30-49"));

        // While heartbeats wait for the replica, a doubt stays one.
        write(&device, 11..=12);
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["verdict"]), (Some(75), &json!("too-early")), "{answer:?}");

        new_snapshot(&device);
        let (answer, json) = verified(&device);
        assert_eq!(json["verdict"], "whole", "{answer:?}");
    }
}

#[test]
fn rows_of_another_device_are_no_proof() {
    let mut device = device("other", Generation::V05);
    write(&device, 1..=30);
    replicate(&mut device);
    replace_replica(
        &device,
        "DELETE FROM HealthCheck WHERE id > 10; INSERT INTO HealthCheck (id) VALUES (90), (91), \
         (95)",
    );
    let (answer, json) = verified(&device);
    assert_eq!((answer.code, &json["verdict"]), (Some(65), &json!("other-database")), "{answer:?}");
    assert_eq!(json["foreign"]["first_ranges"], json!([[90, 91], [95, 95]]));
}

#[test]
fn a_replica_that_cannot_be_put_together_is_a_loss() {
    for generation in Generation::BOTH {
        let mut device = device("torn", generation);
        // One object after the other, so that one can be spoilt between two others.
        start_litestream(&device);
        for id in 1..=4 {
            write(&device, id..=id);
            wait_until_uploaded(&device);
        }
        device.litestream.stop();
        for object in files_below(&objects(&device)) {
            let mut bytes = fs::read(&object).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            fs::write(&object, bytes).unwrap();
        }
        let (answer, json) = verified(&device);
        assert_eq!(
            (answer.code, &json["verdict"]),
            (Some(65), &json!("not-restorable")),
            "{answer:?}"
        );
    }
}

#[test]
fn it_says_which_databases_it_proves_nothing_about() {
    let mut device = device("several", Generation::V05);
    write(&device, 1..=5);
    let application = device.scratch.join("data/app.db");
    table(&application);
    rewrite(
        &device.litestream.configuration,
        "dbs:\n",
        &format!(
            "dbs:\n  - path: {}\n    replica: {{type: file, path: {}}}\n",
            application.display(),
            device.scratch.join("elsewhere").display()
        ),
    );
    replicate(&mut device);
    // One that is guarded is not in litestream.yml: it is guarded for nothing.
    let forgotten = device.scratch.join("forgotten.db");
    device.set("GUARD_DATABASES", forgotten.to_str().unwrap());
    let answer = verify(&device, &[]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let line = answer.text.lines().find(|line| line.contains("not looked at")).unwrap();
    assert!(line.ends_with(&format!(" {}", application.display())), "{line}");
    let line = answer.text.lines().find(|line| line.contains("no replica")).unwrap();
    assert!(line.contains("forgotten.db (in EDGEROTATE_GUARD_DATABASES, but"), "{line}");
    let (_, json) = verified(&device);
    assert_eq!(json["not_proven"], json!([application]));
    assert_eq!(json["not_replicated"], json!([forgotten]));
}

/// Puts another database's replica where this device's was: what was restored, after `sql`.
fn replace_replica(device: &Device, sql: &str) {
    let copy = device.scratch.join("doctored.db");
    device.litestream.restore(&copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    fs::remove_dir_all(objects(device)).unwrap();

    let configuration = device.scratch.join("doctored.yml");
    fs::copy(&device.litestream.configuration, &configuration).unwrap();
    let path = |path: &Path| format!("path: {}\n", path.display());
    rewrite(&configuration, &path(&device.database), &path(&copy));
    let log = device.scratch.join("doctored.log");
    let mut command = litestream(device);
    command.args(["replicate", "-config"]).arg(&configuration);
    let mut replicator = Process::start("litestream", &mut command, &log);
    let restored = device.scratch.join("look.db");
    wait_until("the other replica", 2 * SOON, || {
        device.litestream.restore(&restored).is_ok()
            && database::rows(&restored) == database::rows(&copy)
    });
    replicator.terminate(SOON);
}

/// What the verdict advises, for either generation.
fn new_snapshot(device: &Device) {
    match device.litestream.generation {
        Generation::V05 => {
            let mut command = litestream(device);
            command.args(["replicate", "-once", "-force-snapshot", "-config"]);
            run(command.arg(&device.litestream.configuration));
        }
        Generation::V03 => {
            let metadata = device.database.with_file_name(".device.db-litestream");
            fs::remove_dir_all(metadata).unwrap();
            let mut command = litestream(device);
            command.args(["replicate", "-config"]).arg(&device.litestream.configuration);
            let log = device.scratch.join("again.log");
            let mut replicator = Process::start("litestream", &mut command, &log);
            wait_until_uploaded(device);
            replicator.terminate(SOON);
        }
    }
}
