//! The daemon in the world: its looks, and what its machine answers.

use super::*;

impl World {
    pub(super) fn suspend(&mut self) {
        let sleep = self.random.next_u64() % (2 * HOUR);
        let moved: Vec<_> = std::mem::take(&mut self.queue).into_iter().collect();
        self.queue = moved.into_iter().map(|((at, n), what)| ((at + sleep, n), what)).collect();
        self.now += sleep;
        self.slept += sleep;
    }

    pub(super) fn daemon_starts(&mut self) {
        if self.machine.is_some() {
            return;
        }
        let limits = Limits {
            time: Duration::from_secs(120),
            wal: wal::bytes(self.weather.limit),
            still: Duration::from_secs(300),
        };
        let mut machine = Machine::new(limits, false, self.memory, self.awake());
        machine.rules = self.rules;
        self.machine = Some(machine);
        self.look();
    }

    /// Something changed that wakes the thread, some time later.
    pub(super) fn wake_daemon(&mut self) {
        if self.machine.is_some() && !self.weather.blind {
            self.plan += 1;
            let plan = self.plan;
            let late = self.random.next_u64() % self.weather.late.max(1);
            self.plan(late, Happens::Look { plan });
        }
    }

    pub(super) fn look(&mut self) {
        self.count.looks += 1;
        self.tell_look();
        if let Some(machine) = &self.machine {
            let wait = machine.next_look(self.awake());
            self.plan += 1;
            let plan = self.plan;
            let late = self.random.next_u64() % self.weather.late.max(1);
            let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) + late;
            self.plan(wait, Happens::Look { plan });
        }
    }

    pub(super) fn tell_look(&mut self) {
        let look = self.found();
        self.tell(Event::Looked(look));
    }

    pub(super) fn found(&self) -> Look {
        let blind = self.weather.blind;
        let run = self
            .litestream
            .process
            .map_or(LitestreamRun::Stopped, |(run, _)| LitestreamRun::Running(run));
        let slot = self.log.slot(Reader::Litestream).or_else(|| {
            // With `exec:` the application is a child of Litestream's process.
            self.log.slot(Reader::Application).filter(|_| self.weather.executes)
        });
        let number = self.litestream.process.map_or(0, |(run, _)| run);
        let pid = u32::try_from(number).unwrap_or_default();
        Look {
            file: Some((1, 1)),
            wal: Some(self.log.look()),
            position: if blind { Position::Unknown } else { self.litestream.position(&self.log) },
            tail: self.litestream.tail(&self.log),
            own: self.log.slot(Reader::Guard),
            run,
            lock: slot.filter(|_| number != 0).map(|slot| ReaderLock { pid, slot }),
            was_replicated: true,
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        let now = self.awake();
        let Some(machine) = &mut self.machine else { return };
        let actions = machine.handle(event, now);
        self.memory = Some(machine.memory());
        for action in actions {
            self.act(action);
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Take if self.random.share() < self.weather.not_taken => {
                self.log.end(Reader::Guard);
                self.tell(Event::NotTaken { missing: false });
            }
            Action::Take => {
                self.log.begin(Reader::Guard);
                self.tell(Event::Taken);
            }
            Action::LetGo(_) => {
                self.count.hand_overs += 1;
                self.log.end(Reader::Guard);
            }
            Action::GiveUp => self.log.end(Reader::Guard),
            Action::Mark(reason) => {
                self.count.marks += u64::from(self.marked.is_none());
                self.marked = Some(reason);
            }
            Action::Checkpoint => self.log.checkpoint(),
            Action::Nudge => {
                self.log.write(None);
                self.plan_sync();
            }
            Action::AskForRestart(_) => {
                self.count.asked += 1;
                self.plan(500, Happens::Rotation);
            }
            Action::SayLarge => {}
        }
    }
}
