//! The daemon's start: what an earlier one left is taken up again, and the parts are joined.

use std::{env, path::PathBuf, sync::Arc};

use tokio::{sync::Mutex, task::JoinSet, time::Instant};

use super::{
    Daemon,
    hand_over::holds,
    outlets::Outlets,
    publisher::Publisher,
    report::{self, DaemonLog},
    setup::{jitter, seed},
    stopped::{Stopped, device},
    turn::TurnFile,
};
use crate::{
    core::rotation::{Left, Policy, Rotation},
    fetch::{
        parent::Launcher,
        pin_mark::{Directories, Look, Watch},
    },
    litestream::{restart::Service, version::LitestreamVersion},
    outlets::state_file::{State, StateFile},
    replica::{
        guard::GuardThread, heartbeat_thread::HeartbeatThread, mend::socket::MendSocket,
        uploads_watch::UploadsWatch,
    },
    settings::Config,
    system::{clock, service_manager::ServiceManager},
};

impl Daemon {
    /// Takes up what a daemon before this one left, and starts the threads.
    pub(super) fn new(config: Config, program: PathBuf) -> Result<Self, Stopped> {
        let manager = ServiceManager::new(|name| env::var_os(name))
            .map_err(device("NOTIFY_SOCKET can't be used"))?;
        let boot_id = clock::boot_id().map_err(device("the boot has no id"))?;
        let mut outlets = Outlets::open(&config, &boot_id)?;
        let state_file = StateFile::in_directory(&config.runtime_directory);
        let now = clock::boottime();
        let kept = state_file.load(&boot_id).unwrap_or_else(|e| {
            log::warn!("{e}; starting as after a boot");
            None
        });
        let kept = kept.filter(|state| state.resumed().held.expires > now);

        let litestream = Arc::new(Service::new(&config.litestream));
        report::how_litestream_restarts(&litestream);
        let mut pin_watch = Watch::default();
        let refused = match pin_watch.look(&config.provider, Directories::of(&config)) {
            Look::StillRefused(refused) => Some(refused),
            Look::Changed | Look::Unknown => None,
        };
        // Somebody may have removed the file, or put another image's settings in place; and a
        // Litestream that is seen not to run takes nothing.
        let credentials = kept.as_ref().map(|state| &state.credentials);
        let is_current = holds(&config, &outlets, credentials)
            && (!litestream.can_be_seen() || litestream.current_start().is_some());
        let mut resumed = kept.as_ref().map(State::resumed);
        if let Some(resumed) = &mut resumed {
            resumed.handed_over &= is_current;
        }
        let policy = Policy {
            lead: outlets.lead(config.provider.lead),
            jitter: jitter(&config),
            boot_spread: config.provider.boot_spread,
            delivery: outlets.delivery(is_current),
        };
        let turn_file = TurnFile::in_directory(&config.runtime_directory);
        let kept_turn = turn_file.load(&boot_id);
        let left = Left { resumed, pin_refused: refused.is_some(), turn: kept_turn };
        let rotation = Rotation::new(policy, seed(), left, now);
        if let Some(turn) = rotation.turn().filter(|turn| Some(*turn) != kept_turn) {
            if let Err(e) = turn_file.save(&boot_id, turn) {
                log::warn!(
                    "EDGEROTATE_RUNTIME_DIRECTORY: {e}; an edgerotate that starts again soon waits \
                     anew for its turn"
                );
            }
        }

        let publisher = Publisher::new(&config, &boot_id, litestream.can_be_seen());
        let board = publisher.board();
        let mut report = DaemonLog::new();
        if let Some(refused) = refused {
            board.pin_stays_refused(&refused.failure(), now);
            report.pin_stays_refused(refused.failure(), now);
        }
        if let Some(held) = rotation.held() {
            report.resumed(held.expires.since(now));
        } else if let Some(at) = rotation.next_fetch().filter(|at| *at > now) {
            report.waits_after_boot(at.since(now));
        }
        if let Some(state) = &kept {
            outlets.offer(state);
        }
        if let Err(e) = outlets.write_owed() {
            report.not_offered(e, now);
        }
        let heartbeat = HeartbeatThread::start(config.heartbeat.clone(), clock::wall())
            .map_err(device("the heartbeat's thread can't be started"))?;
        let guard = GuardThread::start(
            &config,
            &boot_id,
            Arc::clone(&litestream),
            heartbeat.handle(),
            board.clone(),
        )
        .map_err(device("the guard's thread can't be started"))?;
        let litestream_version =
            LitestreamVersion::new(&config.litestream.program, &config.state_directory);
        let mend_socket = MendSocket::open(&config.runtime_directory)
            .map_err(device("EDGEROTATE_RUNTIME_DIRECTORY: no socket can be made there"))?;
        Ok(Self {
            launcher: Arc::new(Launcher::new(program, &config)),
            litestream,
            manager,
            boot_id,
            state_file,
            rotation,
            credentials: kept.as_ref().map(|state| state.credentials.clone()),
            kept,
            written: None,
            tasks: JoinSet::new(),
            pin_watch,
            outlets,
            heartbeat,
            guard,
            mend_socket,
            uploads: UploadsWatch::start(&config),
            litestream_version: Arc::new(Mutex::new(litestream_version)),
            report,
            publisher,
            board,
            heartbeat_seen: Instant::now(),
            ready: false,
            config: Arc::new(config),
        })
    }
}
