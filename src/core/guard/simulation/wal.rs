//! SQLite's WAL, as far as it matters who keeps it (walformat.html; wal.c: walRestartLog,
//! walCheckpoint).

use crate::core::guard::look::{Salts, Slot, Tail, Wal};

/// A page of 4096 bytes and its header.
const FRAME: u64 = 4120;
const HEADER: u64 = 32;

/// The bytes from the start of the file to the end of so many frames.
pub fn bytes(frames: usize) -> u64 {
    HEADER + FRAME * frames as u64
}

/// Each commit is one frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub salts: u32,
    /// What was written; `None` for a table of Litestream's own.
    pub row: Option<usize>,
}

/// Who may hold a read transaction.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    Guard,
    Litestream,
    Application,
}

#[derive(Debug)]
pub struct Log {
    pub salts: u32,
    /// The file, with what is left of earlier WALs behind `frames`.
    pub file: Vec<Frame>,
    pub frames: usize,
    pub copied: usize,
    changes: u32,
    /// Rows of the WAL that was overwritten last; who looks takes them away.
    pub overwritten: Vec<usize>,
    /// The marks of the readers: how many frames each needs; `None` in slot 0.
    readers: [Option<Option<usize>>; 3],
}

impl Log {
    pub fn new() -> Self {
        Self {
            salts: 7,
            file: Vec::new(),
            frames: 0,
            copied: 0,
            changes: 0,
            overwritten: Vec::new(),
            readers: [None; 3],
        }
    }

    pub fn begin(&mut self, reader: Reader) {
        let is_copied = self.copied == self.frames;
        self.readers[reader as usize] = Some((!is_copied).then_some(self.frames));
    }

    pub fn end(&mut self, reader: Reader) {
        self.readers[reader as usize] = None;
    }

    pub fn slot(&self, reader: Reader) -> Option<Slot> {
        let mark = self.readers[reader as usize]?;
        Some(if mark.is_some() { Slot::Pins } else { Slot::Zero })
    }

    fn is_pinned(&self) -> bool {
        self.readers.iter().any(|reader| matches!(reader, Some(Some(_))))
    }

    pub fn write(&mut self, row: Option<usize>) {
        if self.frames > 0 && self.copied == self.frames && !self.is_pinned() {
            self.begin_anew();
        }
        let frame = Frame { salts: self.salts, row };
        if self.frames < self.file.len() {
            self.file[self.frames] = frame;
        } else {
            self.file.push(frame);
        }
        self.frames += 1;
        self.changes += 1;
    }

    /// PASSIVE: whatever no reader is in the way of. A reader in slot 0 is in the way of all.
    pub fn checkpoint(&mut self) {
        if self.readers.contains(&Some(None)) {
            return;
        }
        let marks = self.readers.iter().flatten().flatten();
        let safe = marks.copied().min().unwrap_or(self.frames).min(self.frames);
        self.copied = self.copied.max(safe);
    }

    /// TRUNCATE, which gives up where somebody is in its way.
    pub fn truncate(&mut self) {
        self.checkpoint();
        if self.copied == self.frames && !self.is_pinned() && !self.file.is_empty() {
            self.begin_anew();
            self.file.clear();
        }
    }

    fn begin_anew(&mut self) {
        self.overwritten.extend(self.file[..self.frames].iter().filter_map(|frame| frame.row));
        self.salts += 1;
        self.frames = 0;
        self.copied = 0;
    }

    /// As the header of the file says it.
    pub fn header(&self) -> Option<u32> {
        self.file.first().map(|_| self.salts)
    }

    pub fn look(&self) -> Wal {
        Wal {
            salts: self.header().map(salts),
            end: if self.frames == 0 { 0 } else { bytes(self.frames) },
            copied: self.copied == self.frames,
            changes: self.changes,
            commits: u32::try_from(self.frames).ok(),
        }
    }

    /// What follows on what was read of a WAL that is over.
    pub fn tail(&self, of: u32, read: usize) -> Tail {
        let last = read.checked_sub(1).and_then(|last| self.file.get(last));
        if last.is_none_or(|frame| frame.salts != of) {
            return Tail::Gone;
        }
        match self.file.get(read) {
            Some(frame) if frame.salts == of => Tail::Unread,
            _ => Tail::Read,
        }
    }
}

/// As the header has them: the first grows by one, the second is another each time.
pub fn salts(number: u32) -> Salts {
    Salts(number, number.wrapping_mul(0x9e37_79b9))
}
