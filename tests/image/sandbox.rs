//! What the units' sandbox lets a process do, tried from inside of it; and who can read what is
//! secret.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use crate::{machine::Machine, support::Generation};

/// Where a daemon that was taken over would like to write, and what it would like to read.
const TRY: &str = r#"
for place in / /usr /usr/bin /etc /etc/edgerotate /root /home /boot /var /var/lib /var/log /data /data/app /data/app/inbox \
    /data/edgerotate /data/edgerotate/state /data/edgerotate/replica /data/edgerotate/softhsm \
    /run /run/edgerotate /run/systemd/system /sys/fs/cgroup /proc/sys/kernel; do
    { true >"$place/probe"; } 2>/dev/null && echo "wrote $place" && rm "$place/probe"
done
for file in /data/edgerotate/device.env /data/edgerotate/device.crt /etc/litestream.yml; do
    { true >>"$file"; } 2>/dev/null && echo "wrote $file"
done
for file in /etc/shadow /data/app/secret /data/edgerotate/pin /run/edgerotate/litestream.env \
    /run/edgerotate/state.json /dev/mem /dev/sda /dev/kmsg; do
    cat "$file" >/dev/null 2>&1 && echo "read $file"
done
systemctl restart litestream.service 2>/dev/null && echo restarted
systemctl stop edgerotate.service 2>/dev/null && echo stopped
mount -t tmpfs none /tmp 2>/dev/null && echo mounted
unshare --user true 2>/dev/null && echo "made a namespace"
true >/tmp/setuid && chmod 4755 /tmp/setuid 2>/dev/null && echo "made a program setuid"
true
"#;

/// What of that a unit's sandbox allows: the unit as it is, with a script in place of its program.
fn allowed(machine: &Machine, unit: &str) -> BTreeSet<String> {
    let text = machine.must(&format!("cat /usr/lib/systemd/system/{unit}"));
    let probe: String = text
        .lines()
        .map(|line| match line.split_once('=').map_or("", |(key, _)| key) {
            "Type" => "Type=oneshot\n".to_owned(),
            "ExecStart" => "ExecStart=/bin/sh /run/try\n".to_owned(),
            "WatchdogSec" | "Restart" | "Before" | "Wants" => String::new(),
            _ => format!("{line}\n"),
        })
        .collect();
    fs::write(machine.path("/run/try"), TRY).unwrap();
    fs::write(machine.path("/run/systemd/system/probe.service"), probe).unwrap();
    machine.must(&format!(
        "cp -r /usr/lib/systemd/system/{unit}.d /run/systemd/system/probe.service.d && systemctl \
         daemon-reload && \
         systemctl start probe.service"
    ));
    let said = machine.must(
        "journalctl --sync && journalctl --no-pager -o cat _SYSTEMD_UNIT=probe.service _COMM=sh",
    );
    machine.must("rm -r /run/systemd/system/probe.service* && systemctl daemon-reload");
    said.lines().map(str::to_owned).collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn with_an_application(machine: &Machine) {
    let directory = machine.data.join("app");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("secret"), "of another program").unwrap();
    fs::set_permissions(directory.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    // Any user may write here, were it not for the sandbox.
    fs::create_dir(directory.join("inbox")).unwrap();
    fs::set_permissions(directory.join("inbox"), fs::Permissions::from_mode(0o777)).unwrap();
}

#[test]
fn edgerotate_reaches_what_is_its_own_and_nothing_else() {
    let Some(mut machine) = crate::machine("sandbox", Generation::V05) else { return };
    with_an_application(&machine);
    machine.boot();
    machine.wait_for_uploads(1);
    let expected = set(&[
        "wrote /data/edgerotate/state",
        "wrote /data/edgerotate/replica",
        "wrote /data/edgerotate/softhsm",
        "wrote /run/edgerotate",
        "read /data/edgerotate/pin",
        "read /run/edgerotate/litestream.env",
        "read /run/edgerotate/state.json",
    ]);
    assert_eq!(allowed(&machine, "edgerotate.service"), expected);
}

#[test]
fn litestream_reaches_the_databases_and_nothing_else() {
    let Some(mut machine) = crate::machine("sandbox-ls", Generation::V05) else { return };
    with_an_application(&machine);
    machine.boot();
    machine.wait_for_uploads(1);
    // It makes its directory with the group bit of the one above (see its unit), so it may set such
    // bits.
    let expected = set(&["wrote /data/edgerotate/replica", "made a program setuid"]);
    assert_eq!(allowed(&machine, "litestream.service"), expected);
}

#[test]
fn nothing_secret_is_readable_to_another_user() {
    let Some(mut machine) = crate::machine("readable", Generation::V05) else { return };
    machine.boot();
    machine.wait_for_log("restart success litestream", 2);
    let search = "find /run /data /tmp /var /proc/[0-9]*/environ /proc/[0-9]*/cmdline -type f \
     -readable \
                  -exec cat {} + 2>/dev/null; true";
    let secrets = machine.secrets();
    let as_user = machine.must(&format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs sh -c '{search}'"
    ));
    secrets.assert_none_in("what a user can read", as_user.as_bytes());
    // The search finds what it looks for.
    let as_root = machine.must(search);
    assert!(as_root.contains(machine.token.pin()), "root's search finds the PIN");
    assert!(as_user.len() > 1000, "and the user's search finds something");
}

/// As docs/provisioning.md has it: then the PIN is root's alone.
#[test]
fn the_pin_can_be_a_credential() {
    let Some(mut machine) = crate::machine("credential", Generation::V05) else { return };
    machine.put("pin", machine.token.pin(), 0o600);
    machine.boot();
    machine.wait_for_log("update credential failed", 1);
    let text =
        fs::read_to_string(crate::support::root().join("systemd/pin-credential.conf")).unwrap();
    machine.drop_in("edgerotate.service", &text);
    // Without the file it starts all the same, and says so.
    machine.must("rm /data/edgerotate/pin && systemctl restart edgerotate.service");
    machine.wait_for_log("pin-file-empty", 1);
    // Once it is there, it is taken without a hand.
    machine.put("pin", machine.token.pin(), 0o600);
    machine.wait_for_uploads(2);

    // So is another one; and one that was refused is not tried again at the next start.
    machine.put("pin", "0000000000", 0o600);
    machine.wait_for_log("pin-incorrect", 1);
    machine.must("systemctl restart edgerotate.service");
    machine.wait_for_log("pin-refused-earlier", 1);
    // A person says when it is right. Only root could ask the token by hand.
    machine.put("pin", machine.token.pin(), 0o600);
    let (_, said) = machine.shell(
        "setpriv --reuid edgerotate --regid edgerotate --init-groups edgerotate check \
         --pin-changed",
    );
    assert!(said.contains("pin-file-not-permitted"), "{said}");
    machine.must("systemctl restart edgerotate.service");
    machine.wait_for_uploads(2);
    let journal = machine.journal();
    assert_eq!(journal.lines().filter(|line| line.contains("pin-incorrect")).count(), 1);
}
