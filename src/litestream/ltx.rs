//! How far Litestream 0.5 has read: the level-0 LTX files beside the database.
//!
//! Litestream writes one for each piece of the WAL that it reads, before it uploads anything, under
//! another name first and then renamed. The header (100 bytes, big endian; github.com/superfly/ltx,
//! `Header`) tells the piece: bytes 48 to 63 where it starts in the WAL and how long it is, 64 to
//! 71 the WAL's salts. A file that has every page of the database is a copy of the whole; its page
//! index, before the trailer, tells how many pages it has.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::place::{Places, ServicePlace, directory};
use crate::core::guard::look::Salts;

const MAGIC: &[u8] = b"LTX1";

const HEADER: usize = 100;

/// The size of the page index, and two checksums.
const TRAILER: u64 = 8 + 16;

/// A page index of more bytes than this is of more than ten million pages.
const LARGEST_INDEX: u64 = 64 << 20;

/// More files than Litestream keeps of one WAL: one a second, for five minutes.
const MOST: usize = 1024;

/// SQLite has no page at this place in the file (PENDING_BYTE), and no LTX file has it.
const LOCK_PAGE: u64 = 0x4000_0000;

/// The files of one database. What was read of them is kept, as they never change.
#[derive(Debug)]
pub struct LtxFiles {
    pub directory: PathBuf,
    known: BTreeMap<u64, ServicePlace>,
}

impl LtxFiles {
    pub fn of(database: &Path) -> Self {
        Self { directory: directory(database).join("ltx/0"), known: BTreeMap::new() }
    }

    /// What they tell; `None` where there are none.
    ///
    /// # Errors
    /// As the system gives them, and for a file that is not understood.
    pub fn look(&mut self) -> io::Result<Option<Places>> {
        let names = self.names()?;
        self.known.retain(|serial, _| names.contains_key(serial));
        let mut names = names.into_iter().rev();
        let Some((serial, name)) = names.next() else { return Ok(None) };
        let newest = self.place(serial, &name)?;
        let changed = fs::metadata(self.directory.join(&name))?.modified()?;
        let mut places = Places { newest, whole: newest.whole, before: None, changed };
        for (serial, name) in names.take(MOST) {
            if places.whole {
                break;
            }
            let place = match self.place(serial, &name) {
                // Retention may just have deleted it.
                Err(e) if e.kind() == ErrorKind::NotFound => break,
                place => place?,
            };
            if place.salts != newest.salts {
                places.before = Some(place);
                break;
            }
            places.whole |= place.whole;
        }
        Ok(Some(places))
    }

    /// The files by their last transaction.
    fn names(&self) -> io::Result<BTreeMap<u64, String>> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(serial) = serial(&name) {
                names.insert(serial, name);
            }
        }
        Ok(names)
    }

    fn place(&mut self, serial: u64, name: &str) -> io::Result<ServicePlace> {
        if let Some(place) = self.known.get(&serial) {
            return Ok(*place);
        }
        let file = File::open(self.directory.join(name))?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0)?;
        let (place, pages, page_size) = parse(&header).ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidData, format!("{name}: it is no LTX file"))
        })?;
        let whole = has_all_pages(&file, pages, page_size)?;
        let place = ServicePlace { whole, ..place };
        self.known.insert(serial, place);
        Ok(place)
    }
}

/// `MIN-MAX.ltx`, in hexadecimal.
fn serial(name: &str) -> Option<u64> {
    let (_, last) = name.strip_suffix(".ltx")?.split_once('-')?;
    u64::from_str_radix(last, 16).ok()
}

/// The place, how many pages the database has, and how large they are.
fn parse(header: &[u8; HEADER]) -> Option<(ServicePlace, u64, u64)> {
    if !header.starts_with(MAGIC) {
        return None;
    }
    let long = |at: usize| Some(u64::from_be_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let place = ServicePlace {
        serial: long(24)?,
        salts: Salts(word(64)?, word(68)?),
        end: long(48)?.checked_add(long(56)?)?,
        whole: false,
    };
    Some((place, word(12)?.into(), word(8)?.into()))
}

/// Whether the page index names every page of the database.
fn has_all_pages(file: &File, pages: u64, page_size: u64) -> io::Result<bool> {
    let has_lock_page = pages.saturating_mul(page_size) > LOCK_PAGE;
    let wanted = pages - u64::from(has_lock_page && pages > 0);
    let length = file.metadata()?.len();
    let Some(at) = length.checked_sub(TRAILER) else { return Ok(false) };
    let mut size = [0; 8];
    file.read_exact_at(&mut size, at)?;
    let size = u64::from_be_bytes(size);
    // An entry has three bytes at least.
    if size / 3 < wanted || size > LARGEST_INDEX || size > at {
        return Ok(false);
    }
    let mut index = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut index, at - size)?;
    Ok(entries(&index) >= wanted)
}

/// How many pages an index names: numbers of variable length, three for each page, and a zero at
/// the end.
fn entries(index: &[u8]) -> u64 {
    let numbers = index.iter().filter(|byte| **byte & 0x80 == 0).count() as u64;
    numbers.saturating_sub(1) / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by 0.5.17 for a database of 6 pages: its first file, which has them all, and two
    /// more of one page each.
    const FILES: [(&str, &str, &str); 3] = [
        (
            "0000000000000001-0000000000000001.ltx",
            "4c5458310000000200001000000000060000000000000001\
             0000000000000001000001a229fd8bfe00000000000000000000000000000020\
             00000000000273a8ccc121e417f15c2b",
            "01649a0202fe023e03bc03b70104f304850105f8053806b0063800000000000000001b\
             0000000000000000de44c2847133bfdb",
        ),
        (
            "0000000000000002-0000000000000002.ltx",
            "4c5458310000000200001000000000060000000000000002\
             0000000000000002000001a229fd93b6000000000000000000000000000273c8\
             0000000000001018ccc121e417f15c2b",
            "04648b010000000000000000050000000000000000b77631a72e8d99f6",
        ),
        (
            "0000000000000004-0000000000000004.ltx",
            "4c5458310000000200001000000000060000000000000004\
             0000000000000004000001a229fd9f6e000000000000000000000000000293f8\
             0000000000001018ccc121e417f15c2b",
            "0464970100000000000000000500000000000000\
             0080afbe4e567a9dd8",
        ),
    ];

    const SALTS: Salts = Salts(0xccc1_21e4, 0x17f1_5c2b);

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn file(header: &str, end: &str) -> Vec<u8> {
        let mut file = bytes(header);
        file.resize(HEADER + 60, 0);
        file.extend(bytes(end));
        file
    }

    fn scratch(name: &str) -> (PathBuf, LtxFiles) {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-ltx-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let files = LtxFiles::of(&directory.join("a.db"));
        fs::create_dir_all(&files.directory).unwrap();
        (directory, files)
    }

    #[test]
    fn reads_what_litestream_wrote() {
        let (scratch, mut files) = scratch("real");
        assert!(files.look().unwrap().is_none());
        for (name, header, end) in FILES {
            fs::write(files.directory.join(name), file(header, end)).unwrap();
        }
        fs::write(files.directory.join("0000000000000005-0000000000000005.ltx.tmp"), "").unwrap();
        let places = files.look().unwrap().unwrap();
        let newest = ServicePlace { serial: 4, salts: SALTS, end: 0x293f8 + 0x1018, whole: false };
        assert_eq!((places.newest, places.whole, places.before), (newest, true, None));
        // Retention takes the first.
        fs::remove_file(files.directory.join(FILES[0].0)).unwrap();
        let places = files.look().unwrap().unwrap();
        assert_eq!((places.newest, places.whole, places.before), (newest, false, None));
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn finds_how_far_the_wal_before_was_read() {
        let (scratch, mut files) = scratch("before");
        for (name, header, end) in FILES {
            fs::write(files.directory.join(name), file(header, end)).unwrap();
        }
        // The WAL began anew: the next piece is its first.
        let (_, header, end) = FILES[2];
        let mut next = file(header, end);
        next[24..32].copy_from_slice(&9_u64.to_be_bytes());
        next[48..56].copy_from_slice(&32_u64.to_be_bytes());
        next[64..68].copy_from_slice(&(SALTS.0 + 1).to_be_bytes());
        fs::write(files.directory.join("0000000000000009-0000000000000009.ltx"), next).unwrap();
        let places = files.look().unwrap().unwrap();
        assert_eq!((places.newest.serial, places.newest.end), (9, 32 + 0x1018));
        assert!(places.newest.salts.follow(SALTS));
        let before = ServicePlace { serial: 4, salts: SALTS, end: 0x293f8 + 0x1018, whole: false };
        assert_eq!((places.whole, places.before), (false, Some(before)));
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn what_is_not_understood_tells_nothing() {
        let (scratch, mut files) = scratch("broken");
        for text in ["", "LTX1", &"LTX0".repeat(50)] {
            fs::write(files.directory.join(FILES[0].0), text).unwrap();
            assert!(files.look().is_err(), "{text}");
        }
        fs::remove_dir_all(&scratch).unwrap();
        assert_eq!(files.look().unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn counts_the_pages_of_an_index() {
        let counts = [("00", 0), ("04648b0100", 1), ("01649a0202fe023e03bc03b70100", 3)];
        for (index, count) in counts {
            assert_eq!(entries(&bytes(index)), count, "{index}");
        }
    }
}
