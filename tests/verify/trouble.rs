//! What keeps a restore from happening, and what is said of it.

use std::{fs, process::Command};

use serde_json::json;

use crate::{
    harness::{device, held, replicate, rewrite, verified, verify, work, write},
    support::{Generation, SOON, skip, token::write_private},
};

#[test]
fn s3_that_is_away_or_refuses_is_explained() {
    for generation in Generation::BOTH {
        let mut device = device("away", generation);
        write(&device, 1..=5);
        replicate(&mut device);
        for (code, cause, exit_code) in [
            ("NoSuchBucket", "no-such-bucket", 78),
            ("AccessDenied", "access-denied", 77),
            ("ExpiredToken", "credentials-expired", 75),
        ] {
            device.cloud.s3_fault(&json!({"code": code}));
            let (answer, json) = verified(&device);
            assert_eq!((answer.code, &json["cause"]), (Some(exit_code), &json!(cause)), "{json}");
            assert!(json["summary"].as_str().unwrap().contains(code), "{json}");
        }
        // 0.5.17 tries for four minutes in silence.
        device.set("VERIFY_STALL", "1s");
        device.cloud.s3_fault(&json!({"refuse_connections": true}));
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["cause"]), (Some(75), &json!("s3-away")), "{answer:?}");
        assert_eq!(json["verdict"], "unknown");
        device.cloud.heal();
        device.set("VERIFY_STALL", "2min");
        assert_eq!(verify(&device, &[]).code, Some(0));
    }
}

#[test]
fn a_restore_that_outlives_its_credentials_takes_the_newer_ones() {
    for generation in Generation::BOTH {
        let mut device = device("outlived", generation);
        write(&device, 1..=5);
        replicate(&mut device);
        // The first request is answered only when the environment file was replaced.
        device.cloud.s3_fault(&json!({"code": "ExpiredToken", "delay_s": 8, "count": 1}));
        let mut running = held(&mut device);
        let text = fs::read_to_string(&device.environment_file).unwrap();
        write_private(&device.environment_file, &format!("{text}AWS_OF_THE_NEXT_ROTATION=1\n"));
        assert_eq!(running.wait(2 * SOON).code(), Some(0), "{}", running.output());
        assert_eq!(device.cloud.count_error("ExpiredToken"), 1);
        assert!(work(&device).is_empty());
    }
}

#[test]
fn what_is_wrong_on_the_device_is_explained() {
    for generation in Generation::BOTH {
        let mut device = device("wrong", generation);
        write(&device, 1..=5);

        let program = device.unset("LITESTREAM");
        device.set("LITESTREAM", "/nowhere/litestream");
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["cause"]), (Some(69), &json!("litestream-not-run")));
        assert!(json["summary"].as_str().unwrap().contains("/nowhere/litestream"), "{answer:?}");
        device.set("LITESTREAM", "/bin/echo");
        let (_, json) = verified(&device);
        assert_eq!(json["cause"], "litestream-not-run");
        device.set("LITESTREAM", program);

        let configuration = device.unset("LITESTREAM_CONFIG");
        device.set("LITESTREAM_CONFIG", "/nowhere/litestream.yml");
        let (answer, json) = verified(&device);
        assert_eq!(
            (answer.code, &json["cause"]),
            (Some(78), &json!("litestream-config-missing")),
            "{answer:?}"
        );
        device.set("LITESTREAM_CONFIG", configuration);
        rewrite(&device.litestream.configuration, "device.db", "other.db");
        let (answer, json) = verified(&device);
        assert_eq!(
            (answer.code, &json["cause"]),
            (Some(78), &json!("litestream-config-other-database")),
            "{answer:?}"
        );
        rewrite(&device.litestream.configuration, "other.db", "device.db");

        let moved = device.scratch.join("moved.env");
        fs::rename(&device.environment_file, &moved).unwrap();
        let answer = verify(&device, &[]);
        assert_eq!(answer.code, Some(75), "{answer:?}");
        assert!(answer.text.starts_with("cannot tell: "), "{answer:?}");
        assert!(answer.text.contains("litestream.env is not there"), "{answer:?}");
        fs::rename(&moved, &device.environment_file).unwrap();

        for suffix in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{suffix}", device.database.display())).unwrap();
        }
        fs::write(&device.database, "this is no database, but long enough".repeat(40)).unwrap();
        let (answer, json) = verified(&device);
        assert_eq!((answer.code, &json["cause"]), (Some(69), &json!("database")), "{answer:?}");
    }
}

#[test]
fn without_room_nothing_is_restored() {
    let mut device = device("room", Generation::V05);
    write(&device, 1..=5);
    replicate(&mut device);
    let small = device.scratch.join("small");
    fs::create_dir(&small).unwrap();
    let Some(_mounted) = Mounted::tmpfs(&small) else {
        return skip("no right to mount a small file system");
    };
    device.state_directory = small.clone();
    device.set("STATE_DIRECTORY", small.to_str().unwrap());
    let before = device.cloud.requests().len();
    let (answer, json) = verified(&device);
    assert_eq!((answer.code, &json["cause"]), (Some(69), &json!("no-room")), "{answer:?}");
    assert!(json["summary"].as_str().unwrap().contains("free, and a restore needs"), "{json}");
    assert_eq!(device.cloud.requests().len(), before, "S3 was not asked");
    assert!(work(&device).is_empty());
}

struct Mounted<'a>(&'a std::path::Path);

impl<'a> Mounted<'a> {
    fn tmpfs(path: &'a std::path::Path) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(path);
        command.output().is_ok_and(|output| output.status.success()).then_some(Self(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0).status().ok();
    }
}
