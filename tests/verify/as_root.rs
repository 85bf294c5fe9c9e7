//! Each command as root, beside directories of a user who is hostile: what that one puts there as a
//! trap must not make root remove, change or give away anything else.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use nix::unistd::geteuid;

use crate::{
    harness::{answer, device, replicate, write},
    support::{Device, Generation, skip, wait_until},
};

/// Anybody's.
const OTHER_USER: u32 = 65534;

/// Every command that a person may run as root.
const COMMANDS: &[&[&str]] = &[
    &["verify"],
    &["verify", "--json"],
    &["check"],
    &["check", "--gate", "--patience", "0"],
    &["check", "--pin-changed"],
    &["fetch"],
    &["status"],
    &["credential-process"],
    &["mend"],
];

/// Names that edgerotate writes, removes, locks or works in, by directory.
const TRAPS: [(&str, &[&str]); 2] = [
    (
        "state",
        &[
            "verify",
            "verify.0123456789abcdef",
            "suspect",
            ".suspect.new",
            "pin-refused",
            ".pin-refused.new",
            "pin-accepted",
            "litestream-version",
        ],
    ),
    (
        "run",
        &[
            "token.lock",
            "edgerotate-credentials.lock",
            "edgerotate-credentials.json",
            ".edgerotate-credentials.json.new",
            "status.json",
            "state.json",
        ],
    ),
];

#[test]
fn root_takes_and_gives_nothing_beside_a_hostile_users_directories() {
    if !geteuid().is_root() {
        skip("needs root, to be root beside another user");
        return;
    }
    let mut device = device("as-root", Generation::V05);
    write(&device, 1..=20);
    replicate(&mut device);
    let outside = device.scratch.join("outside");
    fs::create_dir_all(outside.join("deep")).unwrap();
    for name in ["secret", "deep/file", ".made-by-edgerotate-verify", "restored.db"] {
        fs::write(outside.join(name), "root's own").unwrap();
        fs::set_permissions(outside.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    give_away(&device);
    set_traps(&device, &outside);

    let before = seen(&outside);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Each name is now a file of the user's, now a link to root's.
        scope.spawn(|| {
            while !over.load(Relaxed) {
                for (name, target) in traps(&device, &outside) {
                    let other = name.with_file_name("other");
                    fs::write(&other, r#"{"databases":{}}"#).unwrap();
                    put(&other, &name);
                    symlink(target, &other).unwrap();
                    put(&other, &name);
                }
            }
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for command in COMMANDS {
                let found = answer(&mut device.edgerotate(command));
                assert_eq!(seen(&outside), before, "{command:?}: {found:?}");
                let made = made_by_root(&device);
                assert!(made.is_empty(), "{command:?} left {made:?}: {found:?}");
                assert!(!found.text.contains("root's own") && !found.errors.contains("root's own"));
            }
        }));
        over.store(true, Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let found = answer(&mut device.edgerotate(&["verify"]));
    assert_eq!(found.code, Some(0), "it does what it is for all the same: {found:?}");
}

#[test]
fn what_became_the_user_is_closed_to_that_users_other_processes() {
    if !geteuid().is_root() {
        skip("needs root, to become another user");
        return;
    }
    let device = device("root-became", Generation::V05);
    give_away(&device);
    let mut watching = device.edgerotate(&["status", "--watch"]);
    watching.env("XDG_RUNTIME_DIR", "/root-s-own").stdin(Stdio::null()).stdout(Stdio::null());
    let mut watching = watching.spawn().unwrap();
    let process = PathBuf::from(format!("/proc/{}", watching.id()));
    wait_until("it is the other user", Duration::from_secs(60), || {
        let status = fs::read_to_string(process.join("status")).unwrap();
        status.contains(&format!("Uid:\t{OTHER_USER}\t{OTHER_USER}\t{OTHER_USER}\t"))
    });
    // Root's environment is in it. The kernel gives its files to root while it is undumpable.
    let owner = fs::metadata(process.join("environ")).unwrap().uid();
    let user = OTHER_USER.to_string();
    let other = ["--reuid", &user, "--regid", &user, "--clear-groups", "cat"];
    let read = Command::new("setpriv").args(other).arg(process.join("environ")).output().unwrap();
    // What the program was begun with, which it takes from its children's environment.
    let begun_with = fs::read_to_string(process.join("environ")).unwrap();
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert_eq!(owner, 0);
    assert!(begun_with.contains("XDG_RUNTIME_DIR=/root-s-own"), "a new program is open at first");
    assert!(!read.status.success() && read.stdout.is_empty(), "{read:?}");
}

#[test]
fn a_run_of_root_that_was_killed_locks_nobody_out() {
    if !geteuid().is_root() {
        skip("needs root, to be root before another user");
        return;
    }
    let mut device = device("root-first", Generation::V05);
    write(&device, 1..=20);
    replicate(&mut device);
    give_away(&device);
    // What root left, by whatever version of edgerotate.
    for name in ["verify", "verify.0123456789abcdef"] {
        let left = device.state_directory.join(name);
        fs::create_dir(&left).unwrap();
        fs::write(left.join(".made-by-edgerotate-verify"), "").unwrap();
        fs::set_permissions(&left, Permissions::from_mode(0o700)).unwrap();
    }
    let user = OTHER_USER.to_string();
    let copy = device.scratch.join("edgerotate");
    fs::copy(crate::support::device::program(), &copy).unwrap();
    let other = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"];
    device.run_as(&other, &copy);
    let found = answer(&mut device.edgerotate(&["verify"]));
    assert_eq!(found.code, Some(0), "{found:?}");
}

/// All that is edgerotate's becomes another user's; who may look into the rest.
fn give_away(device: &Device) {
    fs::set_permissions(&*device.scratch, Permissions::from_mode(0o755)).unwrap();
    let data = device.database.parent().unwrap();
    let token = device.token.configuration.parent().unwrap();
    for directory in [data, token, &device.state_directory, &device.runtime_directory] {
        for path in tree(directory) {
            lchown(path, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
        }
    }
}

fn set_traps(device: &Device, outside: &Path) {
    for (link, target) in traps(device, outside) {
        symlink(target, &link).unwrap();
        lchown(link, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    }
    let _ = chown(outside, Some(0), Some(0));
}

/// Each trap, and what of root's it leads to.
fn traps(device: &Device, outside: &Path) -> Vec<(PathBuf, PathBuf)> {
    let trap = |directory: &str, name: &str| {
        let target = if name.starts_with("verify") { "" } else { "secret" };
        (device.scratch.join(directory).join(name), outside.join(target))
    };
    let in_directory = |(directory, names): (&'static str, &'static [&'static str])| {
        names.iter().map(move |name| trap(directory, name))
    };
    TRAPS.into_iter().flat_map(in_directory).collect()
}

/// The user's own, in the place of what has the name now.
fn put(other: &Path, name: &Path) {
    lchown(other, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    fs::rename(other, name).unwrap();
}

/// Each path below with its owner, mode and contents.
fn seen(directory: &Path) -> BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)> {
    let look = |path: PathBuf| {
        let found = fs::symlink_metadata(&path).unwrap();
        let contents = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        (path, (found.uid(), found.gid(), found.mode(), contents))
    };
    tree(directory).into_iter().map(look).collect()
}

/// What is root's in the directories of the other user; the racing thread of this test is root's as
/// well.
fn made_by_root(device: &Device) -> Vec<PathBuf> {
    let directories = [&device.state_directory, &device.runtime_directory];
    let paths = directories.into_iter().flat_map(|directory| tree(directory));
    paths
        .filter(|path| !path.ends_with("other"))
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == 0))
        .collect()
}

fn tree(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            all.extend(tree(&entry.path()));
        }
    }
    all
}
