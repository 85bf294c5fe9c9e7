//! The daemon's side of `edgerotate mend`: who starts Litestream asks here whether a new snapshot
//! is wanted.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Mutex,
    time::sleep,
};

use super::{MendOutcome, Wanted, receive, send};
use crate::{
    core::own_files,
    litestream::{restart::Service, version::LitestreamVersion},
    replica::guard::GuardHandle,
};

/// Anyone may knock; who may ask is looked at then. The directory has a mode of its own.
const MODE: u32 = 0o666;

/// Said once: it comes again at each start of Litestream.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// The socket.
#[derive(Debug)]
pub struct MendSocket(UnixListener);

impl MendSocket {
    /// # Errors
    /// As the system gives them.
    pub fn open(runtime_directory: &Path) -> io::Result<Self> {
        let path = runtime_directory.join(own_files::MEND_SOCKET);
        // What a daemon before this one left: there is one on a device, and this is it.
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(MODE))?;
        Ok(Self(listener))
    }

    /// The next one who asks.
    pub async fn next(&self) -> UnixStream {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => return stream,
                // Such as too many open files: not a reason to go round and round.
                Err(e) => {
                    log::debug!("{}: {e}", own_files::MEND_SOCKET);
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// Answers one of them, and waits for what comes of it.
pub async fn answer(
    mut stream: UnixStream,
    litestream: Arc<Service>,
    version: Arc<Mutex<LitestreamVersion>>,
    asked: GuardHandle,
) {
    if let Err(why) = may_ask(&stream, &litestream) {
        if !REFUSED.swap(true, Ordering::Relaxed) {
            log::warn!("`edgerotate mend` was refused an answer: {why}");
        }
        let _ = send(&mut stream, &Wanted { refused: Some(why), ..Wanted::default() }).await;
        return;
    }
    look_at_version(&version, &asked).await;
    let wanted = asked.wanted().await;
    let nothing = wanted.databases.is_empty();
    let sent = send(&mut stream, &wanted).await;
    if nothing {
        return;
    }
    let outcome = match sent {
        Ok(()) => receive::<MendOutcome>(&mut stream).await,
        Err(e) => Err(e),
    };
    asked.ended(outcome.unwrap_or_else(|_| MendOutcome::failed("it was cut off")));
}

/// At the daemon's start, after its first fetch if it has to make one, and before each start of
/// Litestream that asks: the program may be another by then.
pub async fn look_at_version(version: &Mutex<LitestreamVersion>, asked: &GuardHandle) {
    let mut version = version.lock().await;
    let why = version.change().await;
    // Only then: a power cut in between must not lose it.
    if match why {
        Some(why) => asked.suspect(None, &why).await,
        None => true,
    } {
        version.keep();
    }
}

/// What is said here takes back the mark of a suspect replica: root may, this user, and a process
/// of Litestream's unit.
fn may_ask(stream: &UnixStream, litestream: &Service) -> Result<(), String> {
    let peer = stream.peer_cred().map_err(|e| e.to_string())?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    if peer.uid() == 0
        || peer.uid() == geteuid().as_raw()
        || pid.is_some_and(|pid| litestream.is(pid) == Some(true))
    {
        return Ok(());
    }
    Err(format!(
        "uid {} may not ask: only root, edgerotate's user and the processes of {} may",
        peer.uid(),
        litestream.place()
    ))
}
