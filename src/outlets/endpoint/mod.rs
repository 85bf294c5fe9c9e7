//! The loopback endpoint: programs on this device ask it for the credentials, as they ask an ECS
//! agent in a container.
//!
//! Every AWS SDK speaks this protocol (SDKs and Tools Reference Guide, "Container credential
//! provider"): a GET with a token, answered with the keys and their expiry as JSON, errors with
//! `code` and `message`. So a rotation concerns nobody: whoever is about to run out asks again.
//!
//! One request a connection: SDKs ask once in some minutes, and what is closed can't pile up. A
//! client may be slow, idle or large; each limit below ends it. Many of them can make another
//! client wait, and not for long.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{SocketAddr, SocketAddrV4},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::SecondsFormat;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use zeroize::Zeroizing;

use crate::{
    core::{
        boottime::Boottime,
        credentials::Credentials,
        repeats::{Repeats, in_a_row},
    },
    outlets::endpoint::request::PATH,
    system::{clock, sockets::socket_owner, user},
};

pub mod activation;
pub mod consumers;
mod request;
pub mod token;

use self::{
    consumers::{Asker, Consumer, Consumers},
    request::{Head, MAX_HEAD_BYTES, Refusal},
    token::EndpointToken,
};

/// Connections at a time. The oldest is closed for one more, if it had its time: most likely it
/// does not ask. The others wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;

/// The same once descriptors or memory were short: a rotation, heartbeats and status need them
/// more. An answer takes a millisecond, so these serve all programs of a device too. It stays so:
/// the limit that was met is there still.
const FEW_CONNECTIONS: usize = 4;

/// An answer takes a millisecond, so whoever is still there after this is slow.
const TIME_OF_ITS_OWN: Duration = Duration::from_millis(250);

/// From the connection to the end of the request's head, and as much again for taking the answer.
const TIME_TO_ASK: Duration = Duration::from_secs(5);

/// How long a request waits for credentials that are about to come. A client that does not wait so
/// long asks again.
const HOLD: Duration = Duration::from_secs(5);

/// So many requests wait at a time; one more is told at once that there is nothing.
const MOST_HELD: usize = 8;

/// Between two tries to listen, where another program has the port.
const AGAIN: Duration = Duration::from_secs(5);

/// Between two tries to take a connection, where descriptors or memory are short.
const SHORT_OF_MEANS: Duration = Duration::from_millis(500);

/// What is served, and who asked. It is shared between the daemon, which fills it, and the
/// connections.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddrV4,
    token: EndpointToken,
    state: Mutex<EndpointState>,
    /// Whether credentials are about to come; each change of it, and newer credentials, wake
    /// whoever waits.
    expected: watch::Sender<bool>,
    held: Semaphore,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct EndpointState {
    served: Option<(Credentials, Boottime)>,
    consumers: Consumers,
}

impl Endpoint {
    /// An endpoint that has nothing to serve yet.
    pub fn new(address: SocketAddrV4, token: EndpointToken) -> Self {
        Self {
            address,
            token,
            state: Mutex::default(),
            expected: watch::Sender::new(false),
            held: Semaphore::new(MOST_HELD),
            wanted: Notify::new(),
        }
    }

    /// For `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub fn uri(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// For `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    pub fn token(&self) -> &EndpointToken {
        &self.token
    }

    /// From now on these are served, until they expire.
    pub fn serve(&self, credentials: &Credentials, expires: Boottime) {
        self.state().served = Some((credentials.clone(), expires));
        self.expected.send_modify(|_| ());
    }

    /// Whether credentials are about to come.
    pub fn expect(&self, expected: bool) {
        self.expected.send_if_modified(|is| std::mem::replace(is, expected) != expected);
    }

    /// Waits until somebody asked, and there was nothing.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Who asked lately, the last one first.
    pub fn consumers(&self) -> Vec<Consumer> {
        self.state().consumers.all()
    }

    /// Those who asked again and again, and no longer did although what they hold has run out; each
    /// is told once.
    pub fn ran_out(&self, now: Boottime) -> Vec<Consumer> {
        self.state().consumers.ran_out(now)
    }

    /// Takes connections for as long as the daemon runs. `listener`: from systemd, else it listens
    /// itself, and tries again for as long as it can't.
    pub async fn run(self: Arc<Self>, listener: Option<std::net::TcpListener>) -> Infallible {
        let listener = match listener.map(TcpListener::from_std) {
            Some(Ok(listener)) => listener,
            Some(Err(e)) => {
                log::error!("the socket from systemd can't be used: {e}; listening without it");
                self.listen().await
            }
            None => self.listen().await,
        };
        log::debug!("credentials are to be had at {}", self.uri());
        let mut connections = JoinSet::new();
        let mut open: VecDeque<(AbortHandle, Instant)> = VecDeque::new();
        let mut faults = Repeats::default();
        let mut most = MAX_CONNECTIONS;
        loop {
            let is_full = open.len() >= most;
            let oldest = open.front().filter(|_| is_full).map(|(_, begun)| *begun);
            let taken = async {
                if let Some(begun) = oldest {
                    sleep_until(begun + TIME_OF_ITS_OWN).await;
                }
                listener.accept().await
            };
            tokio::select! {
                taken = taken => match taken {
                    Ok((stream, peer)) => {
                        faults.over();
                        if is_full {
                            open.pop_front().inspect(|(oldest, _)| oldest.abort());
                        }
                        let talk = connections.spawn(Arc::clone(&self).talk(stream, peer));
                        open.push_back((talk, Instant::now()));
                    }
                    Err(e) => {
                        if let Some(times) = faults.came(e.to_string(), clock::boottime()) {
                            log::warn!(
                                "a connection to the endpoint could not be taken{}: {e}; it is \
                                 tried again",
                                in_a_row(times)
                            );
                        }
                        if is_short_of_means(&e) {
                            most = FEW_CONNECTIONS;
                            let too_many = open.len().saturating_sub(most);
                            open.drain(..too_many).for_each(|(oldest, _)| oldest.abort());
                        }
                        // A client that went away again is that client's loss alone.
                        if e.kind() != io::ErrorKind::ConnectionAborted {
                            sleep(SHORT_OF_MEANS).await;
                        }
                    }
                },
                Some(_) = connections.join_next() => open.retain(|(one, _)| !one.is_finished()),
            }
        }
    }

    async fn listen(&self) -> TcpListener {
        let mut said = false;
        loop {
            let error = match TcpListener::bind(self.address).await {
                Ok(listener) => return listener,
                Err(error) => error,
            };
            if !said {
                log::error!(
                    "EDGEROTATE_ENDPOINT_LISTEN: {} can't be listened on ({error}): programs that \
                     ask there get no \
                     credentials, or another program's; see who has it (ss -ltnp), or set another \
                     port. It is tried again",
                    self.address
                );
                said = true;
            }
            sleep(AGAIN).await;
        }
    }

    /// One request and its answer.
    async fn talk(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr) {
        let mut head = Zeroizing::new(Vec::with_capacity(MAX_HEAD_BYTES));
        let answer = match timeout(TIME_TO_ASK, read_head(&mut stream, &mut head)).await {
            Ok(Ok(asked)) => self.answer(asked, peer).await,
            // It went away.
            Ok(Err(_)) => return,
            Err(_) => refuse(&Refusal::TOO_SLOW),
        };
        let _ = timeout(TIME_TO_ASK, async {
            stream.write_all(&answer).await?;
            stream.shutdown().await
        })
        .await;
    }

    async fn answer(&self, asked: Result<Head, Refusal>, peer: SocketAddr) -> Zeroizing<Vec<u8>> {
        let judged = asked.and_then(|head| head.judge(self.address.port(), &self.token));
        let asker = match judged {
            Ok(program) => Asker { program, user: socket_owner(peer, self.address) },
            Err(refusal) => {
                log::debug!("the endpoint refused a request: {}", refusal.message);
                return refuse(&refusal);
            }
        };
        self.wait_for_credentials().await;
        let now = clock::boottime();
        let mut state = self.state();
        let EndpointState { served, consumers } = &mut *state;
        let served = served.as_ref().filter(|(_, expires)| *expires > now);
        let until = served.map(|(_, expires)| *expires);
        if let Some(name) = consumers.asked(&asker, now, until, user::local_name) {
            log::info!("{name} asks for credentials");
        }
        match served {
            Some((credentials, expires)) => {
                log::debug!("{} is given credentials", asker.program);
                let size = 512 + credentials.session_token.expose().len();
                http(200, "", &Served::new(credentials, *expires, now), size)
            }
            None => {
                self.wanted.notify_one();
                refuse(&Refusal::NOTHING_YET)
            }
        }
    }

    /// Returns as soon as there are credentials, or none are to be expected, or they take too long.
    /// A program that is told "none yet" may well end.
    async fn wait_for_credentials(&self) {
        let mut news = self.expected.subscribe();
        let Ok(_place) = self.held.try_acquire() else { return };
        let end = Instant::now() + HOLD;
        while *news.borrow_and_update() && !self.has_credentials() {
            if !matches!(timeout_at(end, news.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn has_credentials(&self) -> bool {
        let now = clock::boottime();
        self.state().served.as_ref().is_some_and(|(_, expires)| *expires > now)
    }

    fn state(&self) -> MutexGuard<'_, EndpointState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer that every SDK reads.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Served<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

impl<'a> Served<'a> {
    /// The expiry is the device's time plus what remains: whoever asks compares it with the
    /// device's clock.
    fn new(credentials: &'a Credentials, expires: Boottime, now: Boottime) -> Self {
        Self {
            access_key_id: &credentials.access_key_id,
            secret_access_key: credentials.secret_access_key.expose(),
            token: credentials.session_token.expose(),
            expiration: (clock::wall() + expires.since(now))
                .to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }
}

fn refuse(refusal: &Refusal) -> Zeroizing<Vec<u8>> {
    let answer = http(refusal.status, refusal.headers, refusal, 512);
    match refusal.has_body {
        true => answer,
        // The head of what a GET would be told, and nothing after it (RFC 9110, 9.3.2).
        false => {
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
            Zeroizing::new(answer[..end.map_or(answer.len(), |end| end + 4)].to_vec())
        }
    }
}

/// The whole answer, its connection's last word. `headers`: further ones, each with its line's end.
/// `size`: what the body surely fits in.
fn http(status: u16, headers: &str, body: &impl Serialize, size: usize) -> Zeroizing<Vec<u8>> {
    // Allocated once: a buffer that grows leaves copies of the secrets behind.
    let mut json = Zeroizing::new(Vec::with_capacity(size));
    // Strings and a number go into memory: this does not fail.
    let _ = serde_json::to_writer(&mut *json, body);
    let head = format!(
        "HTTP/1.1 {status} {}\r\n{headers}Content-Type: application/json\r\nContent-Length: \
         {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        request::reason(status),
        json.len()
    );
    let mut answer = Zeroizing::new(Vec::with_capacity(head.len() + json.len()));
    answer.extend_from_slice(head.as_bytes());
    answer.extend_from_slice(&json);
    answer
}

/// Of descriptors or memory (accept(2)); other errors are the network's.
fn is_short_of_means(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    error.raw_os_error().is_some_and(|code| [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(&code))
}

/// Reads on until the head of a request is whole, or too long. An error: there will be no more of
/// it.
async fn read_head(
    stream: &mut TcpStream,
    read: &mut Vec<u8>,
) -> io::Result<Result<Head, Refusal>> {
    loop {
        let room = (MAX_HEAD_BYTES - read.len()) as u64;
        if (&mut *stream).take(room).read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match Head::parse(read) {
            Ok(None) if read.len() < MAX_HEAD_BYTES => {}
            Ok(None) => return Ok(Err(Refusal::TOO_LARGE)),
            Ok(Some(head)) => return Ok(Ok(head)),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
}
