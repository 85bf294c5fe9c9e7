//! From power on to the first upload, and on through rotations and a reboot.

use std::{fs, net::TcpListener, os::unix::fs::symlink, time::Duration};

use crate::{
    machine::Machine,
    parts::THING,
    support::{Generation, SOON, root},
};

/// Lines of the journal that a healthy device does not have: warnings and errors of ours, and units
/// that failed.
fn problems(machine: &Machine) -> Vec<String> {
    let said = machine.must(
        "journalctl --no-pager --boot -o short-monotonic --priority warning -u edgerotate -u \
         litestream \
         -u 'edgerotate-*'",
    );
    let failed = machine.must("systemctl --failed --plain --no-legend --no-pager");
    // SoftHSM says so of itself, at each login through OpenSSL's engine.
    let known = "SoftHSM is already initialized";
    let lines = said
        .lines()
        .filter(|line| !line.starts_with("-- ") && !line.contains(known))
        .map(str::to_owned);
    lines.chain(failed.lines().map(str::to_owned)).collect()
}

fn rotates_and_reboots(name: &str, generation: Generation) {
    let Some(mut machine) = crate::machine(name, generation) else { return };
    machine.boot();
    // For the first credentials, and for five rotations.
    machine.wait_for_log("restart success litestream", 6);
    machine.wait_for_uploads(3);

    // The milestones, in the journal that a person reads.
    let journal = machine.journal();
    for milestone in [
        "start app: edgerotate",
        "start update credential",
        "init credential",
        "updated credential success. expired at",
        "get credential main expired at",
        "start restart litestream",
        "sqlite3 write success: id",
    ] {
        assert!(journal.contains(milestone), "{milestone:?} is not in the journal:\n{journal}");
    }
    assert_eq!(problems(&machine), [""; 0]);
    let prefix = format!("{THING}/");
    let stray: Vec<_> = machine
        .cloud
        .uploads()
        .into_iter()
        .filter(|u| u.key.as_deref().is_none_or(|key| !key.starts_with(&prefix)))
        .collect();
    assert!(stray.is_empty(), "one image, many devices: {stray:?}");

    // It goes on from where it was.
    let before = machine.rows();
    machine.cloud.set_lifetime(Duration::from_secs(3600));
    machine.power_off();
    let restarts = machine.journal().matches("restart success litestream").count();
    machine.boot();
    machine.wait_for_log("restart success litestream", restarts + 1);
    machine.wait_for_uploads(2);
    assert_eq!(problems(&machine), [""; 0]);
    // Litestream stops last, with time for the last rows.
    machine.power_off();

    let rows = machine.rows();
    assert!(rows.starts_with(&before) && rows.len() > before.len());
    machine.restore_whole(&rows);
    assert_eq!(machine.cloud.count_error("ExpiredToken"), 0);
    machine.secrets().assert_none_in("the journal", machine.journal().as_bytes());
    machine.secrets().assert_none_below(&machine.data, &[&machine.data.join("edgerotate/pin")]);
}

/// As where ifupdown waits for an address before it calls the network set up.
#[test]
fn heartbeats_wait_for_no_network() {
    let Some(mut machine) = crate::machine("no-network", Generation::V05) else { return };
    let unit = "[Unit]\nBefore=network.target\n\
                [Service]\nType=oneshot\nRemainAfterExit=yes\n\
                ExecStart=/bin/sh -c 'until test -e /run/network; do sleep 0.1; done'\n";
    fs::write(machine.units.join("slow-network.service"), unit).unwrap();
    let wants = machine.units.join("multi-user.target.wants");
    fs::create_dir(&wants).unwrap();
    for unit in ["slow-network.service", "network.target"] {
        symlink(format!("../{unit}"), wants.join(unit)).unwrap();
    }
    machine.power_on();
    machine.wait_for_log("sqlite3 write success", 1);
    assert_eq!(machine.show("network.target", "ActiveState"), "inactive");
    machine.must("touch /run/network");
    machine.wait_for_uploads(1);
}

#[test]
fn a_device_rotates_and_reboots_with_litestream_0_5() {
    rotates_and_reboots("boot-05", Generation::V05);
}

#[test]
fn a_device_rotates_and_reboots_with_litestream_0_3() {
    rotates_and_reboots("boot-03", Generation::V03);
}

/// The loopback endpoint, behind its socket unit: Litestream is started once, and asks.
fn rotates_without_a_restart(name: &str, generation: Generation) {
    let Some(mut machine) = crate::machine(name, generation) else { return };
    // Containers share the network: each its own port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let socket = fs::read_to_string(root().join("systemd/units/edgerotate.socket")).unwrap();
    fs::write(machine.units.join("edgerotate.socket"), socket.replace("127.0.0.1:9170", &address))
        .unwrap();
    let wants = machine.units.join("sockets.target.wants");
    fs::create_dir(&wants).unwrap();
    symlink("../edgerotate.socket", wants.join("edgerotate.socket")).unwrap();
    machine.set_in_image("EDGEROTATE_DELIVERY=endpoint");
    machine.set_in_image(&format!("EDGEROTATE_ENDPOINT_LISTEN={address}"));
    machine.boot();
    machine.wait_for_uploads(2);
    let started = machine.show("litestream.service", "InvocationID");

    let so_far = machine.cloud.fetches();
    machine.wait_until("five rotations", 6 * SOON, |m| m.cloud.fetches() >= so_far + 5);
    let newest = machine.cloud.issued().pop().unwrap().access_key_id;
    machine.wait_until("an upload with the newest credentials", 2 * SOON, |machine| {
        machine.cloud.uploads().iter().any(|u| u.access_key_id.as_deref() == Some(&newest))
    });
    // A daemon that comes again takes over the socket, and whoever asked meanwhile is answered.
    machine.must("systemctl restart edgerotate.service");
    machine.wait_for_uploads(2);
    assert_eq!(machine.show("litestream.service", "InvocationID"), started, "nothing restarts");
    assert_eq!(problems(&machine), [""; 0]);
    // Credentials as short as these are asked for at each upload, and at shutdown edgerotate is the
    // first to stop.
    machine.restore_whole(&machine.rows());
    machine.power_off();
    assert_eq!(machine.cloud.count_error("ExpiredToken"), 0);
    machine.secrets().assert_none_in("the journal", machine.journal().as_bytes());
}

#[test]
fn a_device_with_the_endpoint_restarts_nothing_0_5() {
    rotates_without_a_restart("endpoint-05", Generation::V05);
}

#[test]
fn a_device_with_the_endpoint_restarts_nothing_0_3() {
    rotates_without_a_restart("endpoint-03", Generation::V03);
}
