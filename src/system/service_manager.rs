//! systemd, as far as a service talks to it: sd_notify, the watchdog and the journal.
//!
//! The protocol is one datagram on a socket: twenty lines instead of a library (sd_notify(3),
//! sd-daemon(3)).

use std::{
    ffi::OsStr,
    io::{self, Write},
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use nix::sys::stat::fstat;

/// The service manager's end of the notification socket, or nothing where there is none.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    /// The last sentence that was said: each one wakes the service manager.
    said: String,
}

impl ServiceManager {
    /// Takes `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` from `variable`.
    ///
    /// # Errors
    /// A `NOTIFY_SOCKET` that is no socket's name; without one there is simply nobody to tell.
    pub fn new(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> io::Result<Self> {
        let socket = match variable("NOTIFY_SOCKET") {
            Some(name) => {
                let socket = UnixDatagram::unbound()?;
                // A service manager that does not read must not stop the service.
                socket.set_nonblocking(true)?;
                Some((socket, address(&name)?))
            }
            None => None,
        };
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog =
            number("WATCHDOG_USEC").filter(|usec| meant && *usec > 0).map(Duration::from_micros);
        Ok(Self { socket, watchdog, said: String::new() })
    }

    /// How often the watchdog is to be fed, by [`Self::watchdog`]: half of what systemd waits.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|wait| wait / 2)
    }

    /// The daemon works.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// A sentence for a person: what the daemon does now. Said only when it has changed.
    pub fn status(&mut self, sentence: String) {
        if self.said != sentence {
            self.send(&format!("STATUS={}", sentence.replace('\n', " ")));
            self.said = sentence;
        }
    }

    /// The daemon is alive.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// The daemon is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            // A datagram that is lost is followed by the next one.
            if let Err(e) = socket.send_to_addr(message.as_bytes(), address) {
                log::debug!("the service manager can't be told {message:?}: {e}");
            }
        }
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// Whether standard error goes to the journal, which adds the time and reads the priority.
///
/// `journal_stream` is `JOURNAL_STREAM`: device and inode of the stream. Comparing them tells an
/// inherited variable from a stream that was redirected since (systemd.exec(5)).
pub fn writes_to_journal(journal_stream: Option<&str>, stream: impl AsFd) -> bool {
    let parse = |text: &str| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    };
    match (journal_stream.and_then(parse), fstat(stream)) {
        // The widths of these differ between the architectures.
        #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
        (Some(journal), Ok(file)) => journal == (file.st_dev as u64, file.st_ino as u64),
        _ => false,
    }
}

/// One line for the journal: sd-daemon(3)'s prefix says how urgent it is.
pub fn write_for_journal(out: &mut impl Write, record: &log::Record<'_>) -> io::Result<()> {
    let priority = match record.level() {
        log::Level::Error => 3,
        log::Level::Warn => 4,
        log::Level::Info => 6,
        log::Level::Debug | log::Level::Trace => 7,
    };
    writeln!(out, "<{priority}>{}", record.args())
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs::File, os::unix::fs::MetadataExt};

    use super::*;

    fn manager(variables: &[(&str, String)]) -> ServiceManager {
        ServiceManager::new(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
        })
        .unwrap()
    }

    #[test]
    fn tells_a_socket_with_an_abstract_name() {
        let name = format!("edgerotate-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        let mut manager = manager(&[("NOTIFY_SOCKET", format!("@{name}"))]);
        manager.ready();
        manager.status("rotates\nat noon".to_owned());
        manager.status("rotates\nat noon".to_owned());
        manager.watchdog();
        let mut received = Vec::new();
        for _ in 0..3 {
            let mut buffer = [0; 64];
            let size = listener.recv(&mut buffer).unwrap();
            received.push(String::from_utf8_lossy(&buffer[..size]).into_owned());
        }
        assert_eq!(received, ["READY=1", "STATUS=rotates at noon", "WATCHDOG=1"]);
    }

    #[test]
    fn the_watchdog_is_fed_at_half_its_time_and_only_by_the_process_it_is_for() {
        let usec = ("WATCHDOG_USEC", "30000000".to_owned());
        let own = ("WATCHDOG_PID", std::process::id().to_string());
        let other = ("WATCHDOG_PID", "1".to_owned());
        let interval = |variables: &[_]| manager(variables).watchdog_interval();
        assert_eq!(interval(&[]), None);
        assert_eq!(interval(std::slice::from_ref(&usec)), Some(Duration::from_secs(15)));
        assert_eq!(interval(&[usec.clone(), own]), Some(Duration::from_secs(15)));
        assert_eq!(interval(&[usec, other]), None);
    }

    #[test]
    fn an_inherited_journal_stream_is_told_from_a_real_one() {
        let file = File::open("/dev/null").unwrap();
        let metadata = file.metadata().unwrap();
        let name = format!("{}:{}", metadata.dev(), metadata.ino());
        assert!(writes_to_journal(Some(&name), &file));
        assert!(!writes_to_journal(Some("1:2"), &file));
        assert!(!writes_to_journal(Some("nonsense"), &file));
        assert!(!writes_to_journal(None, &file));
    }
}
