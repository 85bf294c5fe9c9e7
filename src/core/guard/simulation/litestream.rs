//! Litestream, as it was read in its source (db.go of 0.5.16 and 0.3.13) and seen to behave
//! (0.5.17).

use super::wal::{Log, Reader, bytes, salts};
use crate::core::{
    backoff::Random,
    guard::look::{Before, Notes, Position, Read, Tail},
};

/// How S3 answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3 {
    Fine,
    /// After so many milliseconds.
    Slow(u64),
    /// 403, or 400 ExpiredToken, after so many milliseconds.
    Refuses(u64),
    /// Connections are refused: the SDK tries ten times.
    Away,
}

/// Something Litestream has read.
#[derive(Clone, Copy, Debug)]
struct File {
    serial: u64,
    salts: u32,
    end: usize,
    whole: bool,
}

/// What the process does with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// Refused; it tries again.
    Closed {
        next: u64,
        backoff: u64,
    },
    /// It holds its lock, and has asked S3.
    Asking {
        until: u64,
        good: bool,
        backoff: u64,
    },
    Open,
    /// `litestream stop`.
    Stopped,
}

#[derive(Debug)]
pub struct Litestream {
    pub notes: Notes,
    /// From 0.5.14 on nobody writes while it checkpoints.
    pub has_barrier: bool,
    files: Vec<File>,
    /// The directory beside the database is there.
    pub has_notes: bool,
    /// It was deleted under a running process, which reads nothing any more.
    is_deaf: bool,
    /// Which rows the replica has: all of the first `whole`, and these.
    whole: usize,
    has: Vec<bool>,
    pub process: Option<(u64, Database)>,
    synced_to_end: bool,
    synced_since: bool,
    pub checkpointed: u64,
}

impl Litestream {
    pub fn new(notes: Notes, has_barrier: bool) -> Self {
        Self {
            notes,
            has_barrier,
            files: Vec::new(),
            has_notes: true,
            is_deaf: false,
            whole: 0,
            has: Vec::new(),
            process: None,
            synced_to_end: false,
            synced_since: false,
            checkpointed: 0,
        }
    }

    /// Rows that a restore would lack.
    pub fn missing(&self, rows: usize) -> usize {
        (self.whole..rows).filter(|row| !self.has.get(*row).is_some_and(|has| *has)).count()
    }

    /// The newest that it has read.
    pub fn newest(&self) -> Option<(u64, usize)> {
        self.files.last().map(|file| (file.serial, file.end))
    }

    /// Whether it has read of the WAL of now: what it has not read of those before, it never will.
    pub fn is_in(&self, log: &Log) -> bool {
        self.files.last().is_some_and(|file| Some(file.salts) == log.header())
    }

    /// How many of these rows the replica lacks.
    pub fn lacks(&self, rows: &[usize]) -> usize {
        let has = |row: &usize| *row < self.whole || self.has.get(*row).is_some_and(|has| *has);
        rows.iter().filter(|row| !has(row)).count()
    }

    pub fn start(&mut self, run: u64, s3: S3, now: u64, log: &mut Log, random: &mut Random) {
        self.is_deaf = false;
        self.synced_to_end = false;
        // Its notes are fetched from the replica where they are gone: the newest file alone.
        if !self.has_notes {
            self.has_notes = true;
            let newest = self.files.len().saturating_sub(1);
            self.files.drain(..newest);
            if self.notes == Notes::Shadow {
                self.files.clear();
            }
        }
        self.process = Some((run, Database::Stopped));
        self.open(s3, now, 1000, log, random);
    }

    /// Opens the database: the lock first, and then S3 is asked (0.5).
    pub fn open(&mut self, s3: S3, now: u64, backoff: u64, log: &mut Log, random: &mut Random) {
        let Some((run, _)) = self.process else { return };
        log.begin(Reader::Litestream);
        let (takes, good) = match (self.notes, s3) {
            (Notes::Shadow, _) => (1, true),
            (_, S3::Fine) => (20, true),
            (_, S3::Slow(takes)) => (takes, true),
            (_, S3::Refuses(takes)) => (takes, false),
            (_, S3::Away) => (110_000 + random.next_u64() % 8_000, false),
        };
        self.process = Some((run, Database::Asking { until: now + takes, good, backoff }));
    }

    /// S3 has answered.
    pub fn answered(&mut self, now: u64, log: &mut Log, rows: usize) {
        let Some((run, Database::Asking { until, good, backoff })) = self.process else { return };
        if now < until {
            return;
        }
        if good {
            self.process = Some((run, Database::Open));
            self.read(log, rows);
        } else {
            log.end(Reader::Litestream);
            let next = now + backoff;
            let backoff = (backoff * 2).min(300_000);
            self.process = Some((run, Database::Closed { next, backoff }));
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.process, Some((_, Database::Open)))
    }

    /// SIGTERM, or `litestream stop`: it reads once more.
    pub fn stop(&mut self, log: &mut Log, rows: usize) {
        if self.is_open() {
            self.read(log, rows);
        }
        log.end(Reader::Litestream);
    }

    pub fn kill(&mut self, log: &mut Log) {
        log.end(Reader::Litestream);
        self.process = None;
    }

    pub fn delete_notes(&mut self) {
        self.has_notes = false;
        self.is_deaf = self.process.is_some();
    }

    /// A copy of the whole database, as by `replicate -once -force-snapshot`.
    pub fn snapshot(&mut self, log: &Log, rows: usize) {
        self.has_notes = true;
        self.keep(log.salts, log.frames, true, rows, log, 0);
    }

    /// What is new in the WAL. The same for both generations but for what is behind in a WAL that
    /// is over.
    pub fn read(&mut self, log: &Log, rows: usize) {
        if self.is_deaf {
            return;
        }
        let Some(header) = log.header() else { return };
        let Some(last) = self.files.last().copied() else {
            return self.keep(header, log.frames, true, rows, log, 0);
        };
        let is_same = last.salts == header;
        let is_cut = last.end > log.file.len();
        let last_matches = last.end > 0
            && log.file.get(last.end - 1).is_some_and(|frame| frame.salts == last.salts);
        let whole = if is_cut {
            !(self.synced_to_end && self.notes == Notes::Ltx)
        } else if last.end == 0 || (self.notes == Notes::Ltx && last.end == 1) {
            !is_same
        } else {
            let knows = |salts| salts == header || salts == last.salts;
            let until = log.file.iter().position(|frame| frame.salts == last.salts);
            let seen = log.file.iter().take(until.unwrap_or(log.file.len()));
            !last_matches || (!is_same && !seen.into_iter().all(|frame| knows(frame.salts)))
        };
        if is_cut {
            self.synced_to_end = false;
        }
        if whole {
            return self.keep(header, log.frames, true, rows, log, 0);
        }
        if is_same {
            if log.frames > last.end {
                self.keep(header, log.frames, false, rows, log, last.end);
            }
            return;
        }
        if self.notes == Notes::Shadow {
            // 0.3 copies the end of the old one first.
            let left = log.file[last.end.min(log.file.len())..].iter();
            let more = left.take_while(|frame| frame.salts == last.salts).count();
            if more > 0 {
                self.keep(last.salts, last.end + more, false, rows, log, last.end);
            }
        }
        self.keep(header, log.frames, false, rows, log, 0);
    }

    fn keep(&mut self, salts: u32, end: usize, whole: bool, rows: usize, log: &Log, from: usize) {
        let last = self.files.last();
        let is_next =
            last.is_none_or(|last| self.notes == Notes::Ltx || last.salts != salts || whole);
        let serial = last.map_or(1, |last| last.serial + u64::from(is_next));
        let was_whole = !is_next && self.files.pop().is_some_and(|file| file.whole);
        self.files.push(File { serial, salts, end, whole: whole || was_whole });
        if self.files.len() > 60 {
            self.files.drain(..30);
        }
        if whole {
            self.whole = rows;
        } else {
            for row in log.file[from.min(end)..end].iter().filter_map(|frame| frame.row) {
                if self.has.len() <= row {
                    self.has.resize(row + 1, false);
                }
                self.has[row] = true;
            }
        }
        self.synced_to_end = end == log.file.len();
        self.synced_since = true;
    }

    /// Whether it would checkpoint now, as it does each minute and each thousand pages.
    pub fn wants_checkpoint(&self, log: &Log, now: u64) -> bool {
        let is_due = now >= self.checkpointed + 60_000 && self.synced_since && log.frames > 1;
        self.is_open() && !self.is_deaf && (log.frames >= 1000 || is_due)
    }

    /// Its own checkpoint. `between`: what an application writes in the middle of it, where nothing
    /// keeps it from that.
    pub fn checkpoint(&mut self, log: &mut Log, rows: &mut usize, between: usize, now: u64) {
        self.read(log, *rows);
        self.checkpointed = now;
        let mut write = |log: &mut Log, count: usize| {
            for _ in 0..count {
                log.write(Some(*rows));
                *rows += 1;
            }
        };
        log.end(Reader::Litestream);
        if !self.has_barrier {
            write(log, between);
        }
        log.checkpoint();
        log.begin(Reader::Litestream);
        if self.has_barrier {
            write(log, between);
        }
        log.write(None);
        self.read(log, *rows);
        self.synced_since = false;
    }

    /// What the guard sees of it beside the database.
    pub fn position(&self, log: &Log) -> Position {
        let Some(last) = self.files.last().filter(|_| self.has_notes) else {
            return Position::Nothing;
        };
        let mut whole = false;
        let mut before = None;
        for file in self.files.iter().rev() {
            if file.salts != last.salts {
                let tail = log.tail(file.salts, file.end);
                before = Some(Before { salts: salts(file.salts), end: bytes(file.end), tail });
                break;
            }
            if file.whole {
                whole = true;
                break;
            }
        }
        Position::Read(Read {
            notes: self.notes,
            serial: last.serial,
            salts: salts(last.salts),
            end: bytes(last.end),
            whole,
            before,
        })
    }

    pub fn tail(&self, log: &Log) -> Tail {
        self.files.last().map_or(Tail::Gone, |last| log.tail(last.salts, last.end))
    }
}
