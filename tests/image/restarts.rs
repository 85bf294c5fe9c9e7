//! New credentials reach Litestream, whatever the path unit sees of the change and whatever
//! Litestream is at.

use std::{fs, time::Duration};

use serde_json::json;

use crate::{
    machine::Machine,
    support::{Generation, SOON},
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

/// The newest credentials are in the environment file.
fn wait_for_newest_in_file(machine: &Machine) {
    machine.wait_until("a file with the newest credentials", 4 * SOON, |machine| {
        let newest = machine.cloud.issued().pop().expect("credentials").access_key_id;
        fs::read_to_string(machine.path("/run/edgerotate/litestream.env"))
            .is_ok_and(|text| text.contains(&newest))
    });
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
        "rm /run/systemd/system/edgerotate-restart@.service.d/test.conf && systemctl daemon-reload \
         && \
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
    lifetime(&machine, 34);
    rotations(&machine, 2);
    lifetime(&machine, 3600);
    rotations(&machine, 3);
    assert!(machine.show("litestream.service", "SubState").starts_with("stop"), "it still stops");
    machine.cloud.heal();
    wait_for_newest(&machine);
    machine.wait_for_uploads(2);
    machine.restore_whole(&machine.rows());
}

/// Which takes as long as that where S3 is away.
#[test]
fn a_daemon_that_starts_while_litestream_stops_writes_rows_at_once() {
    let Some(mut machine) = crate::machine("stopping", Generation::V05) else { return };
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.boot();
    machine.wait_for_uploads(1);
    machine.cloud.s3_fault(&json!({"refuse_connections": true}));
    let stops =
        |machine: &Machine| machine.show("litestream.service", "SubState") == "stop-sigterm";
    let more_rows = |machine: &Machine, count: usize| {
        let before = machine.rows().len();
        machine.wait_until("rows", SOON, |machine| machine.rows().len() >= before + count);
    };
    // With nothing to upload it stops at once, and it looks for that each second.
    more_rows(&machine, 15);
    machine.must("systemctl --no-block restart litestream.service");
    machine.wait_until("a Litestream that stops", SOON, stops);
    machine.must("systemctl restart edgerotate.service");
    more_rows(&machine, 1);
    assert!(stops(&machine), "nothing was in the way");
    machine.cloud.heal();
    machine.wait_for_uploads(2);
    machine.restore_whole(&machine.rows());
}

#[test]
fn many_changes_in_a_row_leave_the_path_unit_at_work() {
    let Some(mut machine) = crate::machine("triggers", Generation::V03) else { return };
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.boot();
    machine.wait_for_uploads(1);
    machine.must(
        "for i in $(seq 30); do cp -p /run/edgerotate/litestream.env /run/edgerotate/x && \
     mv /run/edgerotate/x /run/edgerotate/litestream.env && sleep 0.1; done",
    );
    for unit in ["edgerotate-restart.path", "litestream.service"] {
        machine.wait_until(unit, SOON, |machine| machine.show(unit, "ActiveState") == "active");
    }
    machine.wait_for_uploads(2);
}

/// It may take long to start, with a snapshot that `edgerotate mend` makes.
#[test]
fn a_rotation_while_litestream_starts_reaches_it_and_so_does_a_reboot_then() {
    let Some(mut machine) = crate::machine("restart", Generation::V05) else { return };
    machine.boot();
    machine.wait_for_uploads(1);
    machine.drop_in(
        "litestream.service",
        "[Service]\nExecStartPre=/bin/sh -c 'while test -e /run/hold; do sleep 0.1; done'\n",
    );
    let held = |machine: &Machine| {
        machine.must("touch /run/hold");
        machine.wait_until("a restart that takes long", 2 * SOON, |machine| {
            machine.show("litestream.service", "SubState") == "start-pre"
        });
    };
    held(&machine);
    let so_far = machine.cloud.fetches();
    machine.wait_until("a rotation meanwhile", 2 * SOON, |m| m.cloud.fetches() > so_far);
    wait_for_newest_in_file(&machine);
    machine.must("rm /run/hold");
    wait_for_newest(&machine);
    machine.wait_for_uploads(2);

    held(&machine);
    let before = machine.rows();
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.cut_power();
    machine.boot();
    machine.wait_for_uploads(5);
    machine.power_off();
    assert!(machine.rows().starts_with(&before));
    machine.restore_whole(&machine.rows());
}

/// A file that is there already when the path unit starts does not trigger it.
#[test]
fn a_daemon_killed_before_litestream_has_restarted_sees_to_it_when_it_is_back() {
    let Some(mut machine) = crate::machine("unseen", Generation::V05) else { return };
    machine.boot();
    // Just after a rotation there is time until the next.
    machine.wait_for_log("restart success litestream", 2);
    machine.must("systemctl stop edgerotate-restart.path");
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    let fetches = machine.cloud.fetches();
    machine.wait_until("a rotation", 2 * SOON, |m| m.cloud.fetches() > fetches);
    wait_for_newest_in_file(&machine);
    let before = machine.show("litestream.service", "InvocationID");
    machine.must("systemctl kill --kill-who=main --signal=KILL edgerotate.service");
    wait_for_newest(&machine);
    assert_ne!(machine.show("litestream.service", "InvocationID"), before);
    assert_eq!(machine.cloud.fetches(), fetches + 1, "a daemon that starts again needs no fetch");
    machine.wait_for_uploads(2);
    machine.restore_whole(&machine.rows());
}
