//! How much goes to flash: blocks written on a file system that has nothing else to do.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use nix::sys::stat::{major, minor};
use rusqlite::Connection;

use crate::{
    Effort, Part, Skipped,
    chart::Bars,
    idle::with_defaults_of,
    report::Figures,
    statistics::Summary,
    support::{
        Cloud, Device, Generation, Litestream, SOON, Way,
        process::{run, tied, try_run},
        svg::{AMBER, BLUE, FAINT},
    },
};

pub const PART: Part = Part {
    name: "flash",
    title: "Bytes written to flash",
    needs: "root and a loop device, for a file system of its own",
    counts: true,
    measure,
};

const DAY: f64 = 86_400.0;

/// As the article's program does it, and as the setting's default has it.
const INTERVAL: Duration = Duration::from_secs(5);

fn measure(effort: Effort) -> Result<Figures, Skipped> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Skipped("only root can mount a file system".to_owned()));
    }
    let edgerotate: Vec<Edgerotate> =
        Generation::BOTH.into_iter().map(Edgerotate::start).collect::<Result<_, _>>()?;
    let device = &edgerotate[0].device;
    let others = [
        (Some(Generation::V03), true),
        (Some(Generation::V05), true),
        (None, true),
        (Some(Generation::V03), false),
        (Some(Generation::V05), false),
    ];
    let others: Vec<Other> = others
        .into_iter()
        .map(|(generation, writes)| Other::start(device, generation, writes))
        .collect::<Result<_, _>>()?;
    let end = AtomicBool::new(false);
    let (count, length) = effort.pick((2, Duration::from_secs(30)), (5, Duration::from_secs(60)));
    let lanes: Vec<(String, &Flash)> = edgerotate
        .iter()
        .map(|one| (one.name(), &one.flash))
        .chain(others.iter().map(|other| (other.name(), &other.flash)))
        .collect();
    let mut written = vec![vec![]; lanes.len()];
    thread::scope(|scope| {
        let end = &end;
        for other in others.iter().filter(|other| other.writes) {
            let path = other.database.clone();
            scope.spawn(move || as_the_article(&path, end));
        }
        // What a start writes is not what a day is made of.
        thread::sleep(effort.pick(Duration::from_secs(10), Duration::from_secs(60)));
        let mut before: Vec<f64> = lanes.iter().map(|(_, flash)| flash.written()).collect();
        for _ in 0..count {
            let begin = Instant::now();
            thread::sleep(length);
            for (number, (_, flash)) in lanes.iter().enumerate() {
                let now = flash.written();
                written[number].push((now - before[number]) / begin.elapsed().as_secs_f64() * DAY);
                before[number] = now;
            }
        }
        end.store(true, Relaxed);
    });

    let mut figures = Figures::default();
    let of = |name: &str| {
        let place = lanes.iter().position(|(lane, _)| lane == name).expect("a lane");
        &written[place]
    };
    for generation in Generation::BOTH {
        let ours = of(&edgerotate_name(generation));
        for against in [other_name(Some(generation), true), other_name(None, true)] {
            figures.add(
                format!("{} ÷ {against}", edgerotate_name(generation)),
                Summary::of_ratios(ours, of(&against)),
                "×",
            );
        }
        // All windows together: without rows there may be nothing in one, or in any.
        let alone = other_name(Some(generation), false);
        let [sum, sum_alone] = [ours, of(&alone)].map(|bytes| bytes.iter().sum::<f64>());
        if sum_alone > 0.0 {
            figures.count(
                format!("{} ÷ {alone}", edgerotate_name(generation)),
                sum / sum_alone,
                "×",
            );
        }
    }
    let mut bars = vec![];
    for ((name, _), bytes) in lanes.iter().zip(&written) {
        let megabytes: Vec<f64> = bytes.iter().map(|bytes| bytes / 1e6).collect();
        let summary = Summary::of(&megabytes);
        figures.add(name, summary, "MB per day");
        let colour = match name {
            name if name.starts_with("edgerotate") => BLUE,
            name if name.starts_with("the article") => AMBER,
            _ => FAINT,
        };
        bars.push((name.clone(), summary.median, colour));
    }
    figures.note(format!(
        "Sectors written to a loop device with ext4, by all that is on it: the database, its WAL \
         or journal, Litestream's own \
         files, edgerotate's state, and the file system's journal. {count} windows of {} s, each \
         extrapolated to a day; no \
         rotation in them. A heartbeat every 5 s; the article's way is SQLite's defaults. Without \
         Litestream that is a \
         rollback journal; Litestream makes it a WAL, and SQLite's own checkpoints stay on.",
        length.as_secs()
    ));
    figures.plot(
        "flash",
        Bars {
            title: "Written to flash in a day",
            subtitle: "A heartbeat every 5 s, an fsync each",
            bars,
            unit: "MB",
        }
        .draw(),
    );
    Ok(figures)
}

/// A device with the default settings, its database and its state on the flash.
struct Edgerotate {
    // In this order: the device's directory can go once nothing is mounted in it.
    flash: Flash,
    device: Device,
}

impl Edgerotate {
    fn start(generation: Generation) -> Result<Self, Skipped> {
        let mut device = with_defaults_of("bench-flash", generation, Duration::from_secs(3600));
        let data = device.database.parent().expect("a directory").to_owned();
        let flash = Flash::mount(&device.scratch, &data)?;
        let state = data.join("state");
        fs::create_dir(&state).expect("the state directory");
        device.set("STATE_DIRECTORY", state.to_str().expect("a plain path"));
        device.start();
        device.wait_until("an upload", 2 * SOON, |device| !device.cloud.uploads().is_empty());
        Ok(Self { device, flash })
    }

    fn name(&self) -> String {
        edgerotate_name(self.device.litestream.generation)
    }
}

/// A database without edgerotate.
struct Other {
    generation: Option<Generation>,
    writes: bool,
    database: PathBuf,
    _litestream: Option<Litestream>,
    flash: Flash,
}

impl Other {
    fn start(
        device: &Device,
        generation: Option<Generation>,
        writes: bool,
    ) -> Result<Self, Skipped> {
        let name = format!("{generation:?}-{writes}").to_lowercase().replace(['(', ')'], "-");
        let directory = device.scratch.join(&name);
        let data = directory.join("data");
        fs::create_dir_all(&data).expect("a directory");
        let flash = Flash::mount(&directory, &data)?;
        let database = data.join("device.db");
        let connection = Connection::open(&database).expect("a database");
        connection.execute_batch(TABLE).expect("the table");
        drop(connection);
        let litestream = generation
            .map(|generation| replicate(device, &directory, &name, generation, &database));
        Ok(Self { generation, writes, database, _litestream: litestream, flash })
    }

    fn name(&self) -> String {
        other_name(self.generation, self.writes)
    }
}

fn edgerotate_name(generation: Generation) -> String {
    format!("edgerotate, Litestream {}", generation.version())
}

fn other_name(generation: Option<Generation>, writes: bool) -> String {
    match (generation, writes) {
        (Some(generation), true) => {
            format!("the article's way, Litestream {}", generation.version())
        }
        (Some(generation), false) => format!("Litestream {} alone", generation.version()),
        (None, _) => "the article's way, no Litestream".to_owned(),
    }
}

const TABLE: &str = "CREATE TABLE HealthCheck (
    id INTEGER PRIMARY KEY, created_at TEXT DEFAULT CURRENT_TIMESTAMP)";

/// With a key that does not expire, so that nothing restarts.
fn replicate(
    device: &Device,
    directory: &Path,
    name: &str,
    generation: Generation,
    database: &Path,
) -> Litestream {
    let variables = Way::Permanent.environment(device, directory, name);
    let text: String = variables.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let environment = directory.join("environment");
    fs::write(&environment, text).expect("an environment file");
    let cloud: &Cloud = &device.cloud;
    let litestream = Litestream::new(directory, generation, cloud, name, database, &environment);
    let (program, port) = litestream.restart_command.split_once(' ').expect("a command");
    run(Command::new(program).arg(port));
    device.wait_until("an upload", 2 * SOON, |device| {
        device.cloud.uploads().iter().any(|upload| upload.is_below(name))
    });
    litestream
}

/// A row every 5 s with whatever SQLite does by itself.
fn as_the_article(database: &Path, end: &AtomicBool) {
    let connection = Connection::open(database).expect("the database");
    connection.busy_timeout(SOON).expect("a timeout");
    let mut due = Instant::now();
    while !end.load(Relaxed) {
        if Instant::now() >= due {
            connection.execute("INSERT INTO HealthCheck DEFAULT VALUES", ()).expect("a row");
            due += INTERVAL;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A file system of its own on a loop device, unmounted when dropped.
struct Flash {
    mounted: PathBuf,
    counters: PathBuf,
}

impl Flash {
    fn mount(directory: &Path, at: &Path) -> Result<Self, Skipped> {
        let image = directory.join("flash.ext4");
        let file = fs::File::create(&image).expect("the image");
        file.set_len(256 << 20).expect("the image");
        // Nothing is left for the kernel to write later.
        let options = ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run(tied("mkfs.ext4").args(options).arg(&image));
        let (mounted, output) = try_run(tied("mount").args(["-o", "loop"]).arg(&image).arg(at));
        if !mounted {
            return Err(Skipped(format!("no loop device can be mounted: {}", output.trim())));
        }
        let device = fs::metadata(at).expect("the file system").dev();
        let counters = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
        Ok(Self { mounted: at.to_owned(), counters: counters.into() })
    }

    /// Bytes so far, with what is still to be written.
    fn written(&self) -> f64 {
        run(tied("sync").arg("--file-system").arg(&self.mounted));
        let text = fs::read_to_string(&self.counters).expect("the counters");
        // The seventh: sectors of 512 bytes.
        let sectors = text.split_whitespace().nth(6).and_then(|text| text.parse::<f64>().ok());
        sectors.expect("sectors written") * 512.0
    }
}

impl Drop for Flash {
    fn drop(&mut self) {
        try_run(tied("umount").arg("--lazy").arg(&self.mounted));
    }
}
