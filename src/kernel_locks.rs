//! The kernel's table of file locks, /proc/locks (proc_locks(5)): who holds what, for whoever may not open the file or
//! take the lock to find out.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
};

/// More than the kernel hands out at once, which is a page.
const PIECE: usize = 64 * 1024;

/// How large the first piece of each further read is, so that pieces end elsewhere each time.
const FIRST: [usize; 3] = [1024, 2048, 3072];

/// The table. One that is longer than a page comes in pieces, and a lock that is released in between moves others from the
/// piece that is to come into the one that has been: they are in neither. So a long table is read again, and what was
/// in any of them counts; the numbers at the beginning of the lines are all 0 then.
///
/// # Errors
/// There is no /proc, or not all of it.
pub fn table() -> io::Result<String> {
    let (text, pieces) = read(PIECE)?;
    if pieces <= 1 {
        return Ok(text);
    }
    let mut texts = vec![text];
    for first in FIRST {
        texts.push(read(first)?.0);
    }
    Ok(united(&texts))
}

/// The text, and in how many pieces it came.
fn read(first: usize) -> io::Result<(String, usize)> {
    let mut file = File::open("/proc/locks")?;
    let (mut text, mut pieces) = (Vec::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let room = if pieces == 0 { first } else { PIECE };
        match file.read(&mut piece[..room])? {
            0 => return Ok((String::from_utf8_lossy(&text).into_owned(), pieces)),
            size => {
                text.extend_from_slice(&piece[..size]);
                pieces += 1;
            }
        }
    }
}

fn united(texts: &[String]) -> String {
    let lines = texts.iter().flat_map(|text| text.lines());
    let unnumbered: BTreeSet<&str> =
        lines.filter_map(|line| Some(line.split_once(':')?.1.trim_start())).collect();
    unnumbered.iter().map(|line| format!("0: {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::MetadataExt,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use nix::fcntl::{Flock, FlockArg};

    use super::*;

    #[test]
    fn what_is_in_any_of_them_counts_once() {
        let texts = [
            "1: FLOCK  ADVISORY  WRITE 7 00:19:1 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 8 00:19:1 0 EOF\n".to_owned(),
            "1: POSIX  ADVISORY  READ 9 00:19:2 124 124\n2: FLOCK  ADVISORY  WRITE 7 00:19:1 0 EOF\n".to_owned(),
        ];
        assert_eq!(
            united(&texts),
            "0: -> FLOCK  ADVISORY  WRITE 8 00:19:1 0 EOF\n0: FLOCK  ADVISORY  WRITE 7 00:19:1 0 EOF\n\
             0: POSIX  ADVISORY  READ 9 00:19:2 124 124\n"
        );
    }

    /// On a machine with many locks, of which some come and go all the time.
    #[test]
    fn a_lock_that_is_held_is_found_whatever_others_do() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-locks-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let lock = |name: String| {
            let file = File::create(directory.join(name)).unwrap();
            Flock::lock(file, FlockArg::LockExclusive).unwrap()
        };
        let held: Vec<_> = (0..400).map(|number| lock(format!("held-{number}"))).collect();
        let inodes: Vec<_> = held.iter().map(|lock| lock.metadata().unwrap().ino()).collect();
        let missed = |table: &str| {
            let of = |line: &str| {
                line.split_ascii_whitespace().rev().nth(2)?.rsplit(':').next()?.parse().ok()
            };
            let found: BTreeSet<u64> = table.lines().filter_map(of).collect();
            inodes.iter().filter(|inode| !found.contains(inode)).count()
        };
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 0..4 {
                let (lock, is_over) = (&lock, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        drop(lock(format!("comes-and-goes-{number}")));
                    }
                });
            }
            let missed: usize = (0..100).map(|_| missed(&table().unwrap())).sum();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(missed, 0);
        });
        drop(held);
        fs::remove_dir_all(directory).unwrap();
    }
}
