//! The files of systemd/: all of them are installed by its manifest, systemd finds nothing wrong
//! with them, and the figures in docs/device.md are what systemd says of their sandbox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use support::{
    Scratch,
    process::{run, tied, try_run},
    root, skip,
};

const UNITS: [&str; 10] = [
    "edgerotate.service",
    "edgerotate.socket",
    "edgerotate-health.service",
    "edgerotate-order.target",
    "edgerotate-restart.path",
    "edgerotate-restart@litestream.service",
    "edgerotate-settings.path",
    "edgerotate-certificate.path",
    "edgerotate-pin.path",
    "litestream.service",
];

/// As shipped; a device with such an HSM has what its drop-in leaves.
const MOST_EXPOSED: f32 = 1.3;

#[test]
fn each_file_is_installed_and_no_other() {
    let shipped: BTreeSet<String> = files_below(&root().join("systemd"))
        .into_iter()
        .filter(|name| name != "install" && name != "manifest")
        .collect();
    let installed: BTreeSet<String> = manifest().into_iter().map(|entry| entry.file).collect();
    assert_eq!(installed, shipped);
}

#[test]
fn a_set_is_installed_below_the_prefix() {
    let scratch = Scratch::new("install");
    run(install(&scratch, &["litestream-0.3"]).env("PREFIX", "/opt"));
    let found = files_below(&scratch);
    assert!(found.contains("opt/lib/systemd/system/litestream.service"), "{found:?}");
    assert!(found.contains("etc/litestream.yml"), "{found:?}");
    let (succeeded, said) = try_run(&mut install(&scratch, &["litestream"]));
    assert!(!succeeded && said.contains("no set litestream"), "{said}");
}

#[test]
fn what_a_person_wrote_is_neither_overwritten_nor_removed() {
    let root = Scratch::new("install-again");
    let sets = ["edgerotate", "litestream-0.5", "hsm-softhsm"];
    run(&mut install(&root, &sets));
    let all = files_below(&root);
    let written = ["etc/litestream.yml", "usr/lib/edgerotate/edgerotate.env"];
    for name in written {
        fs::write(root.join(name), "# mine\n").expect("a file of a person");
    }
    let unit = root.join("usr/lib/systemd/system/edgerotate.service");
    fs::write(&unit, "of an older version\n").expect("a unit");

    let (succeeded, said) = try_run(&mut install(&root, &sets));
    assert!(succeeded, "{said}");
    for name in written {
        assert_eq!(fs::read_to_string(root.join(name)).expect(name), "# mine\n");
        assert!(said.contains(&format!("{name} differs from what is shipped")), "{said}");
        assert!(root.join(format!("{name}.new")).exists(), "{name}.new");
    }
    assert!(fs::read_to_string(&unit).expect("a unit").contains("[Service]"));
    let (_, again) = try_run(&mut install(&root, &sets));
    assert_eq!(again, "", "what was said once is not said again");

    run(install(&root, &["--remove"]).args(sets));
    let left = files_below(&root).into_iter().collect::<Vec<_>>();
    assert_eq!(left, written);
    for name in written {
        fs::remove_file(root.join(name)).expect(name);
    }
    run(&mut install(&root, &sets));
    assert_eq!(files_below(&root), all);
    run(install(&root, &["--remove"]).args(sets));
    assert!(files_below(&root).is_empty());
}

#[test]
fn another_hsm_s_set_is_not_removed_with_the_first_one_s() {
    let root = Scratch::new("install-hsms");
    run(&mut install(&root, &["edgerotate", "hsm-softhsm", "hsm-tpm2"]));
    let unit = root.join("usr/lib/systemd/system/edgerotate.service.d/20-hsm.conf");
    let of_the_tpm = fs::read(&unit).expect("the TPM's drop-in");
    let (succeeded, said) = try_run(&mut install(&root, &["--remove", "hsm-softhsm"]));
    assert!(succeeded && said.contains("20-hsm.conf differs"), "{said}");
    assert_eq!(fs::read(&unit).expect("the TPM's drop-in"), of_the_tpm);
    assert!(!root.join("usr/lib/edgerotate/softhsm2.conf").exists());
    run(&mut install(&root, &["--remove", "hsm-tpm2"]));
    assert!(!unit.exists());
}

#[test]
fn systemd_finds_nothing_wrong() {
    for hsm in hsms() {
        let Some(root) = image(&hsm) else { return };
        run(&mut install(&root, &["endpoint", "pin-credential", "reboot-on-failure"]));
        let (succeeded, said) = try_run(analyze(&root).arg("verify").args(UNITS));
        assert!(succeeded && said.is_empty(), "{hsm}: {said}");
    }
}

/// So that `sudo -u edgerotate edgerotate check` reaches the HSM as the unit does.
#[test]
fn edgerotate_is_in_the_group_of_the_hsm() {
    for (hsm, group) in [("hsm-atecc608", "i2c"), ("hsm-tpm2", "tss"), ("hsm-optee", "teeclnt")] {
        let Some(root) = image(hsm) else { return };
        run(tied("systemd-sysusers").arg("--root").arg(&*root));
        let groups = fs::read_to_string(root.join("etc/group")).expect("groups");
        let members = groups.lines().find(|line| line.starts_with(&format!("{group}:")));
        assert!(members.is_some_and(|line| line.ends_with(":edgerotate")), "{hsm}: {groups}");
    }
}

#[test]
fn the_documents_have_the_exposure_of_each() {
    let documents = fs::read_to_string(root().join("docs/device.md")).expect("docs/device.md");
    let mut rows = BTreeMap::new();
    for hsm in hsms() {
        let Some(image) = image(&hsm) else { return };
        let exposure = exposure(&image, "edgerotate.service");
        let name = hsm.replace("hsm-", "systemd/hsm/") + ".conf";
        let drop_in = fs::read_to_string(root().join(&name)).expect("a drop-in");
        let line = format!("exposure {exposure:.1} (");
        assert!(drop_in.contains(&line), "{name} lacks: {line}");
        rows.insert(hsm, exposure);
    }
    let Some(root) = image("hsm-softhsm") else { return };
    for unit in ["litestream.service", "edgerotate-restart@litestream.service"] {
        rows.insert(unit.to_owned(), exposure(&root, unit));
    }
    fs::remove_dir_all(root.join("usr/lib/systemd/system/edgerotate.service.d")).expect("drop-ins");
    run(&mut install(&root, &["edgerotate"]));
    for unit in ["edgerotate.service", "edgerotate-health.service"] {
        rows.insert(unit.to_owned(), exposure(&root, unit));
    }

    for unit in ["edgerotate.service", "edgerotate-health.service", "litestream.service"] {
        assert!(rows[unit] <= MOST_EXPOSED, "{unit}: {}", rows[unit]);
    }
    for (name, exposure) in rows {
        let row = format!("| `{name}` | {exposure:.1} |");
        assert!(documents.contains(&row), "docs/device.md lacks: {row}");
    }
}

/// A root with everything but another HSM's files; what the units run is there by name.
fn image(hsm: &str) -> Option<Scratch> {
    if try_run(tied("sh").args(["-c", "command -v systemd-analyze"])).1.is_empty() {
        skip("needs systemd-analyze");
        return None;
    }
    let root = Scratch::new("units");
    let system = root.join("usr/lib/systemd");
    fs::create_dir_all(&system).expect("a directory for units");
    run(tied("cp").arg("-a").arg("/usr/lib/systemd/system").arg(&system));
    run(&mut install(&root, &["edgerotate", "litestream-0.5", hsm]));
    fs::create_dir_all(root.join("usr/bin")).expect("a directory for programs");
    for program in ["edgerotate", "litestream", "systemctl", "test"] {
        fs::copy("/usr/bin/true", root.join("usr/bin").join(program)).expect("a program");
    }
    Some(root)
}

fn exposure(root: &Path, unit: &str) -> f32 {
    let said = run(analyze(root).args(["--offline=yes", "--no-pager", "security", unit]));
    let figure = said.lines().find_map(|line| line.split("exposure level for ").nth(1));
    figure
        .and_then(|text| text.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or_else(|| panic!("no figure in: {said}"))
}

fn analyze(root: &Path) -> Command {
    let mut command = tied("systemd-analyze");
    command.arg("--root").arg(root);
    command
}

fn install(destination: &Path, sets: &[&str]) -> Command {
    let mut command = tied(root().join("systemd/install"));
    command.env("DESTDIR", destination).args(sets);
    command
}

struct Entry {
    set: String,
    file: String,
}

fn manifest() -> Vec<Entry> {
    let text = fs::read_to_string(root().join("systemd/manifest")).expect("the manifest");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [set, _mode, file, _place] = words[..] else { panic!("not four words: {line}") };
            Entry { set: set.to_owned(), file: file.to_owned() }
        })
        .collect()
}

fn hsms() -> BTreeSet<String> {
    let found: BTreeSet<_> = manifest()
        .into_iter()
        .map(|entry| entry.set)
        .filter(|set| set.starts_with("hsm-"))
        .collect();
    assert!(!found.is_empty());
    found
}

/// The files below a directory, by their names from there.
fn files_below(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        for entry in fs::read_dir(directory.join(&below)).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = below.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                left.push(name);
            } else {
                found.insert(name.to_str().expect("a plain name").to_owned());
            }
        }
    }
    found
}
