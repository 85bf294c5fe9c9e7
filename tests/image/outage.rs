//! What a device goes through: no cloud, nothing provisioned, processes killed and stuck, the power gone.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use serde_json::json;

use crate::{
    machine::{Machine, THING},
    support::{Generation, SOON, wait_until},
};

/// The credentials that Litestream runs with, from its environment.
fn litestream_has(machine: &Machine) -> Option<String> {
    let pid = machine.show("litestream.service", "MainPID");
    let environment = machine.shell(&format!("tr '\\0' '\\n' </proc/{pid}/environ")).1;
    environment.lines().find_map(|line| line.strip_prefix("AWS_ACCESS_KEY_ID=")).map(str::to_owned)
}

fn wait_for_newest(machine: &Machine) {
    machine.wait_until("a Litestream with the newest credentials", 4 * SOON, |machine| {
        litestream_has(machine)
            == machine.cloud.issued().last().map(|issued| issued.access_key_id.clone())
    });
}

#[test]
fn a_device_boots_without_a_cloud_and_uploads_once_there_is_one() {
    let Some(mut machine) = crate::machine("no-cloud", Generation::V05) else { return };
    machine.cloud.stop();
    machine.boot();
    machine.wait_for_log("sqlite3 write success", 1);
    machine
        .wait_for_log("update credential failed (4 times in a row): the connection was refused", 1);
    // It waits for the credentials, and has not failed.
    assert_eq!(machine.show("edgerotate.service", "SubState"), "running");
    assert_eq!(machine.show("litestream.service", "SubState"), "dead");
    assert_eq!(machine.show("litestream.service", "Result"), "success");
    assert_eq!(machine.must("systemctl is-system-running"), "running");

    let offline = machine.rows();
    machine.cloud.restart();
    machine.wait_for_uploads(2);
    machine.restore_whole(&offline);
}

#[test]
fn a_device_beats_before_it_is_provisioned_and_rotates_after_without_a_reboot() {
    let machine = Machine::blank("blank", Generation::V05, crate::LIFETIME);
    let Some(mut machine) = crate::or_skip(machine) else { return };
    machine.boot();
    machine.wait_for_log("sqlite3 write success", 1);
    // What it lacks stands where a person looks.
    machine.wait_until("a word on the certificate", 2 * SOON, |machine| {
        machine.show("edgerotate.service", "StatusText").contains("certificate")
    });
    assert_eq!(machine.show("litestream.service", "ActiveState"), "inactive");
    assert_eq!(machine.must("systemctl is-system-running"), "running");
    let rows = machine.rows();
    assert!(!rows.is_empty());

    // A device without a name would write where another one does.
    machine.provision_with(json!({}));
    machine.wait_for_log("litestream.service: Skipped due to 'exec-condition'", 1);
    assert_eq!(machine.show("litestream.service", "ActiveState"), "inactive");
    assert!(machine.cloud.uploads().is_empty());

    machine.give_name();
    machine.wait_for_uploads(2);
    machine.restore_whole(&rows);
    machine.secrets().assert_none_in("the journal", machine.journal().as_bytes());
}

#[test]
fn what_is_killed_or_stuck_comes_back_and_no_row_is_lost() {
    let Some(mut machine) = crate::machine("kills", Generation::V05) else { return };
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.boot();
    // A minute's patience is not for a test.
    machine.drop_in("edgerotate.service", "[Service]\nWatchdogSec=6\n");
    machine.must("systemctl restart edgerotate.service");
    machine.wait_for_uploads(2);
    let fetches = machine.cloud.fetches();

    for unit in ["litestream.service", "edgerotate.service"] {
        let before = machine.show(unit, "InvocationID");
        machine.must(&format!("systemctl kill --kill-who=main --signal=KILL {unit}"));
        machine.wait_until("its next start", SOON, |machine| {
            machine.show(unit, "SubState") == "running"
                && machine.show(unit, "InvocationID") != before
        });
        machine.wait_for_uploads(2);
    }

    // Rows that were written before the guard was taken: marked, and mended at a start of Litestream.
    if machine.journal().contains("its replica may lack rows") {
        machine.wait_for_log("no replica is suspect any more", 1);
    }

    let before = machine.show("edgerotate.service", "InvocationID");
    machine.must("systemctl kill --kill-who=main --signal=STOP edgerotate.service");
    machine.wait_until("the watchdog's bite, and another start", 2 * SOON, |machine| {
        machine.show("edgerotate.service", "SubState") == "running"
            && machine.show("edgerotate.service", "InvocationID") != before
    });
    machine.wait_for_log("Watchdog timeout", 1);
    machine.wait_for_uploads(2);
    assert_eq!(machine.cloud.fetches(), fetches, "a daemon that starts again needs no fetch");

    machine.cut_power();
    machine.boot();
    // One may be mend's. A Litestream that is stopped in its first second leaves the newest row for its next start.
    machine.wait_for_uploads(5);
    machine.power_off();
    machine.restore_whole(&machine.rows());
}

/// A path unit does not see a change while what it started still runs.
#[test]
fn a_change_of_the_file_that_the_path_unit_missed_is_noticed() {
    let Some(mut machine) = crate::machine("missed", Generation::V05) else { return };
    machine.set_in_image("EDGEROTATE_RESTART_TIMEOUT=10s");
    machine.boot();
    machine.wait_for_uploads(1);
    machine.drop_in(
        "edgerotate-restart@.service",
        "[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n",
    );
    machine.wait_for_log("no start of Litestream", 1);
    machine.must(
        "rm /run/systemd/system/edgerotate-restart@.service.d/test.conf && systemctl daemon-reload && \
         systemctl kill --signal=KILL edgerotate-restart@litestream.service",
    );
    wait_for_newest(&machine);
    machine.wait_for_uploads(1);
    machine.restore_whole(&machine.rows());
}

/// Litestream 0.5 tries for 30 s to upload what is left when it is stopped, and S3 is away.
#[test]
fn a_rotation_while_litestream_takes_long_to_stop_reaches_it() {
    let Some(mut machine) = crate::machine("long-stop", Generation::V05) else { return };
    let lifetime =
        |machine: &Machine, seconds| machine.cloud.set_lifetime(Duration::from_secs(seconds));
    let rotations = |machine: &Machine, count| {
        machine.wait_until("credentials", 4 * SOON, |machine| machine.cloud.fetches() >= count);
    };
    // What Litestream stops with has to be good for as long as that takes.
    lifetime(&machine, 70);
    machine.boot();
    machine.wait_for_uploads(1);
    machine.cloud.s3_fault(&json!({"refuse_connections": true}));
    lifetime(&machine, 44);
    rotations(&machine, 2);
    lifetime(&machine, 3600);
    rotations(&machine, 3);
    machine.cloud.heal();
    wait_for_newest(&machine);
    machine.wait_for_uploads(2);
    machine.restore_whole(&machine.rows());
}

#[test]
fn many_changes_in_a_row_leave_the_path_unit_at_work() {
    let Some(mut machine) = crate::machine("triggers", Generation::V03) else { return };
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.boot();
    machine.wait_for_uploads(1);
    machine.must("for i in $(seq 30); do cp -p /run/edgerotate/litestream.env /run/edgerotate/x && mv /run/edgerotate/x /run/edgerotate/litestream.env && sleep 0.1; done");
    for unit in ["edgerotate-restart.path", "litestream.service"] {
        machine.wait_until(unit, SOON, |machine| machine.show(unit, "ActiveState") == "active");
    }
    machine.wait_for_uploads(2);
}

#[test]
fn a_database_on_tmpfs_is_refused_until_the_settings_are_mended() {
    let Some(mut machine) = crate::machine("tmpfs", Generation::V05) else { return };
    machine.put(
        "device.env",
        &format!(
            "EDGEROTATE_THING_NAME={THING}\nEDGEROTATE_DATABASE=/run/edgerotate/heartbeat.db\n"
        ),
        0o640,
    );
    machine.boot();
    machine.wait_for_log("EDGEROTATE_DATABASE: /run/edgerotate/heartbeat.db is on tmpfs", 1);
    machine.wait_until("an end that is for good", SOON, |machine| {
        machine.show("edgerotate.service", "ActiveState") == "failed"
    });
    assert_eq!(machine.show("edgerotate.service", "NRestarts"), "0");

    machine.put("device.env", &format!("EDGEROTATE_THING_NAME={THING}\n"), 0o640);
    machine.wait_for_uploads(2);
}

/// An image whose users were made in another order, or one that had others first.
#[test]
fn the_data_partition_means_the_same_users_in_the_next_image() {
    let Some(mut machine) = crate::machine("ids", Generation::V05) else { return };
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.boot();
    machine.wait_for_uploads(1);
    machine.power_off();
    let before = machine.rows();
    let owners = |machine: &Machine| {
        let metadata = fs::metadata(machine.database()).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    let owned = owners(&machine);

    machine.use_other_users("u another - -\nu litestream 781 -\nu more - -\ng replica 782 -\n");
    machine.boot();
    machine.wait_for_uploads(2);
    assert_eq!(owners(&machine), owned);
    wait_until("rows after the others", SOON, || machine.rows().len() > before.len() + 2);
    machine.power_off();
    machine.restore_whole(&machine.rows());
}
