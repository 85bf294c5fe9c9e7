//! A device's first day, as its technician lives it: files put in place, mended, replaced.

use crate::{
    fleet::TOKEN_BY_HAND,
    machine::Machine,
    support::{Generation, SOON},
};

/// The ways in which docs and habit replace a file of the device: each puts new text into it.
const WAYS: &[(&str, &str)] = &[
    (
        "as docs/provisioning.md has it",
        "cat FILE >FILE.new && echo '#' >>FILE.new && mv FILE.new FILE",
    ),
    (
        "with install and mv",
        "install -m 644 FILE FILE.new && echo '#' >>FILE.new && mv FILE.new FILE",
    ),
    ("with sed -i", "sed -i '$a #' FILE"),
    ("with cp and mv", "cp FILE /tmp/new && echo '#' >>/tmp/new && mv /tmp/new FILE"),
    ("in place", "echo '#' >>FILE"),
];

/// Such a device has an ATECC608A or a key in a file: no PIN is ever there.
#[test]
fn a_changed_file_is_noticed_on_a_device_without_a_pin() {
    let machine = Machine::blank("no-pin", Generation::V05, crate::LIFETIME);
    let Some(mut machine) = crate::or_skip(machine) else { return };
    machine.boot();
    machine.wait_for_log("sqlite3 write success", 1);
    for file in ["device.env", "device.crt"] {
        assert_noticed(
            &machine,
            &format!("{file} comes"),
            &format!("echo '#' >/data/edgerotate/{file}"),
        );
        for (how, line) in WAYS {
            let line = line.replace("FILE", &format!("/data/edgerotate/{file}"));
            assert_noticed(&machine, &format!("{file} replaced {how}"), &line);
        }
    }
    assert!(!machine.path("/data/edgerotate/pin").exists());
    let name = "echo '#' >/data/edgerotate/pin";
    assert_noticed(&machine, "a PIN comes", name);
}

/// Before anything is left running, as the README has it: the directory with the token's lock is
/// made beforehand.
#[test]
fn a_fetch_by_hand_works_before_the_first_start() {
    let Some(mut machine) = crate::machine("by-hand", Generation::V05) else { return };
    machine.set_in_image(TOKEN_BY_HAND);
    machine.boot();
    machine.must("systemctl stop edgerotate.service && rm -rf /run/edgerotate");
    machine.must("systemd-tmpfiles --create --prefix=/run/edgerotate");
    let as_edgerotate = "setpriv --reuid edgerotate --regid edgerotate --init-groups edgerotate";
    let said = machine.must(&format!("{as_edgerotate} fetch"));
    assert!(said.contains("access key id"), "{said}");
}

/// edgerotate is started anew once `line` has changed a file.
fn assert_noticed(machine: &Machine, what: &str, line: &str) {
    let invocation = |machine: &Machine| machine.show("edgerotate.service", "InvocationID");
    // A change while the restart for the one before is under way is dropped (systemd.path(5) does
    // not say so).
    machine.wait_until("the restart before is over", SOON, |machine| {
        machine.show("edgerotate-restart@edgerotate.service", "ActiveState") == "inactive"
            && machine.show("edgerotate.service", "SubState") == "running"
    });
    let before = invocation(machine);
    machine.must(line);
    machine.wait_until(what, SOON, |machine| invocation(machine) != before);
}
