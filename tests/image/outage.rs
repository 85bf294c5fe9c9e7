//! What a device goes through: no cloud, nothing provisioned, processes killed and stuck, the power
//! gone.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    fleet::TOKEN_BY_HAND,
    machine::Machine,
    parts::THING,
    support::{Generation, SOON, wait_until},
};

#[test]
fn a_device_boots_without_a_cloud_and_uploads_once_there_is_one() {
    let Some(mut machine) = crate::machine("no-cloud", Generation::V05) else { return };
    machine.cloud.stop();
    let start = Instant::now();
    machine.boot();
    machine.wait_for_log("sqlite3 write success", 1);
    machine
        .wait_for_log("update credential failed (4 times in a row): the connection was refused", 1);
    machine.wait_until("a minute without a cloud", 2 * SOON, |_| start.elapsed().as_secs() >= 60);
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
    machine.set_in_image(TOKEN_BY_HAND);
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
    // As docs/provisioning.md ends.
    let said = machine
        .must("setpriv --reuid edgerotate --regid edgerotate --init-groups edgerotate check");
    assert!(said.ends_with("all is well"), "{said}");
    machine.restore_whole(&rows);
    machine.secrets().assert_none_in("the journal", machine.journal().as_bytes());
}

#[test]
fn what_is_killed_or_stuck_comes_back_and_no_row_is_lost() {
    let Some(mut machine) = crate::machine("kills", Generation::V05) else { return };
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.boot();
    // Litestream's first start is over: one that nobody confirmed would be done again.
    machine.wait_for_log("restart success litestream", 1);
    machine.wait_until_nothing_is_guarded_or_suspect();
    // A minute's patience is not for a test.
    machine.drop_in("edgerotate.service", "[Service]\nWatchdogSec=6\n");
    machine.must("systemctl restart edgerotate.service");
    machine.wait_for_uploads(2);
    let fetches = machine.cloud.fetches();

    for unit in ["litestream.service", "edgerotate.service"] {
        machine.wait_until_nothing_is_guarded_or_suspect();
        let before = machine.show(unit, "InvocationID");
        machine.must(&format!("systemctl kill --kill-who=main --signal=KILL {unit}"));
        machine.wait_until("its next start", SOON, |machine| {
            machine.show(unit, "SubState") == "running"
                && machine.show(unit, "InvocationID") != before
        });
        machine.wait_for_uploads(2);
    }

    machine.wait_until_nothing_is_guarded_or_suspect();

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
    // One may be mend's. A Litestream that is stopped in its first second leaves the newest row for
    // its next start.
    machine.wait_for_uploads(5);
    machine.power_off();
    machine.restore_whole(&machine.rows());
}

/// What SQLite has opened to read only, it goes on to use: the daemon must not open it so.
#[test]
fn a_database_that_can_be_written_again_is() {
    let Some(mut machine) = crate::machine("read-only", Generation::V05) else { return };
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.boot();
    machine.wait_for_uploads(1);
    machine.must("chmod 0440 /data/edgerotate/replica/heartbeat.db*");
    machine.must("systemctl --no-block restart edgerotate.service");
    machine.wait_for_log("heartbeat.db: Permission denied", 1);
    machine.must("chmod 0660 /data/edgerotate/replica/heartbeat.db*");
    let before = machine.rows();
    machine.wait_until("rows", SOON, |machine| machine.rows().len() > before.len());
    machine.restore_whole(&machine.rows());
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
    machine.wait_for_log("EDGEROTATE_DATABASE: /run/edgerotate/heartbeat.db is in memory", 1);
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
