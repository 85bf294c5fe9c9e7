//! `edgerotate credential-process`: with a daemon, beside one of another user, and without.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use chrono::{DateTime, Utc};
use nix::unistd::geteuid;
use serde_json::{Value, json};

use crate::support::{Device, Generation, SOON, Scratch, Spy, skip};

const HOUR: Duration = Duration::from_secs(3600);

/// Anybody's, and a group that no machine has members of.
const OTHER_USER: u32 = 65534;
const GROUP: u32 = 61_782;

struct Said {
    code: Option<i32>,
    json: Value,
    complaint: String,
}

fn ask(device: &Device) -> Said {
    ask_as(&mut device.edgerotate(&["credential-process"]))
}

fn ask_as(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Said {
        code: output.status.code(),
        json: serde_json::from_str(&text).unwrap_or(Value::Null),
        complaint: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn prints_the_daemons_credentials_as_sdks_read_them() {
    let mut device = Device::new("process", Generation::V05, HOUR);
    device.set("LOG", "info");
    device.start();
    device.wait_for_log("updated credential success", SOON);
    let said = ask(&device);
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
    let issued = device.cloud.issued().pop().unwrap();
    let keys: Vec<&String> = said.json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["AccessKeyId", "Expiration", "SecretAccessKey", "SessionToken", "Version"]);
    assert_eq!(said.json["Version"], json!(1));
    assert_eq!(said.json["AccessKeyId"], json!(issued.access_key_id));
    assert_eq!(said.json["SecretAccessKey"], json!(issued.secret_access_key));
    assert_eq!(said.json["SessionToken"], json!(issued.session_token));
    let told: DateTime<Utc> = said.json["Expiration"].as_str().unwrap().parse().unwrap();
    let early = (issued.expiration - told).num_seconds();
    assert!((60..70).contains(&early), "{early} s early");

    // A daemon that ended leaves what it had.
    device.stop();
    assert_eq!(ask(&device).json["AccessKeyId"], json!(issued.access_key_id));
    assert_eq!(device.cloud.fetches(), 1);
}

#[test]
fn a_daemon_without_credentials_is_waited_for_and_the_provider_is_left_alone() {
    let mut device = Device::new("later", Generation::V05, HOUR);
    device.cloud.provider_fault(&json!({"status": 503}));
    device.start();
    device.wait_for_problem("update credential failed", SOON);
    let asked = || device.cloud.requests().iter().filter(|r| r.side == "provider").count();
    let before = asked();
    let said = ask(&device);
    assert_eq!((said.code, said.json), (Some(75), Value::Null));
    assert!(said.complaint.contains("no valid credentials now"), "{}", said.complaint);
    assert!(asked() <= before + 1, "that one was the daemon's");
    device.stop();
}

#[test]
fn another_user_reads_them_where_the_image_has_a_directory_for_its_group() {
    if !geteuid().is_root() {
        skip("needs root, to become another user");
        return;
    }
    let mut device = Device::new("client", Generation::V05, HOUR);
    let clients = device.scratch.join("clients");
    fs::create_dir(&clients).unwrap();
    chown(&clients, None, Some(GROUP)).unwrap();
    fs::set_permissions(&clients, Permissions::from_mode(0o2750)).unwrap();
    fs::set_permissions(&*device.scratch, Permissions::from_mode(0o711)).unwrap();
    let copy = device.scratch.join("edgerotate");
    fs::copy(crate::support::device::program(), &copy).unwrap();
    device.open_endpoint();
    device.start();
    device.wait_for_log("updated credential success", SOON);
    let [user, group] = [OTHER_USER, GROUP].map(|id| id.to_string());
    let with = |group: &str| {
        ["setpriv", "--reuid", &user, "--regid", group, "--clear-groups"].map(str::to_owned)
    };
    let as_member = with(&group);
    let as_anybody = with(&user);
    let words = |words: &'_ [String; 6]| words.clone();

    let run = |device: &mut Device, wrapper: &[String; 6]| {
        let wrapper = words(wrapper);
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        device.run_as(&wrapper, &copy);
        ask(device)
    };
    // Without the setting it is told what to do.
    let said = run(&mut device, &as_member);
    assert_eq!((said.code, &said.json), (Some(77), &Value::Null));
    assert!(said.complaint.contains("EDGEROTATE_CLIENT_DIRECTORY"), "{}", said.complaint);

    device.stop();
    device.set("CLIENT_DIRECTORY", clients.to_str().unwrap());
    device.run_as(&["env"], &copy);
    device.start();
    device.wait_until("the files", SOON, |_| clients.join("credentials.json").exists());
    let said = run(&mut device, &as_member);
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
    let issued = device.cloud.issued().pop().unwrap();
    assert_eq!(said.json["AccessKeyId"], json!(issued.access_key_id));
    // The device's own settings are none of its business.
    let own = device.scratch.join("own.env");
    fs::write(&own, "EDGEROTATE_PRIVATE_KEY=/nowhere\n").unwrap();
    fs::set_permissions(&own, Permissions::from_mode(0o640)).unwrap();
    let run_beside_own = |device: &mut Device| {
        let wrapper: Vec<&str> = as_member.iter().map(String::as_str).collect();
        device.run_as(&wrapper, &copy);
        ask_as(device.edgerotate(&["credential-process"]).arg("--config").arg(&own))
    };
    let said = run_beside_own(&mut device);
    assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
    assert_eq!(said.json["AccessKeyId"], json!(issued.access_key_id));
    let said = run(&mut device, &as_anybody);
    assert_eq!((said.code, &said.json), (Some(77), &Value::Null));
    for name in ["credentials.json", "endpoint.env"] {
        let mode = fs::metadata(clients.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    device.stop();
    // It outlives the daemon; then there is somebody to be started.
    assert_eq!(run_beside_own(&mut device).code, Some(0));
    fs::remove_file(clients.join("credentials.json")).unwrap();
    fs::set_permissions(&device.runtime_directory, Permissions::from_mode(0o711)).unwrap();
    let said = run_beside_own(&mut device);
    assert_eq!((said.code, &said.json), (Some(75), &Value::Null));
    assert!(said.complaint.contains("edgerotate does not run"), "{}", said.complaint);
}

/// A directory on tmpfs, as a login has one; gone with this.
struct UsersDirectory(PathBuf);

impl UsersDirectory {
    fn new() -> Self {
        let scratch = Scratch::new("user");
        let path = PathBuf::from("/dev/shm").join(scratch.file_name().unwrap());
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }
}

impl Drop for UsersDirectory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// So many requests to the provider, and one login and one signature of the token for each.
fn assert_cost(device: &Device, spy: &Spy, times: usize) {
    assert_eq!(device.cloud.fetches(), times);
    assert_eq!((spy.logins(), spy.signatures()), (times, times));
}

#[test]
fn without_a_daemon_the_provider_is_asked_and_the_token_signs_once() {
    let mut device = Device::new("nodaemon", Generation::V05, HOUR);
    device.set("LOG", "info");
    let spy = Spy::on(&mut device);
    let directory = UsersDirectory::new();
    let path = directory.0.to_str().unwrap().to_owned();
    device.environment.insert("XDG_RUNTIME_DIR".to_owned(), path);
    // As when a shell starts several programs at once.
    let said: Vec<Said> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(&device))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for said in said {
        assert_eq!((said.code, said.complaint.as_str()), (Some(0), ""));
        let issued = &device.cloud.issued()[0];
        assert_eq!(said.json["AccessKeyId"], json!(issued.access_key_id));
    }
    assert_cost(&device, &spy, 1);
    let kept = directory.0.join("edgerotate-credentials.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    // Other settings, other credentials.
    let thing = device.unset("THING_NAME");
    assert_eq!(ask(&device).code, Some(0));
    assert_cost(&device, &spy, 2);

    // On a disk nothing is kept.
    device.set("THING_NAME", thing);
    device.environment.remove("XDG_RUNTIME_DIR");
    assert_eq!(ask(&device).code, Some(0));
    assert_cost(&device, &spy, 3);
    assert!(!device.runtime_directory.join("edgerotate-credentials.json").exists());
}

#[test]
fn what_keeps_it_from_asking_is_told_without_a_secret_and_nothing_else_is_printed() {
    let mut device = Device::new("noprocess", Generation::V05, HOUR);
    device.cloud.provider_fault(&json!({"status": 403, "message": "Access Denied"}));
    let said = ask(&device);
    assert_eq!((said.code, said.json), (Some(77), Value::Null));
    assert!(said.complaint.contains("Access Denied"), "{}", said.complaint);
    device.cloud.heal();
    device.set("ROLE_ALIAS", "a b");
    assert_eq!(ask(&device).code, Some(78));
}

#[test]
fn a_directory_for_clients_that_comes_late_gets_its_files_without_a_rotation() {
    let mut device = Device::new("late", Generation::V05, HOUR);
    let clients = device.scratch.join("clients");
    device.set("CLIENT_DIRECTORY", clients.to_str().unwrap());
    device.open_endpoint();
    device.start();
    device.wait_for_problem("what other programs read could not be written", SOON);
    device.wait_until("the fetch", SOON, |device| device.cloud.fetches() == 1);
    device
        .wait_until("its end", SOON, |device| device.runtime_directory.join("state.json").exists());
    fs::create_dir(&clients).unwrap();
    device.wait_until("the files", SOON, |_| {
        ["credentials.json", "endpoint.env"].iter().all(|name| clients.join(name).exists())
    });
    assert_eq!(device.cloud.fetches(), 1);
    device.stop();
}
