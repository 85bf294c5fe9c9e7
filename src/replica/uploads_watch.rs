//! Litestream's uploads, watched where its metrics can be asked for.

use std::{path::PathBuf, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};

use crate::{
    core::{
        boottime::Boottime,
        repeats::{Repeats, in_a_row},
        uploads::{Sample, Uploads},
    },
    litestream::metrics,
    record::{self, board::Board},
    settings::{Config, metrics_address::Address},
};

/// Litestream is away for some seconds at each restart; what lasts longer is said.
const SAID_AFTER: u64 = 4;

/// What one look brought.
pub type Sampled = Result<Sample, String>;

/// The watch; it sleeps for ever where there is nothing to ask.
#[derive(Debug)]
pub struct UploadsWatch {
    looks: Option<UnboundedReceiver<Sampled>>,
    interval: Duration,
    uploads: Uploads,
    failing: Option<record::Failing>,
    failures: Repeats<String>,
    behind: Repeats<()>,
    owing: Repeats<()>,
    stuck_said: bool,
}

impl UploadsWatch {
    /// To be called where tasks can be started.
    pub fn start(config: &Config) -> Self {
        let max_lag = config.verify.max_lag;
        let interval = (max_lag / 5).clamp(Duration::from_millis(200), Duration::from_secs(30));
        let looks = config.litestream.metrics.clone().map(|address| {
            let (tell, looks) = unbounded_channel();
            tokio::spawn(look(address, config.heartbeat.database.clone(), interval, tell));
            looks
        });
        Self {
            looks,
            interval,
            uploads: Uploads::new(max_lag),
            failing: None,
            failures: Repeats::default(),
            behind: Repeats::default(),
            owing: Repeats::default(),
            stuck_said: false,
        }
    }

    /// The next look's outcome.
    pub async fn next(&mut self) -> Sampled {
        match &mut self.looks {
            Some(looks) => match looks.recv().await {
                Some(look) => look,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    pub fn beat(&mut self, now: Boottime) {
        self.uploads.beat(now);
    }

    pub fn litestream_starts(&mut self, now: Boottime) {
        self.uploads.starts_anew(now);
        self.stuck_said = false;
    }

    /// Says and publishes what a look brought. `true`: Litestream, which `runs`, is found to be
    /// stuck, for the first time since it started.
    pub fn looked(&mut self, look: Sampled, runs: bool, board: &Board, now: Boottime) -> bool {
        let mut is_stuck = false;
        match look {
            Ok(sample) => {
                self.uploads.saw(sample, now);
                is_stuck = runs && self.uploads.is_stuck(now);
                self.failing = None;
                self.failures.over();
            }
            Err(e) => {
                // It may have been stopped by a person, who is at work: nothing is known of it.
                self.litestream_starts(now);
                record::Failing::again(&mut self.failing, e.clone(), now);
                if let Some(times) = self.failures.came(e.clone(), now).filter(|t| *t >= SAID_AFTER)
                {
                    log::warn!("uploads can't be watched{}: {e}", in_a_row(times));
                }
            }
        }
        let is_behind = self.uploads.is_behind(now);
        let waiting_since = self.uploads.waiting_since(2 * self.interval, now);
        if let (true, Some(since)) = (is_behind, waiting_since) {
            if let Some(times) = self.behind.came((), now) {
                log::warn!(
                    "the replica has not moved for {} s while heartbeats were written{}; look at \
                     Litestream's log, and at \
                     the network to S3",
                    now.since(since).as_secs(),
                    in_a_row(times)
                );
            }
        } else if !is_behind && self.behind.over().is_some() {
            log::info!("the replica moves again");
        }
        let owing_since = self.uploads.owing_since(now);
        self.say_owing(owing_since, now);
        let uploads = record::UploadsSection {
            last_moved: self.uploads.last_moved.map(Into::into),
            waiting_since: waiting_since.or(owing_since).map(Into::into),
            behind: is_behind || owing_since.is_some(),
            failing: self.failing.clone(),
        };
        board.set(|record| &mut record.uploads, Some(uploads));
        let is_news = is_stuck && !self.stuck_said;
        self.stuck_said |= is_news;
        is_news
    }

    fn say_owing(&mut self, since: Option<Boottime>, now: Boottime) {
        let Some(since) = since else {
            self.owing.over();
            return;
        };
        if let Some(times) = self.owing.came((), now) {
            log::warn!(
                "for {} s Litestream has uploaded fewer transactions than it has read{}: the \
                 replica of some database stands \
                 still; its log says of which, and why",
                now.since(since).as_secs(),
                in_a_row(times)
            );
        }
    }
}

async fn look(
    address: Address,
    database: PathBuf,
    interval: Duration,
    tell: UnboundedSender<Sampled>,
) {
    loop {
        sleep(interval).await;
        let remedy = "look at EDGEROTATE_LITESTREAM_METRICS, and at addr: in litestream.yml";
        let look = match metrics::ask(&address).await {
            Ok(metrics) => Sample::parse(&metrics, &database).ok_or_else(|| {
                format!(
                    "http://{}{} tells nothing of {}; compare EDGEROTATE_DATABASE with path: in \
                     litestream.yml, letter by \
                     letter",
                    address.socket,
                    address.path,
                    database.display()
                )
            }),
            Err(e) => Err(format!("http://{}{}: {e}; {remedy}", address.socket, address.path)),
        };
        if tell.send(look).is_err() {
            return;
        }
    }
}
