//! What the state machine answers, done; and what a fetch brought, told to it.

use std::sync::Arc;

use super::{
    Daemon, report,
    tasks::{Done, WaitsForGuard},
};
use crate::{
    core::{
        class::Class,
        lifetime::{self, Lifetime},
        rotation::{Action, Event, Fetch},
    },
    fetch::{
        pin_mark::{Directories, Look},
        protocol::FetchReply,
    },
    outlets::state_file::State,
    problems::failure::{Cause, Failure},
    system::clock,
};

impl Daemon {
    pub(super) fn fetched(&mut self, fetch: Fetch, reply: FetchReply) -> Event {
        let wall = clock::wall();
        let (FetchReply::Credentials { date, .. } | FetchReply::Failed { date, .. }) = &reply;
        let date = date.as_deref().and_then(lifetime::parse_date);
        if let Some(date) = date {
            self.board.clock(wall - date, clock::boottime());
            self.report.clock(wall - date);
        }
        let failure = match reply {
            FetchReply::Credentials { credentials, .. } => {
                match lifetime::lifetime(credentials.expiration, date, wall, clock::EARLIEST) {
                    Some(Lifetime { duration, known_by }) => {
                        self.credentials = Some(credentials);
                        self.board.fetched(clock::boottime());
                        self.report.fetched(
                            duration,
                            known_by,
                            clock::boottime().since(fetch.begun()),
                        );
                        return Event::Fetched { fetch, lifetime: duration };
                    }
                    None => Failure::new(
                        Cause::AlreadyExpired,
                        format!("expiration {}", credentials.expiration.to_rfc3339()),
                    ),
                }
            }
            FetchReply::Failed { failure, .. } => failure,
        };
        let (class, retry_after) = (failure.class(), failure.retry_after);
        if class == Class::PinRefused {
            // Its mark has to have been seen before its absence can mean anything.
            self.pin_watch.look(&self.config.provider, Directories::of(&self.config));
        }
        self.board.fetch_failed(&failure, clock::boottime());
        self.report.fetch_failed(failure);
        Event::FetchFailed { fetch, class, retry_after }
    }

    pub(super) fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Fetch(fetch) => {
                self.report.fetch_starts(&self.rotation, clock::boottime());
                let (launcher, config) = (Arc::clone(&self.launcher), Arc::clone(&self.config));
                self.tasks.spawn(async move {
                    let reply = launcher.fetch(&config.provider, report::unreapable).await;
                    Done::Fetched(fetch, reply)
                });
                None
            }
            Action::Write(write) => {
                self.after_guard(WaitsForGuard::Write(write));
                None
            }
            Action::Restart(restart) => {
                if restart.failures() > 0 {
                    self.after_guard(WaitsForGuard::Again(restart));
                } else {
                    self.restart(restart);
                }
                None
            }
            Action::LookAtPin => {
                let marks = Directories::of(&self.config);
                match self.pin_watch.look(&self.config.provider, marks) {
                    Look::Changed => {
                        log::info!("the PIN was changed since it was refused; it is tried again");
                        Some(Event::PinChanged)
                    }
                    Look::StillRefused(refused) => {
                        let now = clock::boottime();
                        self.board.pin_stays_refused(&refused.failure(), now);
                        self.report.pin_stays_refused(refused.failure(), now);
                        None
                    }
                    Look::Unknown => None,
                }
            }
            Action::SayExpired => {
                self.report.expired();
                None
            }
        }
    }

    pub(super) fn keep_state(&mut self) {
        let now = clock::boottime();
        if let Err(e) = self.outlets.keep_handed_over(self.rotation.is_handed_over()) {
            self.report.state_not_kept(&e, now);
        }
        let (Some(resumable), Some(credentials)) = (self.rotation.resumable(), &self.credentials)
        else {
            return;
        };
        let state = State::new(self.boot_id.clone(), credentials.clone(), resumable);
        if self.kept.as_ref() == Some(&state) {
            return;
        }
        self.outlets.offer(&state);
        self.write_outlets();
        match self.state_file.save(&state) {
            Ok(()) => self.kept = Some(state),
            Err(e) => self.report.state_not_kept(&e, now),
        }
    }

    /// What other programs read, if it could not be written before.
    pub(super) fn write_outlets(&mut self) {
        match self.outlets.write_owed() {
            Ok(true) => self.report.offered(),
            Ok(false) => {}
            Err(e) => self.report.not_offered(e, clock::boottime()),
        }
    }
}
