//! A thousand rotations as fast as the daemon makes them: what it holds may not grow.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    Effort, Part, Skipped,
    chart::{Lines, Series},
    footprint::Footprint,
    idle::with_defaults,
    report::Figures,
    statistics::Summary,
    support::{
        SOON,
        svg::{BLUE, VIOLET},
    },
};

pub const PART: Part = Part {
    name: "rotations",
    title: "A thousand rotations",
    needs: "a quarter of an hour: there is a second at least between two fetches",
    counts: true,
    measure,
};

/// Two seconds once the provider's rounding is off; the next fetch begins at half of that.
const LIFETIME: Duration = Duration::from_secs(3);

/// Where it is not through by then, the machine has too much else to do.
const LONGEST: Duration = Duration::from_secs(20 * 60);

fn measure(effort: Effort) -> Result<Figures, Skipped> {
    let (wanted, first) = effort.pick((40, 10), (1000, 100));
    let mut device = with_defaults("bench-rotations", LIFETIME);
    // Its stop would wait for uploads with credentials that have expired.
    device.litestream.kill_at_restarts();
    device.start();
    device.wait_until("credentials", SOON, |device| device.access_key_id().is_some());
    let begin = Instant::now();
    let mut looks: Vec<(usize, Footprint)> = vec![];
    let rotations = loop {
        thread::sleep(Duration::from_secs(2));
        let fetches = device.cloud.fetches();
        looks.push((fetches, Footprint::of(device.pid())));
        if fetches > wanted || begin.elapsed() > LONGEST {
            break fetches - 1;
        }
        let (since, _) = looks[looks.len().saturating_sub(60)];
        assert!(
            looks.len() < 60 || since < fetches,
            "no fetch for two minutes:\n{}",
            device.log_tail()
        );
    };
    assert!(rotations > 2 * first, "only {rotations} rotations in {LONGEST:?}");

    // What is held at first, once all has been done a few times; and at the end.
    let tenth = rotations / 10;
    let of = |looks: &[&(usize, Footprint)], of: fn(&Footprint) -> f64| {
        Summary::of(&looks.iter().map(|(_, look)| of(look)).collect::<Vec<_>>())
    };
    let early: Vec<_> =
        looks.iter().filter(|(n, _)| (first..first + tenth.max(10)).contains(n)).collect();
    let late: Vec<_> = looks.iter().filter(|(n, _)| *n > rotations - tenth.max(10)).collect();
    let mut figures = Figures::default();
    let growth = |what: fn(&Footprint) -> f64| {
        let (early, late) = (of(&early, what).median, of(&late, what).median);
        (late - early, late / early)
    };
    let (_, dirty) = growth(|f| f.private_dirty_kib);
    figures.add_with_goal(
        "private dirty memory: the last rotations ÷ the first",
        Summary::of(&[dirty]),
        "×",
        1.05,
    );
    for (name, more) in [
        ("descriptors", growth(|f| f.descriptors as f64).0),
        ("threads", growth(|f| f.threads as f64).0),
    ] {
        figures.add_with_goal(format!("{name}: more at the end"), Summary::of(&[more]), "", 0.0);
    }
    figures.add("private dirty memory, first", of(&early, |f| f.private_dirty_kib), "KiB");
    figures.add("private dirty memory, last", of(&late, |f| f.private_dirty_kib), "KiB");
    figures.count("rotations", rotations as f64, "");
    figures.count("guarded restarts of Litestream", device.litestream.restarts() as f64, "");
    if rotations < wanted {
        figures.note(format!("**Stopped after {} min.**", LONGEST.as_secs() / 60));
    }
    figures.note(format!(
        "First: from the {first}th rotation on, once everything was done a few times. Default \
         settings but for credentials \
         that live for {} s; Litestream is restarted by SIGKILL, as its own stop would wait for \
         S3. Its restart takes longer \
         than the next credentials need to come, so that there are fewer.",
        LIFETIME.as_secs()
    ));
    let points = |of: fn(&Footprint) -> f64| {
        looks.iter().map(|(n, look)| (*n as f64, of(look))).collect::<Vec<_>>()
    };
    figures.plot(
        "rotations",
        Lines {
            title: "What the daemon holds over its rotations",
            subtitle: "Each look two seconds after the one before",
            across: (0.0, device.cloud.fetches() as f64, "rotations"),
            up: (0.0, "KiB"),
            logarithmic: false,
            band: None,
            limit: None,
            series: vec![
                Series {
                    name: "private dirty",
                    colour: VIOLET,
                    points: points(|f| f.private_dirty_kib),
                },
                Series { name: "PSS", colour: BLUE, points: points(|f| f.pss_kib) },
            ],
        }
        .draw(),
    );
    Ok(figures)
}
