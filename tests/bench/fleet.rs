//! A fleet on paper made real: `tests/fleet.rs` has what it promises, and here is what it looks
//! like.

use std::ops::Range;

use crate::{
    Effort, Part, Skipped,
    chart::{Lines, Series},
    fleet_simulation::{DEVICES, HOUR, MOST, Run, most},
    report::Figures,
    support::svg::{AMBER, BLUE},
};

pub const PART: Part = Part {
    name: "fleet",
    title: "A fleet at the provider",
    needs: "nothing: it is a simulation",
    counts: false,
    measure,
};

const OUTAGE: Range<u64> = 9000..9000 + 20 * 60;

fn measure(_: Effort) -> Result<Figures, Skipped> {
    let runs = |outage: Range<u64>, hours| {
        [true, false].map(|jitter| Run { hours, jitter, outage: outage.clone() }.requests())
    };
    let steady = runs(0..0, 12);
    let outage = runs(OUTAGE, 5);
    let mut figures = Figures::default();
    for (runs, span, what, goal) in [
        (&steady, 0..HOUR / 2, "at power-up", true),
        (&steady, HOUR / 2..2 * HOUR, "at the first rotation", false),
        (&steady, 11 * HOUR..12 * HOUR, "in the twelfth hour", false),
        (&outage, OUTAGE, "in an outage of 20 minutes", false),
        (&outage, OUTAGE.end..5 * HOUR, "after that outage", true),
    ] {
        for (requests, how) in runs.iter().zip(["spread", "not spread"]) {
            let share = 100.0 * most(requests, span.clone()) as f64 / DEVICES as f64;
            let what = format!("most in a second {what}, {how}");
            let summary = crate::statistics::Summary::of(&[share]);
            if goal && how == "spread" {
                figures.add_with_goal(what, summary, "% of the fleet", 2.0);
            } else {
                figures.add(what, summary, "% of the fleet");
            }
        }
    }
    let limit = Some((MOST as f64, "2 % of the fleet"));
    let subtitle = "10,000 devices with credentials of an hour, powered up in the same second; \
     requests in a second";
    figures.plot(
        "fleet",
        Lines {
            title: "A fleet's first four hours at the provider",
            subtitle,
            across: (0.0, 240.0, "minutes since power-up"),
            up: (DEVICES as f64, "requests in a second, most in each 30 s"),
            logarithmic: true,
            band: None,
            limit,
            series: both(&steady, 0..4 * HOUR, 30),
        }
        .draw(),
    );
    let (begin, end) = (OUTAGE.start as f64 / 60.0, OUTAGE.end as f64 / 60.0);
    figures.plot(
        "outage",
        Lines {
            title: "The provider is away for 20 minutes",
            subtitle,
            across: (140.0, 200.0, "minutes since power-up"),
            up: (DEVICES as f64, "requests in a second, most in each 10 s"),
            logarithmic: true,
            band: Some((begin, end, "away")),
            limit,
            series: both(&outage, 140 * 60..200 * 60, 10),
        }
        .draw(),
    );
    figures.note(
        "The state machine of the daemon in a simulation without sockets; the time is an argument. \
         \"Spread\" is what the \
         daemon does: at boot over EDGEROTATE_BOOT_SPREAD, and each rotation by the device's own \
         place in the fleet.",
    );
    Ok(figures)
}

/// The most in each bin, so that no peak is lost.
fn both(runs: &[Vec<usize>; 2], span: Range<u64>, bin: u64) -> Vec<Series<'static>> {
    let named = [("not spread", AMBER, &runs[1]), ("spread", BLUE, &runs[0])];
    named
        .into_iter()
        .map(|(name, colour, requests)| {
            let begins = span.clone().step_by(bin as usize);
            let point =
                |begin: u64| (begin as f64 / 60.0, most(requests, begin..begin + bin) as f64);
            Series { name, colour, points: begins.map(point).collect() }
        })
        .collect()
}
