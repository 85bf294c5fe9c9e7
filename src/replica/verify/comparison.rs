//! Which ids the replica lacks: two ordered lists walked side by side, neither of them held in
//! memory.
//!
//! The replica is restored first and the live database is read afterwards, so the replica is the
//! older of the two, and each id has one honest meaning. A live id up to the largest restored one
//! that was not restored is *missing*: later rows arrived, this one did not, and no upload will
//! bring it. A live id above it is *newer*: it may be on its way. A restored id below all live ones
//! has been pruned since, which is as it should be. Any other restored id is *foreign*: this
//! database never had it or has lost it, so the replica is not this database's.

/// A list of ids as a person reads it: ranges of ids that follow each other, and only the first of
/// many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// The first ranges, both ends included.
    pub first: Vec<(i64, i64)>,
    /// How many there are in all.
    pub ranges: u64,
    /// How many ids there are in all.
    pub ids: u64,
    last: Option<i64>,
}

/// More than anyone reads; a replica that lacks every second of a million rows must not fill the
/// memory.
const RANGES_KEPT: usize = 1000;

impl Ranges {
    /// Adds an id, larger than all before.
    pub fn add(&mut self, id: i64) {
        let follows = self.last.and_then(|last| last.checked_add(1)) == Some(id);
        self.ids += 1;
        self.last = Some(id);
        if !follows {
            self.ranges += 1;
        }
        if usize::try_from(self.ranges).is_ok_and(|ranges| ranges <= RANGES_KEPT) {
            match self.first.last_mut() {
                Some((_, end)) if follows => *end = id,
                _ => self.first.push((id, id)),
            }
        }
    }

    /// The ids that are in both, as far as they were kept.
    pub fn both(&self, other: &Self) -> Self {
        let mut found = Self::default();
        let mut theirs = other.first.iter().copied().peekable();
        for &(from, to) in &self.first {
            while theirs.next_if(|(_, end)| *end < from).is_some() {}
            while let Some(&(start, end)) = theirs.peek() {
                if start > to {
                    break;
                }
                found.add_range(from.max(start), to.min(end));
                if end > to {
                    break;
                }
                theirs.next();
            }
        }
        found
    }

    fn add_range(&mut self, from: i64, to: i64) {
        self.first.push((from, to));
        self.ranges += 1;
        self.ids += to.abs_diff(from) + 1;
        self.last = Some(to);
    }

    pub fn is_empty(&self) -> bool {
        self.ids == 0
    }

    /// Such as `1700000123-1700000150, 1700000300 and 4 more ranges`.
    pub fn shown(&self, most: usize) -> String {
        let shown: Vec<String> = self
            .first
            .iter()
            .take(most)
            .map(|(from, to)| if from == to { format!("{from}") } else { format!("{from}-{to}") })
            .collect();
        let text = shown.join(", ");
        match self.ranges.saturating_sub(shown.len() as u64) {
            0 => text,
            1 => format!("{text} and 1 more range"),
            more => format!("{text} and {more} more ranges"),
        }
    }
}

/// What came of walking both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub live_rows: u64,
    pub restored_rows: u64,
    /// The smallest and the largest restored id.
    pub restored: Option<(i64, i64)>,
    pub newest_live: Option<i64>,
    pub missing: Ranges,
    pub newer: u64,
    pub foreign: Ranges,
}

/// Walks two lists of ids, each in ascending order.
///
/// # Errors
/// The first error of either list.
pub fn compare<E>(
    mut live: impl Iterator<Item = Result<i64, E>>,
    mut restored: impl Iterator<Item = Result<i64, E>>,
) -> Result<Comparison, E> {
    let mut found = Comparison::default();
    let mut live_id = live.next().transpose()?;
    let mut restored_id = restored.next().transpose()?;
    loop {
        let take_live = match (live_id, restored_id) {
            (None, None) => return Ok(found),
            (Some(id), Some(copy)) => id <= copy,
            (id, _) => id.is_some(),
        };
        let take_restored = match (live_id, restored_id) {
            (Some(id), Some(copy)) => copy <= id,
            (_, copy) => copy.is_some(),
        };
        if let (true, Some(id)) = (take_live, live_id) {
            match (take_restored, restored_id) {
                (true, _) => {}
                (false, Some(_)) => found.missing.add(id),
                (false, None) => found.newer += 1,
            }
            found.live_rows += 1;
            found.newest_live = Some(id);
            live_id = live.next().transpose()?;
        }
        if let (true, Some(copy)) = (take_restored, restored_id) {
            if !take_live && found.live_rows > 0 {
                found.foreign.add(copy);
            }
            found.restored_rows += 1;
            found.restored = Some((found.restored.map_or(copy, |(first, _)| first), copy));
            restored_id = restored.next().transpose()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(live: &[i64], restored: &[i64]) -> Comparison {
        let all = |ids: &[i64]| ids.iter().copied().map(Ok::<i64, ()>).collect::<Vec<_>>();
        compare(all(live).into_iter(), all(restored).into_iter()).unwrap()
    }

    #[test]
    fn what_is_in_both_is_whole() {
        let found = compared(&[5, 6, 7], &[5, 6, 7]);
        assert_eq!((found.live_rows, found.restored_rows, found.newer), (3, 3, 0));
        assert_eq!(found.restored, Some((5, 7)));
        assert!(found.missing.is_empty() && found.foreign.is_empty());
    }

    #[test]
    fn rows_that_are_newer_or_pruned_are_not_missing() {
        let found = compared(&[5, 6, 7, 8], &[1, 2, 5, 6]);
        assert_eq!(found.newer, 2);
        assert!(found.missing.is_empty() && found.foreign.is_empty(), "{found:?}");
        // All that was restored has been pruned since.
        let found = compared(&[8, 9], &[1, 2]);
        assert_eq!((found.newer, found.restored), (2, Some((1, 2))));
        assert!(found.missing.is_empty() && found.foreign.is_empty(), "{found:?}");
    }

    #[test]
    fn holes_are_named() {
        let found = compared(&[1, 2, 3, 4, 5, 9, 10, 11], &[1, 5, 10]);
        assert_eq!(found.missing.shown(8), "2-4, 9");
        assert_eq!((found.missing.ids, found.missing.ranges, found.newer), (4, 2, 1));
        // The first rows can be missing, too.
        assert_eq!(compared(&[1, 2, 3], &[3]).missing.shown(8), "1-2");
    }

    #[test]
    fn a_row_that_this_database_never_had_is_foreign() {
        let found = compared(&[3, 5, 6], &[1, 3, 4, 5, 6, 7]);
        assert_eq!(found.foreign.shown(8), "4, 7");
        assert!(found.missing.is_empty());
    }

    #[test]
    fn nothing_restored_and_nothing_live() {
        let found = compared(&[1, 2], &[]);
        assert_eq!((found.newer, found.restored), (2, None));
        assert!(found.missing.is_empty());
        let found = compared(&[], &[1, 2]);
        assert_eq!((found.restored_rows, found.live_rows), (2, 0));
        assert!(found.foreign.is_empty());
        assert_eq!(compared(&[], &[]), Comparison::default());
    }

    #[test]
    fn the_first_error_ends_it() {
        let broken = [Ok(1), Err("read")].into_iter();
        assert_eq!(compare(broken, [Ok(1), Ok(2)].into_iter()), Err("read"));
    }

    #[test]
    fn ranges_are_counted_and_cut() {
        let mut ranges = Ranges::default();
        for id in [1, 2, 4, 6, 7, 8, 10] {
            ranges.add(id);
        }
        assert_eq!(ranges.shown(10), "1-2, 4, 6-8, 10");
        assert_eq!(ranges.shown(3), "1-2, 4, 6-8 and 1 more range");
        assert_eq!(ranges.shown(1), "1-2 and 3 more ranges");
        let mut extreme = Ranges::default();
        extreme.add(i64::MIN);
        extreme.add(i64::MAX);
        assert_eq!(extreme.ranges, 2);
    }

    #[test]
    fn what_two_lists_of_ranges_share() {
        let ranges = |ids: &[i64]| {
            let mut ranges = Ranges::default();
            ids.iter().for_each(|id| ranges.add(*id));
            ranges
        };
        let shared = |a: &[i64], b: &[i64]| ranges(a).both(&ranges(b));
        assert_eq!(shared(&[1, 2, 3, 7, 8], &[2, 3, 4, 8, 9]).shown(9), "2-3, 8");
        assert_eq!(shared(&[1, 2, 3, 4, 5, 6], &[1, 3, 4, 6]).shown(9), "1, 3-4, 6");
        assert_eq!(shared(&[1, 3, 4, 6], &[1, 2, 3, 4, 5, 6]).ids, 4);
        assert!(shared(&[1, 2], &[3, 4]).is_empty());
        assert!(shared(&[], &[3, 4]).is_empty());
    }

    #[test]
    fn a_million_holes_do_not_fill_the_memory() {
        let live = (0..2_000_000).map(Ok::<i64, ()>);
        let restored = (0..2_000_000).filter(|id| id % 2 == 1).map(Ok::<i64, ()>);
        let found = compare(live, restored).unwrap();
        assert_eq!((found.missing.ids, found.missing.ranges), (1_000_000, 1_000_000));
        assert_eq!(found.missing.first.len(), RANGES_KEPT);
        assert_eq!(found.missing.first[999], (1998, 1998));
    }
}
