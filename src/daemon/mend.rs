//! The daemon's side of `edgerotate mend`: who starts Litestream asks here whether a new snapshot is wanted.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Mutex,
    time::sleep,
};

use super::guard::Asked;
use crate::{
    litestream::Litestream,
    litestream_version::LitestreamVersion,
    mend::{Outcome, SOCKET, Wanted, receive, send},
};

/// Anyone may knock; who may ask is looked at then. The directory has a mode of its own.
const MODE: u32 = 0o666;

/// The socket.
#[derive(Debug)]
pub struct Door(UnixListener);

impl Door {
    /// # Errors
    /// As the system gives them.
    pub fn open(runtime_directory: &Path) -> io::Result<Self> {
        let path = runtime_directory.join(SOCKET);
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
                    log::debug!("{SOCKET}: {e}");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// Answers one of them, and waits for what comes of it.
pub async fn answer(
    mut stream: UnixStream,
    litestream: Arc<Litestream>,
    version: Arc<Mutex<LitestreamVersion>>,
    asked: Asked,
) {
    if !may_ask(&stream, &litestream) {
        log::debug!("{SOCKET}: somebody else than Litestream's user asked");
        return;
    }
    look_at_version(&version, &asked).await;
    let wanted = Wanted { databases: asked.wanted().await };
    let nothing = wanted.databases.is_empty();
    let sent = send(&mut stream, &wanted).await;
    if nothing {
        return;
    }
    let outcome = match sent {
        Ok(()) => receive::<Outcome>(&mut stream).await,
        Err(e) => Err(e),
    };
    asked.ended(outcome.unwrap_or_else(|_| Outcome::failed("it was cut off")));
}

/// At the daemon's start, and before each start of Litestream that asks: the program may be another by then.
pub async fn look_at_version(version: &Mutex<LitestreamVersion>, asked: &Asked) {
    if let Some(why) = version.lock().await.change().await {
        asked.suspect(None, &why);
    }
}

/// What is said here takes back the mark of a suspect replica: root may, this user, and a process of Litestream's unit.
fn may_ask(stream: &UnixStream, litestream: &Litestream) -> bool {
    let Ok(peer) = stream.peer_cred() else { return false };
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    peer.uid() == 0
        || peer.uid() == geteuid().as_raw()
        || pid.is_some_and(|pid| litestream.is(pid) == Some(true))
}
