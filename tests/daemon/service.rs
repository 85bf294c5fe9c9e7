//! What systemd sees: readiness, the watchdog, a sentence for a person, and lines made for the
//! journal.

use std::{
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    time::Duration,
};

use crate::support::{Device, Generation, SOON, wait_until};

/// A socket as systemd gives it to a `Type=notify` service, and all that was said on it.
struct Manager {
    socket: UnixDatagram,
    said: Vec<String>,
}

impl Manager {
    fn of(device: &mut Device) -> Self {
        let path = device.scratch.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let name = path.to_str().unwrap().to_owned();
        device.environment.insert("NOTIFY_SOCKET".to_owned(), name);
        Self { socket, said: Vec::new() }
    }

    fn wait_for(&mut self, text: &str, times: usize) {
        wait_until(&format!("{times} × {text} on the notify socket"), SOON, || {
            let mut message = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut message) {
                let message = String::from_utf8_lossy(&message[..length]).into_owned();
                self.said.extend(message.lines().map(str::to_owned));
            }
            self.said.iter().filter(|line| line.starts_with(text)).count() >= times
        });
    }

    fn position(&self, text: &str) -> usize {
        self.said.iter().position(|line| line.starts_with(text)).unwrap_or(usize::MAX)
    }
}

#[test]
fn systemd_is_told_of_readiness_status_watchdog_and_stop() {
    let mut device = Device::new("notify", Generation::V05, Duration::from_secs(3600));
    let mut manager = Manager::of(&mut device);
    device.environment.insert("WATCHDOG_USEC".to_owned(), "600000".to_owned());
    device.start();
    manager.wait_for("READY=1", 1);
    manager.wait_for("WATCHDOG=1", 5);
    manager.wait_for("STATUS=", 1);
    device.wait_for_log("restart success litestream", SOON);
    manager.wait_for("STATUS=", 1);
    let status = manager.said.iter().rfind(|line| line.starts_with("STATUS=")).unwrap().clone();
    assert!(status.contains(' ') && status.len() > 20, "a sentence for a person: {status}");

    device.daemon().signal(nix::sys::signal::Signal::SIGTERM);
    manager.wait_for("STOPPING=1", 1);
    assert_eq!(device.wait(), Some(0));
    assert!(manager.position("READY=1") < manager.position("STOPPING=1"), "{:?}", manager.said);
    assert_eq!(manager.said.iter().filter(|line| *line == "READY=1").count(), 1);
}

#[test]
fn without_a_watchdog_none_is_fed() {
    let mut device = Device::new("nowatchdog", Generation::V05, Duration::from_secs(3600));
    let mut manager = Manager::of(&mut device);
    device.start();
    manager.wait_for("READY=1", 1);
    device.wait_for_log("restart success litestream", SOON);
    device.stop();
    manager.wait_for("STOPPING=1", 1);
    assert!(!manager.said.iter().any(|line| line.starts_with("WATCHDOG=")), "{:?}", manager.said);
}

#[test]
fn in_the_journal_lines_have_a_priority_and_no_time() {
    let mut device = Device::new("journal", Generation::V05, Duration::from_secs(3600));
    // The daemon's stderr is the journal's if this names it.
    let log = std::fs::File::create(device.log_file()).unwrap().metadata().unwrap();
    let journal = format!("{}:{}", log.dev(), log.ino());
    device.environment.insert("JOURNAL_STREAM".to_owned(), journal);
    device.litestream.fail_restarts(1);
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    device.stop();

    let log = device.log();
    // The restart command's own words pass through as they are.
    for line in log.lines().filter(|line| !line.starts_with("restart-litestream: ")) {
        let text = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (priority, text) = text.unwrap_or_else(|| panic!("no priority in {line:?}"));
        assert!(["3", "4", "5", "6", "7"].contains(&priority), "{line:?}");
        assert!(!text.starts_with("20"), "the journal has times of its own: {line:?}");
    }
    let priority = |text: &str| log.lines().find(|l| l.contains(text)).map(|l| l[..3].to_owned());
    assert_eq!(priority("start app").as_deref(), Some("<6>"));
    assert_eq!(priority("its own words stand before").as_deref(), Some("<3>"), "{log}");
}

#[test]
fn a_journal_that_is_not_this_output_changes_nothing() {
    let mut device = Device::new("nojournal", Generation::V05, Duration::from_secs(3600));
    device.environment.insert("JOURNAL_STREAM".to_owned(), "1:2".to_owned());
    device.start();
    let line = device.wait_for_log("start app", SOON);
    assert!(!line.starts_with('<'), "{line}");
    device.stop();
}

/// The kernel takes ten datagrams or so for a socket that nobody reads; a blocking one would wait
/// then.
#[test]
fn a_service_manager_that_does_not_read_stops_nothing() {
    let mut device = Device::new("deaf", Generation::V05, Duration::from_secs(10));
    let _manager = Manager::of(&mut device);
    device.environment.insert("WATCHDOG_USEC".to_owned(), "200000".to_owned());
    device.start();
    device.wait_until("many heartbeats", SOON, |device| device.rows().len() > 60);
    device.wait_until("a rotation", 2 * SOON, |device| device.cloud.fetches() >= 3);
    assert_eq!(device.stop(), Some(0));
}
