//! What hands the credentials to programs that ask for them: the endpoint, and the file for
//! `credential-process`.
//!
//! Nothing that goes wrong here keeps the rotation from going on.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use zeroize::Zeroizing;

use super::{
    stopped::{Stopped, device},
    tasks::Done,
};
use crate::{
    core::{
        boottime::Boottime,
        credentials,
        environment_file::{self, Contents},
        own_files,
        rotation::{self, Acquiring, Rotation},
    },
    outlets::{
        endpoint::{
            Endpoint, activation,
            consumers::Consumer,
            token::{TokenFile, TokenRecord},
        },
        state_file::{State, StateFile},
    },
    record,
    settings::{Config, Delivery},
    system::atomic_file,
};

/// The least lead where programs ask. Most SDKs ask again five minutes before expiry (boto3: from
/// 15 on), and would before each of their requests if what they got had less than that left.
const LEAD: Duration = Duration::from_secs(8 * 60);

/// A request waits for credentials that are expected within this time.
const SOON: Duration = Duration::from_secs(3);

pub struct Outlets {
    opened: Option<OpenEndpoint>,
    for_clients: Option<StateFile>,
    /// What that file is to hold.
    offered: Option<State>,
    /// A file for other programs is not as it should be.
    owed: bool,
    /// Litestream is one of those who ask.
    for_litestream: bool,
}

struct OpenEndpoint {
    endpoint: Arc<Endpoint>,
    listener: Option<std::net::TcpListener>,
    file: TokenFile,
    kept: TokenRecord,
    /// None where it can't be put into words.
    for_others: Option<ForOthers>,
}

/// What a program other than Litestream needs to ask, and where it finds that.
struct ForOthers {
    path: PathBuf,
    mode: u32,
    text: Zeroizing<String>,
    /// A file with the token alone, where the programs can read one.
    token: Option<(PathBuf, Zeroizing<String>)>,
}

impl Outlets {
    /// Gets them ready; nobody is answered yet. To be called once.
    pub fn open(config: &Config, boot_id: &str) -> Result<Self, Stopped> {
        let passed = activation::listener(|name| env::var_os(name)).map_err(|e| {
            log::error!("{e}");
            Stopped::Settings
        })?;
        let clients = config.outlets.client_directory.as_deref();
        let opened = match config.outlets.has_endpoint() {
            true => Some(OpenEndpoint::new(config, boot_id, passed)?),
            false => {
                if let Some((_, address)) = passed {
                    log::warn!(
                        "edgerotate.socket listens on {address}, but there is no endpoint to \
                         answer there: disable it, or \
                         set EDGEROTATE_DELIVERY=endpoint or EDGEROTATE_ENDPOINT_LISTEN"
                    );
                }
                None
            }
        };
        let for_litestream = config.outlets.delivery == Delivery::Endpoint;
        Ok(Self {
            owed: opened.is_some(),
            opened,
            for_clients: clients.map(StateFile::for_clients),
            offered: None,
            for_litestream,
        })
    }

    /// How far ahead of expiry newer credentials are to be fetched.
    pub fn lead(&self, configured: Duration) -> Duration {
        if self.opened.is_some() { configured.max(LEAD) } else { configured }
    }

    /// How Litestream gets at the credentials. `is_current`: its environment file is as it should
    /// be, and it runs.
    pub fn delivery(&self, is_current: bool) -> rotation::HandOverPolicy {
        match self.asked_by_litestream() {
            Some(opened) => {
                rotation::HandOverPolicy::Once { done: opened.kept.handed_over && is_current }
            }
            None => rotation::HandOverPolicy::EachTime,
        }
    }

    /// The endpoint as Litestream's environment file tells of it, where Litestream asks.
    pub fn told_to_litestream(&self) -> Option<Contents<'_>> {
        // Its user may not read the token's file, and needs none.
        Some(told(&self.asked_by_litestream()?.endpoint, None))
    }

    /// Answers whoever asks, for as long as the daemon runs; nothing where there is no endpoint.
    pub fn start(&mut self) -> Option<impl Future<Output = Done> + Send + use<>> {
        let opened = self.opened.as_mut()?;
        let (endpoint, listener) = (Arc::clone(&opened.endpoint), opened.listener.take());
        Some(async move { match endpoint.run(listener).await {} })
    }

    /// What is known of the next fetch: whoever asks meanwhile waits for one that is under way or
    /// at hand.
    pub fn expect(&self, rotation: &Rotation, now: Boottime) {
        let Some(opened) = &self.opened else { return };
        let is_due = || rotation.next_fetch().is_some_and(|at| at.since(now) <= SOON);
        opened.endpoint.expect(rotation.acquiring() == Acquiring::Fetching || is_due());
    }

    /// Waits until a program asked for credentials, and there were none.
    pub async fn wanted(&self) {
        match &self.opened {
            Some(opened) => opened.endpoint.wanted().await,
            None => std::future::pending().await,
        }
    }

    /// The newest credentials, for all who ask. Those who read a file get them by
    /// [`Self::write_owed`].
    pub fn offer(&mut self, state: &State) {
        if let Some(opened) = &self.opened {
            opened.endpoint.serve(&state.credentials, state.resumed().held.expires);
        }
        if self.for_clients.is_some() {
            self.offered = Some(state.clone());
            self.owed = true;
        }
    }

    /// Writes the files for other programs, if one is not as it should be; then says so.
    ///
    /// # Errors
    /// One of them could not be written, in words. It stays owed.
    pub fn write_owed(&mut self) -> Result<bool, String> {
        if !self.owed {
            return Ok(false);
        }
        // The one does not wait for the other.
        let told = self.opened.as_ref().and_then(|opened| opened.for_others.as_ref());
        let told = told.map_or(Ok(()), ForOthers::write);
        let given = match (&self.for_clients, &self.offered) {
            (Some(file), Some(state)) => {
                file.save(state).map_err(|e| format!("{}: {e}", file.path.display()))
            }
            _ => Ok(()),
        };
        told.and(given)?;
        self.owed = false;
        Ok(true)
    }

    /// Keeps whether Litestream was seen to start with the endpoint in its environment.
    ///
    /// # Errors
    /// As the file system gives them; then it is started once more than needed.
    pub fn keep_handed_over(&mut self, handed_over: bool) -> io::Result<()> {
        match &mut self.opened {
            Some(opened) if self.for_litestream && opened.kept.handed_over != handed_over => {
                opened.kept.handed_over = handed_over;
                opened.file.save(&opened.kept)
            }
            _ => Ok(()),
        }
    }

    /// Programs that stopped asking, whose credentials have run out since this was last called.
    pub fn ran_out(&self, now: Boottime) -> Vec<Consumer> {
        self.opened.as_ref().map_or(Vec::new(), |opened| opened.endpoint.ran_out(now))
    }

    /// Who asks, for the record; none where there is no endpoint.
    pub fn consumers(&self) -> Option<Vec<record::Consumer>> {
        let consumers = self.opened.as_ref()?.endpoint.consumers();
        Some(consumers.into_iter().map(Into::into).collect())
    }

    fn asked_by_litestream(&self) -> Option<&OpenEndpoint> {
        self.opened.as_ref().filter(|_| self.for_litestream)
    }
}

impl OpenEndpoint {
    fn new(
        config: &Config,
        boot_id: &str,
        passed: Option<activation::Passed>,
    ) -> Result<Self, Stopped> {
        let set = config.outlets.listen;
        if let (Some((_, passed)), Some(set)) = (&passed, set) {
            if *passed != set {
                log::error!(
                    "EDGEROTATE_ENDPOINT_LISTEN: is {set}, but edgerotate.socket listens on \
                     {passed}: set both to the \
                     same, or leave the setting out"
                );
                return Err(Stopped::Settings);
            }
        }
        let (listener, address) = match passed {
            Some((listener, address)) => (Some(listener), address),
            None => (None, set.unwrap_or(crate::settings::OutletSettings::DEFAULT_LISTEN)),
        };
        let file = TokenFile::in_directory(&config.runtime_directory);
        let kept = file.load_or_make(boot_id).map_err(device(
            "the endpoint's token can't be kept in EDGEROTATE_RUNTIME_DIRECTORY",
        ))?;
        let endpoint = Arc::new(Endpoint::new(address, kept.token.clone()));
        let for_others = ForOthers::new(config, &endpoint)
            .inspect_err(|e| {
                log::error!("{e}; programs other than Litestream are not told where to ask");
            })
            .ok();
        Ok(Self { endpoint, listener, file, kept, for_others })
    }
}

impl From<Consumer> for record::Consumer {
    fn from(consumer: Consumer) -> Self {
        let served = if consumer.served_until.is_some() { "credentials" } else { "nothing" };
        Self {
            program: consumer.name,
            last_request: consumer.asked.into(),
            served: served.to_owned(),
            expires: consumer.served_until.map(Into::into),
            stays: consumer.stays,
        }
    }
}

fn told<'a>(endpoint: &'a Endpoint, token_file: Option<&'a Path>) -> Contents<'a> {
    Contents::Endpoint { uri: endpoint.uri(), token: endpoint.token().secret(), token_file }
}

impl ForOthers {
    fn new(config: &Config, endpoint: &Endpoint) -> Result<Self, String> {
        let (directory, mode) = match &config.outlets.client_directory {
            Some(directory) => (directory, 0o640),
            None => (&config.runtime_directory, 0o600),
        };
        // A program that may not read the file that is named would have no token at all.
        let shared = config.outlets.client_directory.as_deref();
        let token_file = shared.map(|directory| directory.join(own_files::TOKEN_FOR_CLIENTS));
        let token_file = token_file.filter(|path| {
            path.to_str().is_some_and(|path| path.chars().all(credentials::is_plain))
        });
        let text = environment_file::text(
            &told(endpoint, token_file.as_deref()),
            &config.litestream.region,
            config.provider.thing_name.as_deref(),
        )?;
        let token = Zeroizing::new(endpoint.token().secret().expose().to_owned());
        let token = token_file.map(|path| (path, token));
        Ok(Self { path: directory.join(own_files::ENDPOINT_ENVIRONMENT), mode, text, token })
    }

    fn write(&self) -> Result<(), String> {
        // What the environment names is there before it.
        let token = self.token.iter().map(|(path, token)| (path, token));
        for (path, text) in token.chain([(&self.path, &self.text)]) {
            atomic_file::replace(path, text.as_bytes(), self.mode)
                .map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(())
    }
}
