//! A device and its cloud, built from real parts in a directory of their own: SoftHSM, tests/cloud,
//! Litestream, SQLite and edgerotate. The integration tests and the demo share it.
//!
//! Each part is a value that stops what it started when it goes, and whatever is killed instead
//! takes its processes with it (see [`process`]): no port and no path is fixed, so tests run side
//! by side.
#![allow(dead_code, unused_imports, reason = "no single test uses every part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]
#![allow(clippy::print_stderr, reason = "a failed test says where it left its files")]

pub mod application;
pub mod cloud;
pub mod database;
pub mod device;
pub mod http;
pub mod keeper;
pub mod litestream;
pub mod port;
pub mod process;
pub mod replicator;
pub mod scratch;
pub mod secrets;
pub mod spy;
pub mod svg;
pub mod token;

pub use application::Application;
pub use cloud::Cloud;
pub use device::Device;
pub use litestream::{Generation, Litestream};
pub use port::Port;
pub use process::Process;
pub use replicator::{Replicator, Way};
pub use scratch::Scratch;
pub use spy::Spy;
pub use token::Token;

use std::{
    env,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// For what takes a moment on an idle machine: long enough for a machine that is not idle.
pub const SOON: Duration = Duration::from_secs(30);

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `tests/prepare` put there.
pub fn tool(name: &str) -> PathBuf {
    let path = root().join("target/tools").join(name);
    assert!(path.exists(), "{} is missing: run tests/prepare", path.display());
    path
}

/// The machine that edgerotate is built for, where `tests/cross` lets qemu run them.
pub fn machine() -> Option<String> {
    env::var("EDGEROTATE_TEST_MACHINE").ok()
}

/// A shared library of a Debian package for this machine, in the directory that has the machine's
/// name in it.
pub fn library(name: &str) -> PathBuf {
    let machine = process::run(process::tied("cc").arg("-print-multiarch"));
    let path = Path::new("/usr/lib").join(machine.trim()).join(name);
    assert!(path.exists(), "{} is missing: run tests/prepare", path.display());
    path
}

/// Waits until `condition` holds, and panics when it does not in time.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// Waits until there is an answer, and panics when there is none in time.
pub fn wait_for<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Does it once in each `pace` until the `end`, by the clock: what a busy machine held up is made
/// up for. Returns how many times a second that was.
pub fn keep_pace(pace: Duration, end: &AtomicBool, mut act: impl FnMut()) -> f64 {
    let (begun, mut done) = (Instant::now(), 0);
    while !end.load(Ordering::Relaxed) {
        if pace * done <= begun.elapsed() {
            act();
            done += 1;
        } else {
            // Not so long that the end is overslept.
            thread::sleep((pace * done).saturating_sub(begun.elapsed()).min(SOON / 100));
        }
    }
    f64::from(done) / begun.elapsed().as_secs_f64()
}

/// Whether a text is as the pattern says, in which `*` stands for whatever differs from run to run.
pub fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).any(|at| text.is_char_boundary(at) && fits(rest, &text[at..]))
        }),
    }
}

/// Records that this test can't run here; the caller returns. `tests/run` counts and prints it.
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("?").to_owned();
    eprintln!("skipped: {test}: {reason}");
    let file =
        env::var_os("TEST_SKIPS").map_or_else(|| root().join("target/test-skips"), PathBuf::from);
    let mut file =
        OpenOptions::new().create(true).append(true).open(file).expect("the list of skips");
    writeln!(file, "{test}: {reason}").expect("the list of skips");
}
