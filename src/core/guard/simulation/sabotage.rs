//! Each rule taken out in turn: the simulation has to find it, in a weather in which nothing is
//! broken with all of them.

use super::{
    HOUR, MINUTE, S3, live,
    promises::{broken, trouble},
    weather::{BUSY, Weather},
};
use crate::core::guard::rules::Rule;

const SEEDS: u64 = 12;
const HOURS: u64 = 6;

fn is_found(rule: Rule, weather: Weather) {
    let found = (0..SEEDS).find_map(|seed| {
        let found = broken(&weather, seed, HOURS, Some(rule))?;
        broken(&weather, seed, HOURS, None).is_none().then_some(found)
    });
    assert!(found.is_some(), "nothing breaks without {rule:?}");
    if std::env::var_os("GUARD_FIGURES").is_some() {
        eprintln!("without {rule:?}: {}", found.unwrap_or_default());
    }
}

/// What the rule is for can't be kept from happening altogether; but far more is overwritten
/// without it.
fn is_worse(rule: Rule, weather: Weather) {
    let overwritten = |without| -> usize {
        (0..4).map(|seed| live(seed, weather, HOURS, without).0.overwritten).sum()
    };
    let (with, without) = (overwritten(None), overwritten(Some(rule)));
    assert!(without > 2 * with, "{without} rows without {rule:?}, {with} with it");
    if std::env::var_os("GUARD_FIGURES").is_some() {
        eprintln!("without {rule:?}: {without} rows are overwritten unread, {with} with it");
    }
}

#[test]
fn looking_never_ends() {
    is_worse(Rule::LookingNeverEnds, Weather { socket: MINUTE, ..BUSY });
}

#[test]
fn a_lock_has_to_outlive_any_answer_where_nothing_else_tells() {
    is_worse(Rule::OutliveAnyAnswer, Weather { blind: true, ..trouble(S3::Refuses(3000)) });
}

/// A test for each.
macro_rules! without {
    ($($test:ident: $rule:ident, $weather:expr;)*) => {$(
        #[test]
        fn $test() {
            is_found(Rule::$rule, $weather);
        }
    )*};
}

without! {
    a_lock_that_was_seen_is_no_proof: ReadOnSinceStart, spared(trouble(S3::Refuses(3000)));
    a_new_start_proves_itself_anew: NewStartProvesAnew,
        Weather { kills: MINUTE, spares: true, ..trouble(S3::Refuses(3000)) };
    nobody_is_litestream_during_a_restart: NobodyDuringRestart, spared(BUSY);
    each_wal_that_began_anew_is_judged: JudgeEachBeginning,
        Weather { socket: MINUTE, late: 4000, ..BUSY };
    what_is_gone_is_marked: MarkWhatIsGone, Weather { socket: MINUTE, late: 8000, ..BUSY };
    what_can_t_be_shown_is_marked: MarkUnprovenBeginning,
        Weather { blind: true, kills: 3 * MINUTE, late: 4000, ..BUSY };
    what_stands_still_is_restarted: RestartWhatStandsStill,
        Weather { deletes: 4 * HOUR, rotations: 0, ..BUSY };
    a_guard_has_an_end: EndAtTheLimit,
        Weather { limit: 400, trouble_lasts: 4 * HOUR, ..trouble(S3::Refuses(30)) };
    only_silence_counts: OnlySilenceCounts,
        spared(Weather { trouble_lasts: HOUR, ..trouble(S3::Refuses(600)) });
}

/// Nothing in it is a reason for a mark.
fn spared(weather: Weather) -> Weather {
    Weather { spares: true, ..weather }
}
