//! Clients that are slow, idle, large or not meant: each gets its answer or is closed, and nobody
//! else notices.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::SockRef;

use crate::{
    client::{ask, ask_until_served, connect, read, request, send, token},
    support::{
        Device, Generation, SOON,
        process::{run, tied},
    },
};

const LIFETIME: Duration = Duration::from_secs(12);
const HOUR: Duration = Duration::from_secs(3600);

/// What an allocator may keep of what it had, in KiB. A connection that were kept would cost 8 KiB
/// of its head alone, and there are thousands.
const FLAT: u64 = 2048;

/// Descriptors that a daemon short of them has left: more than a fetch needs, fewer than the
/// endpoint takes.
const SPARE: usize = 16;

/// Connections that aborted.c lets go.
const ABORTED: usize = 200;

#[test]
fn no_client_keeps_another_from_its_answer_or_the_daemon_from_its_work() {
    let mut device = Device::new("hostile", Generation::V05, LIFETIME);
    device.use_endpoint();
    device.start();
    ask_until_served(&device);
    let token = token(&device);
    // Once around, so that what is allocated once is there.
    for _ in 0..20 {
        send(&device, &vec![b'x'; 1 << 20]);
        ask(&device, &token);
    }
    let before = resident(device.pid());
    let (fetches, rows) = (device.cloud.fetches(), device.rows().len());

    let (end, refused, closed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let served = thread::scope(|scope| {
        let (device, token, end) = (&device, &*token, &end);
        let (refused, closed) = (&refused, &closed);
        let idle: Vec<_> = (0..200).map(|_| connect(device)).collect();
        scope.spawn(move || {
            for mut stream in idle {
                // All of it comes to an end, with an answer or without.
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                closed.fetch_add(1, Relaxed);
            }
        });
        for _ in 0..4 {
            scope.spawn(move || slow(device, token, end));
        }
        scope.spawn(move || {
            while !end.load(Relaxed) {
                let good = request(device, token);
                let long = format!("\r\nX-Long: {}\r\nAccept", "x".repeat(1 << 20));
                for bad in [
                    good.replace(token, &"0".repeat(64)),
                    good.replace("127.0.0.1", "credentials.example"),
                    good.replace("\r\nAccept", &long),
                ] {
                    let answer = send(device, bad.as_bytes());
                    assert!([0, 401, 403, 431].contains(&answer.status), "{answer:?}");
                    refused.fetch_add(1, Relaxed);
                }
            }
        });
        // Whoever asks properly is answered all the while.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut served = 0;
            device.wait_until(
                "two rotations, and the end of all idle connections",
                8 * LIFETIME,
                |device| {
                    let answer = ask(device, token);
                    assert_eq!(answer.status, 200, "{answer:?}");
                    served += 1;
                    device.cloud.fetches() >= fetches + 2 && closed.load(Relaxed) == 200
                },
            );
            served
        }));
        end.store(true, Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(device.rows().len() > rows + 20, "heartbeats went on");
    let after = resident(device.pid());
    eprintln!(
        "hostile: {served} answered, {} refused; the daemon had {before} KiB before and {after} \
         KiB after",
        refused.load(Relaxed)
    );
    assert!(after <= before + FLAT, "{before} KiB became {after} KiB");
    device.wait_until("no connection left", SOON, |device| sockets(device.pid()) < 10);
    assert_eq!(device.litestream.restarts(), 0);
    assert_eq!(device.problems(), [""; 0]);
    device.stop();
}

/// As when all programs of a device start at once, while the daemon is not scheduled.
#[test]
fn whoever_comes_in_a_burst_is_answered() {
    let (mut device, token) = served("burst");
    let pid = Pid::from_raw(device.pid().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let mut streams: Vec<_> = (0..100).map(|_| connect(&device)).collect();
    for stream in &mut streams {
        stream.write_all(request(&device, &token).as_bytes()).unwrap();
    }
    kill(pid, Signal::SIGCONT).unwrap();
    for stream in &mut streams {
        let answer = read(stream);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    device.stop();
}

/// Linux hands them over all the same, and only reading tells. Each one is its own loss alone.
#[test]
fn whoever_goes_away_before_being_taken_costs_nobody_anything() {
    let (mut device, token) = served("gone");
    let pid = Pid::from_raw(device.pid().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    for number in 0..100 {
        let mut stream = connect(&device);
        // With a request or without.
        if number % 2 == 0 {
            stream.write_all(request(&device, &token).as_bytes()).unwrap();
        }
        reset(stream);
    }
    let mut good = connect(&device);
    good.write_all(request(&device, &token).as_bytes()).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(read(&mut good).status, 200);
    assert_eq!(device.problems(), [""; 0]);
    device.stop();
}

/// As accept(2) may say of a client that went away, though Linux hardly does: so that is done in
/// its place.
#[test]
fn a_connection_that_is_aborted_as_it_is_taken_costs_nobody_anything() {
    let mut device = Device::new("aborted", Generation::V05, HOUR);
    device.use_endpoint();
    let library = device.scratch.join("aborted.so");
    let source = crate::support::root().join("tests/endpoint/aborted.c");
    run(tied("cc").args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&library).arg(source));
    let library = library.to_str().unwrap().to_owned();
    device.environment.insert("LD_PRELOAD".to_owned(), library);
    device.start();
    // Were there a pause after each, it would not come to an end in time.
    let mut aborted = 0;
    device.wait_until("a connection that is taken", SOON, |device| {
        // It may not listen yet.
        if TcpStream::connect(("127.0.0.1", device.port())).is_ok() {
            aborted += 1;
        }
        aborted > ABORTED
    });
    ask_until_served(&device);
    let told = device.problems();
    // The 1st, 2nd, 4th, 8th… of them.
    let aborted = |line: &String| line.contains("Software caused connection abort");
    assert!(told.iter().all(aborted) && told.len() == 8, "{told:#?}");
    device.stop();
}

/// Where there are no descriptors left, the endpoint gives back what slow clients hold: a fetch
/// needs some.
#[test]
fn without_descriptors_rotations_and_heartbeats_go_on() {
    let mut device = Device::new("descriptors", Generation::V05, LIFETIME);
    device.use_endpoint();
    device.start();
    ask_until_served(&device);
    let token = token(&device);
    // Restarting Litestream takes some for a moment.
    device.wait_for_log("restart success litestream", SOON);
    device.wait_until("nothing under way", SOON, |device| device.children().is_empty());
    let few = format!("--nofile={}:", descriptors(device.pid()).count() + SPARE);
    run(tied("prlimit").args(["--pid", &device.pid().to_string(), &few]));
    let (fetches, rows) = (device.cloud.fetches(), device.rows().len());
    let end = AtomicBool::new(false);
    let served = thread::scope(|scope| {
        let (device, token, end) = (&device, &*token, &end);
        for _ in 0..40 {
            scope.spawn(move || {
                while !end.load(Relaxed) {
                    let mut stream = connect(device);
                    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                    // It says nothing, and comes again when it was closed.
                    while !end.load(Relaxed) && waits(stream.read(&mut [0; 512])) {}
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut served = 0;
            device.wait_for_problem("Too many open files", SOON);
            device.wait_until("two rotations all the same", 8 * LIFETIME, |device| {
                served += usize::from(ask(device, token).status == 200);
                device.cloud.fetches() >= fetches + 2 && served > 1
            });
            served
        }));
        end.store(true, Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(device.rows().len() > rows + 20, "heartbeats went on");
    eprintln!("descriptors: {served} answered");
    assert_eq!(ask(&device, &token).status, 200);
    assert_eq!(device.litestream.restarts(), 0);
    device.stop();
}

/// A device whose endpoint serves, and its token.
fn served(name: &str) -> (Device, String) {
    let mut device = Device::new(name, Generation::V05, HOUR);
    device.use_endpoint();
    device.start();
    ask_until_served(&device);
    let token = token(&device);
    (device, token)
}

/// A byte at a time, for as long as it is let.
fn slow(device: &Device, token: &str, end: &AtomicBool) {
    while !end.load(Relaxed) {
        let mut stream = connect(device);
        for byte in request(device, token).bytes() {
            if end.load(Relaxed) || stream.write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What it has in memory, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn sockets(pid: u32) -> usize {
    descriptors(pid).filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// What the descriptors that it has open lead to.
fn descriptors(pid: u32) -> impl Iterator<Item = PathBuf> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
}

/// Whether nothing came yet, and the connection stands.
fn waits(read: io::Result<usize>) -> bool {
    read.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Ends a connection with a reset, whatever was sent.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}
