//! What is asked and answered, byte by byte.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::MetadataExt,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    client::{ask, ask_until_served, connect, read, request, send, token},
    support::{Device, Generation, SOON, process, process::tied},
};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn whoever_knows_the_token_gets_what_the_provider_issued() {
    let mut device = Device::new("serve", Generation::V05, HOUR);
    device.use_endpoint();
    device.start();
    let served = ask_until_served(&device);
    let issued = device.cloud.issued().pop().unwrap();
    assert_eq!(served["AccessKeyId"], json!(issued.access_key_id));
    assert_eq!(served["SecretAccessKey"], json!(issued.secret_access_key));
    assert_eq!(served["Token"], json!(issued.session_token));
    let expiration: DateTime<Utc> = served["Expiration"].as_str().unwrap().parse().unwrap();
    // Never later than they expire; a second or two earlier, for what is rounded.
    let early = (issued.expiration - expiration).num_seconds();
    assert!((0..10).contains(&early), "{early} s early");

    let token = token(&device);
    assert_eq!(ask(&device, &format!("Bearer {token}")).status, 200);
    let answer = ask(&device, &token);
    assert!(answer.head.contains("Content-Type: application/json"), "{}", answer.head);
    assert!(answer.head.contains("Cache-Control: no-store"), "{}", answer.head);
    let consumer = device.wait_for("the consumer in the status", SOON, |device| {
        let (_, text) = process::try_run(&mut device.edgerotate(&["status", "--json"]));
        let status: serde_json::Value = serde_json::from_str(&text).ok()?;
        let consumers = status["record"]["consumers"].as_array()?;
        // At first it may have asked in vain.
        let served = |one: &&serde_json::Value| {
            one["program"].as_str().unwrap().starts_with("a-test/1 (")
                && one["served"] == "credentials"
        };
        consumers.iter().find(served).cloned()
    });
    assert!(!consumer["expires"].is_null(), "{consumer}");
    device.stop();
    assert!(!device.log().contains(&token), "the token is in the log");
}

#[test]
fn whoever_asks_wrongly_gets_code_and_message_and_no_credentials() {
    let mut device = Device::new("refuse", Generation::V05, HOUR);
    device.use_endpoint();
    device.start();
    ask_until_served(&device);
    let good = request(&device, &token(&device));
    let host = format!("Host: 127.0.0.1:{}", device.port());
    let secret = device.cloud.issued().pop().unwrap().secret_access_key;
    for (from, to, status) in [
        ("Authorization: ", "Authorization: 0", 401),
        ("Authorization: ", "X-Nothing: ", 401),
        (&*host, "Host: credentials.example", 403),
        ("Accept: ", "X-Forwarded-For: 10.0.0.1\r\nAccept: ", 403),
        ("/credentials", "/", 404),
        ("GET", "POST", 405),
        ("HTTP/1.1", "HTTP", 400),
        ("Accept: ", &format!("X-Long: {}\r\nAccept: ", "x".repeat(1 << 20)), 431),
    ] {
        let answer = send(&device, good.replace(from, to).as_bytes());
        // What is sent on after the answer can take the answer with it.
        let closed = status == 431 && answer.status == 0;
        assert!(closed || answer.status == status, "{from} as {to:.40}: {answer:?}");
        assert!(!answer.body.contains(&secret));
        if answer.status != 0 {
            let json = answer.json();
            assert!(json["code"].is_string() && json["message"].is_string(), "{json}");
        }
    }
    // One that says nothing is told so, though nobody else wants its place.
    assert_eq!(read(&mut connect(&device)).status, 408);
    assert_eq!(ask(&device, &token(&device)).status, 200);
    device.stop();
}

#[test]
fn what_has_expired_is_not_served() {
    let mut device = Device::new("expired", Generation::V05, Duration::from_secs(8));
    device.use_endpoint();
    device.start();
    ask_until_served(&device);
    device.cloud.stop();
    let expires = device.cloud.issued().pop().unwrap().expiration;
    device.wait_until("a refusal", 2 * SOON, |device| ask(device, &token(device)).status == 503);
    assert!(Utc::now() >= expires - Duration::from_secs(3), "good ones are served to their end");
    // For this as well: expired credentials would be refused by AWS.
    let said = process::try_run(&mut device.edgerotate(&["credential-process"]));
    assert!(!said.0 && said.1.contains("no valid credentials now"), "{}", said.1);
    device.stop();
}

#[test]
fn who_asks_while_the_first_fetch_is_under_way_waits_for_it() {
    let mut device = Device::new("held", Generation::V05, HOUR);
    device.use_endpoint();
    device.start();
    ask_until_served(&device);
    device.stop();
    // A new daemon without its state is one that the boot starts.
    fs::remove_file(device.runtime_directory.join("state.json")).unwrap();
    device.cloud.provider_fault(&json!({"delay_s": 2}));
    device.start();
    device.wait_for_log_times("start update credential", 2, SOON);
    device.wait_until("the endpoint", SOON, |device| {
        std::net::TcpStream::connect(("127.0.0.1", device.port())).is_ok()
    });
    // The first of them ask before the answer came, and none is sent away.
    while device.cloud.fetches() < 2 {
        assert_eq!(ask(&device, &token(&device)).status, 200);
    }
    // So many wait at a time, and not for ever.
    device.stop();
    fs::remove_file(device.runtime_directory.join("state.json")).unwrap();
    device.cloud.provider_fault(&json!({"delay_s": 3600}));
    device.start();
    device.wait_for_log_times("start update credential", 3, SOON);
    device.wait_until("the endpoint", SOON, |device| {
        std::net::TcpStream::connect(("127.0.0.1", device.port())).is_ok()
    });
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..12).map(|_| scope.spawn(|| ask(&device, &token(&device)).status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses, [503; 12]);
    device.stop();
}

#[test]
fn before_there_are_credentials_it_says_so_and_litestream_comes_right_by_itself() {
    for generation in Generation::BOTH {
        let mut device = Device::new("early", generation, HOUR);
        device.use_endpoint();
        device.cloud.provider_fault(&json!({"status": 503}));
        device.start();
        // Litestream does not wait for the provider.
        device.wait_for_log("restart success litestream", SOON);
        let answer = ask(&device, &token(&device));
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["code"], json!("CredentialsNotAvailable"));
        assert!(answer.json()["message"].as_str().unwrap().contains("no valid credentials now"));
        // Somebody keeps the WAL all the same, so nothing is lost however long the provider is away.
        device.wait_until("a WAL that is kept", SOON, |device| {
            let record = fs::read(device.runtime_directory.join("status.json")).unwrap();
            let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
            ["held", "not-needed"].iter().any(|state| record["guard"][0]["state"] == *state)
        });
        assert_eq!(device.cloud.uploads().len(), 0);
        device.cloud.heal();
        device.wait_until("an upload", 4 * SOON, |device| !device.cloud.uploads().is_empty());
        assert_eq!(device.litestream.restarts(), 0);
        device.stop();
        let rows = device.rows();
        let copy = device.scratch.join("copy.db");
        device.litestream.restore_whole(&copy, &rows, SOON);
    }
}

#[test]
fn the_token_is_for_its_owner_and_outlives_the_daemon() {
    let mut device = Device::new("token", Generation::V05, HOUR);
    device.use_endpoint();
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    ask_until_served(&device);
    let first = token(&device);
    assert_eq!(first.len(), 64);
    for name in ["endpoint.env", "endpoint.json", "litestream.env"] {
        let mode = fs::metadata(device.runtime_directory.join(name)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let variables = device.variables();
    let uri = format!("http://127.0.0.1:{}/credentials", device.port());
    assert_eq!(variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], uri);
    assert_eq!(variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"], first);
    assert!(!variables.contains_key("AWS_ACCESS_KEY_ID"), "it would go before");

    // Neither a stop nor a SIGKILL of the daemon makes another token, a fetch or a restart of
    // Litestream.
    let written = fs::metadata(&device.environment_file).unwrap().modified().unwrap();
    device.stop();
    device.start();
    device.wait_until("the endpoint again", SOON, |device| {
        device.count_in_log("credentials are to be had at") == 2
    });
    assert_eq!(ask(&device, &first).status, 200);
    device.kill();
    device.start();
    device.wait_until("the endpoint again", SOON, |device| {
        device.count_in_log("credentials are to be had at") == 3
    });
    assert_eq!(ask(&device, &first).status, 200);
    // The replica can be verified by the same way.
    device.wait_until("a verified replica", 2 * SOON, |device| {
        device.edgerotate(&["verify"]).output().unwrap().status.success()
    });
    assert_eq!(device.litestream.restarts(), 0);
    assert_eq!(device.cloud.fetches(), 1);
    assert_eq!(fs::metadata(&device.environment_file).unwrap().modified().unwrap(), written);
    device.stop();
}

#[test]
fn a_port_that_another_program_has_stops_neither_rotation_nor_heartbeat() {
    let mut device = Device::new("squat", Generation::V05, Duration::from_secs(12));
    device.open_endpoint();
    let squatter = TcpListener::bind(("127.0.0.1", device.port())).unwrap();
    device.start();
    let problem = device.wait_for_problem("can't be listened on", SOON);
    assert!(problem.contains("EDGEROTATE_ENDPOINT_LISTEN"), "{problem}");
    device.wait_until("a rotation", SOON, |device| device.litestream.restarts() >= 1);
    drop(squatter);
    device.wait_for_log("credentials are to be had at", SOON);
    ask_until_served(&device);
    device.stop();
}

#[test]
fn systemd_may_pass_the_socket() {
    let mut device = Device::new("activation", Generation::V05, HOUR);
    device.use_endpoint();
    let address = format!("127.0.0.1:{}", device.port());
    // It gives the socket to what it becomes at the first connection.
    let arguments = ["systemd-socket-activate", "-E", "SOFTHSM2_CONF", "-l", &address];
    if !tied("sh")
        .args(["-c", "command -v systemd-socket-activate"])
        .output()
        .unwrap()
        .status
        .success()
    {
        crate::support::skip("there is no systemd-socket-activate");
        return;
    }
    device.run_as(&arguments, &crate::support::device::program());
    device.start();
    crate::support::wait_until("the socket", SOON, || {
        std::net::TcpStream::connect(("127.0.0.1", device.port())).is_ok()
    });
    let served = ask_until_served(&device);
    assert!(served["AccessKeyId"].is_string());
    // What the daemon starts does not get it: O_CLOEXEC, which systemd can't pass it with.
    let info = fs::read_to_string(format!("/proc/{}/fdinfo/3", device.pid())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    assert_ne!(flags & 0o2_000_000, 0, "{info}");
    device.stop();

    // Another address than the setting's would be a mistake that nobody finds.
    device.set("ENDPOINT_LISTEN", "127.0.0.1:1");
    device.start();
    crate::support::wait_until("the socket", SOON, || {
        std::net::TcpStream::connect(("127.0.0.1", device.port())).is_ok()
    });
    assert_eq!(device.wait(), Some(78));
    device.wait_for_problem("edgerotate.socket listens on", SOON);

    // A socket that nobody can connect to.
    device.set("ENDPOINT_LISTEN", &address);
    let datagrams = [&arguments[..1], &["--datagram"], &arguments[1..]].concat();
    device.run_as(&datagrams, &crate::support::device::program());
    device.start();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    device.wait_until("it said", SOON, |device| {
        // Lost while nobody listens yet, or any more.
        let _ = sender.send_to(b"?", &address);
        device.count_in_log("is no listening TCP socket") == 1
    });
    assert_eq!(device.wait(), Some(78));
}
