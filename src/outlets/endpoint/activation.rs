//! A listening socket that systemd passes to the daemon (sd_listen_fds(3)): then the port is taken
//! for as long as the socket unit is up, and nobody can squat on it while the daemon restarts.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener},
    os::fd::{BorrowedFd, RawFd},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{SockRef, Type};

/// The first descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// A socket, and where it listens.
pub type Passed = (TcpListener, SocketAddrV4);

/// The socket that was passed to this process, if one was, and where it listens. To be called once.
///
/// # Errors
/// What was passed can't be the endpoint's: what it is, and what to do.
pub fn listener(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Passed>, String> {
    let number = |name| variable(name)?.to_str()?.parse::<u32>().ok();
    let Some(count) = number("LISTEN_FDS").filter(|count| *count > 0) else { return Ok(None) };
    // Inherited from a parent that it was meant for.
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    if count > 1 {
        return Err(format!(
            "systemd passes {count} sockets, and edgerotate takes one: edgerotate.socket needs \
             exactly one ListenStream="
        ));
    }
    let listener =
        adopt(FIRST).map_err(|e| format!("the socket from systemd can't be used: {e}"))?;
    if !listens_for_streams(&listener) {
        return Err("what edgerotate.socket passes is no listening TCP socket: set \
             ListenStream=127.0.0.1:PORT and Accept=no"
            .to_owned());
    }
    match listener.local_addr() {
        Ok(SocketAddr::V4(address)) if *address.ip() == Ipv4Addr::LOCALHOST => {
            Ok(Some((listener, address)))
        }
        Ok(address) => Err(format!(
            "edgerotate.socket listens on {address}, where others than this device's programs may \
             ask: set \
             ListenStream=127.0.0.1:PORT"
        )),
        Err(e) => Err(format!(
            "what edgerotate.socket passes is no TCP socket ({e}): set ListenStream=127.0.0.1:PORT"
        )),
    }
}

fn listens_for_streams(passed: &TcpListener) -> bool {
    let socket = SockRef::from(passed);
    // What is no socket at all has neither.
    socket.r#type().is_ok_and(|kind| kind == Type::STREAM) && socket.is_listener().unwrap_or(false)
}

#[allow(unsafe_code, reason = "a number in the environment is all that tells of the descriptor")]
fn adopt(fd: RawFd) -> io::Result<TcpListener> {
    // SAFETY: the service manager passed this descriptor to this very process, by LISTEN_PID;
    // nothing here has opened or closed it, and it is not looked at again under its number.
    let passed = unsafe { BorrowedFd::borrow_raw(fd) };
    // systemd can't pass it on close-on-exec, and the daemon's children have no use for it.
    fcntl(passed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let listener = TcpListener::from(passed.try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(fds: &str, pid: u32) -> Result<Option<SocketAddrV4>, String> {
        let pid = pid.to_string();
        let variables = [("LISTEN_FDS", fds.to_owned()), ("LISTEN_PID", pid)];
        let found = listener(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into())
        });
        found.map(|found| found.map(|(_, address)| address))
    }

    #[test]
    fn what_is_not_for_this_process_is_not_touched() {
        let own = std::process::id();
        assert_eq!(passed("0", own), Ok(None));
        assert_eq!(passed("1", own + 1), Ok(None));
        assert_eq!(passed("many", own), Ok(None));
        assert_eq!(listener(|_| None).unwrap().map(|(_, address)| address), None);
        assert!(passed("2", own).unwrap_err().starts_with("systemd passes 2 sockets"));
    }
}
