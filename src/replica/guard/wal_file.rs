//! The header of the WAL index and the frames of the WAL, read through SQLite's own open files.
//!
//! SQLite tells neither the WAL's salts nor its count of transactions. Both stand in the files; but
//! a descriptor of `-wal` or `-shm` of our own would drop all of this process's locks on it when it
//! is closed (fcntl(2)), SQLite's included. So the files that the connection has open anyway are
//! asked, by the calls that SQLite has for that: `sqlite3_file_control` gives them
//! (SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER), `xShmMap` the WAL index, which is
//! mapped already, and `xRead` a piece of the WAL. Nothing is opened, closed, locked or written. A
//! helper process would do as well, at the price of a process for each look.

#![allow(unsafe_code, reason = "SQLite's files can be asked through its C interface alone")]

use std::{
    ffi::{c_int, c_void},
    ptr,
};

use rusqlite::{Connection, ffi};

use crate::core::guard::look::Salts;

/// Before the frames of a WAL, and before the page in each of them (fileformat2.html, 4.1).
pub const HEADER: u64 = 32;
pub const FRAME_HEADER: u64 = 24;

/// The first region of the WAL index; all of its header is in it (walformat.html, 2.1).
const REGION: c_int = 32 * 1024;

/// The header, in words of 32 bits; it stands there twice.
const WORDS: usize = 12;

/// `nBackfill`, the word after the two headers.
const COPIED: usize = 2 * WORDS;

/// Writers change the header in a moment.
const TRIES: u32 = 100;

/// What the header of the WAL index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    pub salts: Salts,
    /// How many frames are committed, and how many of them were copied into the database.
    pub frames: u32,
    pub copied: u32,
    /// Transactions, counted through all WALs since the index was made.
    pub changes: u32,
    /// Bytes.
    pub page_size: u64,
}

impl Index {
    /// A frame's length in the file.
    pub fn frame(&self) -> u64 {
        FRAME_HEADER + self.page_size
    }

    /// Where the last committed frame ends; 0 where there is none.
    pub fn end(&self) -> u64 {
        if self.frames == 0 { 0 } else { HEADER + self.frame() * u64::from(self.frames) }
    }
}

/// What stands before the page in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub salts: Salts,
    /// It is the last of a transaction.
    pub commits: bool,
}

/// The header of the WAL index. `None`: the connection has not read yet, or is not in WAL mode.
pub fn index(connection: &Connection) -> Option<Index> {
    // Only then is there a WAL index: to ask for one would make it.
    file(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER)?;
    let file = file(connection, ffi::SQLITE_FCNTL_FILE_POINTER)?;
    // SAFETY: `file` is SQLite's and lives as long as the connection, which is borrowed. Its
    // methods are set while it is open; version 2 of them has xShmMap.
    let map = unsafe {
        let methods = (*file).pMethods.as_ref()?;
        if methods.iVersion < 2 { None } else { methods.xShmMap }
    }?;
    let mut region: *mut c_void = ptr::null_mut();
    // SAFETY: the first region, of the size that SQLite itself asks for, and not to be made where
    // it is not there. The connection is used by this thread alone.
    let code = unsafe { map(file, 0, REGION, 0, &raw mut region) };
    if code != ffi::SQLITE_OK || region.is_null() {
        return None;
    }
    let words: *const u32 = region.cast();
    // SAFETY: within the region, which is 32 KiB and mapped until the connection closes; aligned,
    // as it begins a page. Other processes write to it: so each word is read once, and volatile.
    let word = |at: usize| unsafe { ptr::read_volatile(words.add(at)) };
    for _ in 0..TRIES {
        let first: [u32; WORDS] = std::array::from_fn(word);
        let copied = word(COPIED);
        let second: [u32; WORDS] = std::array::from_fn(|at| word(WORDS + at));
        if first == second {
            return parse(&first, copied);
        }
    }
    None
}

/// In the byte order of this machine, but for the salts, which are as in the WAL.
fn parse(header: &[u32; WORDS], copied: u32) -> Option<Index> {
    let [is_init, _, low, high] = header[3].to_ne_bytes();
    if is_init == 0 {
        return None;
    }
    let page_size = match u16::from_ne_bytes([low, high]) {
        // 64 KiB, which does not fit.
        1 => 65_536,
        size => u64::from(size),
    };
    Some(Index {
        salts: Salts(u32::from_be(header[8]), u32::from_be(header[9])),
        frames: header[4],
        copied,
        changes: header[2],
        page_size,
    })
}

/// How long the WAL's file is, in bytes; it holds more than is in use.
pub fn length(connection: &Connection) -> Option<u64> {
    let file = file(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER)?;
    let mut size = 0;
    // SAFETY: as above; xFileSize asks for the length of the open file.
    let code = unsafe { ((*file).pMethods.as_ref()?.xFileSize?)(file, &raw mut size) };
    (code == ffi::SQLITE_OK).then_some(u64::try_from(size).ok()?)
}

/// The header of the frame that begins at this byte; `None` where the file ends before.
pub fn frame(connection: &Connection, at: u64) -> Option<Frame> {
    let file = file(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER)?;
    let mut bytes = [0_u8; FRAME_HEADER as usize];
    let size = FRAME_HEADER as c_int;
    let at = i64::try_from(at).ok()?;
    // SAFETY: as above; xRead writes no more than the `size` bytes that are there.
    let code =
        unsafe { ((*file).pMethods.as_ref()?.xRead?)(file, bytes.as_mut_ptr().cast(), size, at) };
    let word =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (code == ffi::SQLITE_OK)
        .then(|| Frame { salts: Salts(word(8), word(12)), commits: word(4) != 0 })
}

/// One of the connection's open files.
fn file(connection: &Connection, which: c_int) -> Option<*mut ffi::sqlite3_file> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the connection is open; for these two the argument is where the pointer goes.
    let code = unsafe {
        let database = connection.handle();
        ffi::sqlite3_file_control(database, c"main".as_ptr(), which, (&raw mut file).cast())
    };
    // SAFETY: a file that is not open has no methods, but is there.
    let is_open =
        code == ffi::SQLITE_OK && !file.is_null() && unsafe { !(*file).pMethods.is_null() };
    is_open.then_some(file)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("edgerotate-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn insert(app: &Connection) {
        app.execute("INSERT INTO t VALUES (NULL)", ()).unwrap();
    }

    fn checkpoint(app: &Connection, mode: &str) {
        app.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |_| Ok(())).unwrap();
    }

    /// With the smallest and the largest page as well.
    #[test]
    fn reads_what_stands_in_the_files() {
        for page_size in [512, 4096, 65_536] {
            let scratch = Scratch::new(&format!("wal-file-{page_size}"));
            let path = scratch.0.join("a.db");
            let app = Connection::open(&path).unwrap();
            app.execute_batch(&format!(
                "PRAGMA page_size={page_size}; PRAGMA journal_mode=WAL; \
                 PRAGMA wal_autocheckpoint=0; CREATE TABLE t (id INTEGER PRIMARY KEY)"
            ))
            .unwrap();
            let looking = Connection::open(&path).unwrap();
            looking.query_row("SELECT count(*) FROM t", (), |_| Ok(())).unwrap();
            let before = index(&looking).unwrap();
            for _ in 0..5 {
                insert(&app);
            }
            let after = index(&looking).unwrap();
            assert_eq!(after.page_size, page_size);
            assert_eq!((after.salts, after.changes), (before.salts, before.changes + 5));
            assert_eq!((after.frames, after.copied), (before.frames + 5, 0));
            assert_eq!(length(&looking), Some(after.end()));

            // The same as in the file; nobody holds a lock here that could be lost.
            let text = fs::read(scratch.0.join("a.db-wal")).unwrap();
            let word = |at: usize| u32::from_be_bytes(text[at..at + 4].try_into().unwrap());
            assert_eq!(after.salts, Salts(word(16), word(20)));
            let last = frame(&looking, after.end() - after.frame()).unwrap();
            assert_eq!(last, Frame { salts: after.salts, commits: true });
            assert_eq!(frame(&looking, after.end()), None);

            checkpoint(&app, "PASSIVE");
            assert_eq!(index(&looking).unwrap().copied, after.frames);
            insert(&app);
            let anew = index(&looking).unwrap();
            assert!(anew.salts.follow(after.salts));
            assert_eq!((anew.frames, anew.changes), (1, after.changes + 1));
            // What is left of the old one.
            assert_eq!(frame(&looking, anew.end()).unwrap().salts, after.salts);
            checkpoint(&app, "TRUNCATE");
            assert_eq!((index(&looking).unwrap().end(), length(&looking)), (0, Some(0)));
        }
    }

    #[test]
    fn a_database_without_a_wal_tells_nothing() {
        let scratch = Scratch::new("wal-file-none");
        let app = Connection::open(scratch.0.join("a.db")).unwrap();
        app.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
        assert_eq!((index(&app), length(&app), frame(&app, 32)), (None, None, None));
        assert!(!scratch.0.join("a.db-shm").exists());
    }
}
