//! What was found of a database's tables, and what of it stays in doubt.
//!
//! A live row up to the largest restored one that was not restored is *missing*; one that is there
//! with other content *differs*; one above is *newer*. A restored row that is not live was deleted
//! since, which is the application's right. The application may as well have changed a row, or
//! chosen a smaller rowid, just now: so a first find is a doubt, and `still_in_doubt` keeps of it
//! what a later restore has not settled.
//!
//! The keys of a WITHOUT ROWID table tell no time: a live row that the replica does not hold
//! *differs*, be it another one there or none.

use std::collections::BTreeMap;

use super::comparison::Ranges;

/// Of the rows that differ, so many are remembered.
const DIFFERING_KEPT: usize = 1000;

/// The tables of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// With what is in doubt of each.
    pub compared: Vec<Table>,
    /// Neither rowids to compare by nor keys whose order is known.
    pub not_compared: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// The replica has no such table, or one of another shape.
    pub is_absent: bool,
    pub live_rows: u64,
    pub restored_rows: u64,
    pub newer: u64,
    pub missing: Ranges,
    pub differing: Differing,
    /// A WITHOUT ROWID table: its rows are known by a digest of their primary key.
    pub is_keyed: bool,
    /// More was in doubt than is remembered, and nothing of what is remembered is in doubt still:
    /// of the rest nothing is known, so that no restore so far proves a loss.
    pub is_unsure: bool,
    pub newest_live: Option<i64>,
    pub newest_restored: Option<i64>,
}

/// Rows whose content differs: the first of them, with what they hold here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differing {
    pub rows: u64,
    first: BTreeMap<i64, u64>,
}

impl Differing {
    fn add(&mut self, id: i64, content: u64) {
        self.rows += 1;
        if self.first.len() < DIFFERING_KEPT {
            self.first.insert(id, content);
        }
    }

    pub fn ranges(&self) -> Ranges {
        let mut ranges = Ranges::default();
        self.first.keys().for_each(|id| ranges.add(*id));
        ranges
    }

    /// Those that differed earlier as well and were not written since; and whether these are all of
    /// them.
    fn still(mut self, earlier: &Self) -> (Self, bool) {
        let is_complete = [&self, earlier].iter().all(|all| all.rows == all.first.len() as u64);
        self.first.retain(|id, content| earlier.first.get(id) == Some(content));
        self.rows = self.first.len() as u64;
        (self, is_complete)
    }
}

impl Table {
    pub fn is_in_doubt(&self) -> bool {
        self.is_absent || !self.missing.is_empty() || self.differing.rows > 0
    }

    fn still_in_doubt(self, earlier: &Self) -> Self {
        let is_complete = [&self.missing, &earlier.missing]
            .iter()
            .all(|all| all.ranges == all.first.len() as u64);
        let missing = self.missing.both(&earlier.missing);
        let (differing, are_all) = self.differing.clone().still(&earlier.differing);
        let is_absent = self.is_absent && earlier.is_absent;
        let still = Self { is_absent, missing, differing, ..self.clone() };
        if still.is_in_doubt() || (is_complete && are_all) {
            still
        } else {
            let now = Self { is_absent, ..self };
            Self { is_unsure: now.is_in_doubt(), ..now }
        }
    }
}

impl Tables {
    pub fn is_in_doubt(&self) -> bool {
        self.compared.iter().any(Table::is_in_doubt)
    }

    /// Whether it is known of what is in doubt that it was in doubt before.
    pub fn lack_something(&self) -> bool {
        self.compared.iter().any(|table| table.is_in_doubt() && !table.is_unsure)
    }

    /// Whether a doubt begins anew with these; see [`Table::is_unsure`].
    pub fn are_unsure(&self) -> bool {
        self.compared.iter().any(|table| table.is_unsure)
    }

    /// No table is absent, and no row differs.
    pub fn lack_only_rows(&self) -> bool {
        !self.compared.iter().any(|table| table.is_absent || table.differing.rows > 0)
    }

    /// Why a replica in which nothing is missing is not proven to be whole.
    pub fn unproven(&self) -> Option<String> {
        let names = self.not_compared.join(", ");
        (!names.is_empty()).then(|| format!("these tables can't be compared: {names}"))
    }

    /// For a person.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.compared.iter().map(|table| table.name.as_str()).collect();
        names.join(", ")
    }

    /// What is in doubt here, and was in an earlier restore as well.
    pub fn still_in_doubt(self, earlier: &Self) -> Self {
        let tables = self.compared.into_iter().map(|table| {
            match earlier.compared.iter().find(|other| other.name == table.name) {
                Some(before) => table.still_in_doubt(before),
                None => Table { is_absent: false, ..table },
            }
        });
        Self { compared: tables.collect(), not_compared: self.not_compared }
    }

    /// Whether the replica has a row that was written after `earlier` was looked at.
    pub fn has_moved_on(&self, earlier: &Self) -> bool {
        self.compared.iter().any(|table| {
            let before = earlier.compared.iter().find(|other| other.name == table.name);
            // Where the end of a table is deleted, its rowids are given again and tell no time.
            before.is_some_and(|before| {
                before.newest_live >= before.newest_restored
                    && table.newest_restored > before.newest_live
            })
        })
    }

    /// The tables whose newest rows of then are not in the replica.
    pub fn behind<'a>(&'a self, then: &'a Newest) -> impl Iterator<Item = &'a Table> {
        self.compared.iter().filter(|table| {
            let newest = then.get(&table.name).copied().flatten();
            // A row that was deleted since needs not have been uploaded.
            table.newest_restored < newest.min(table.newest_live)
        })
    }
}

/// The largest rowid of each table.
pub type Newest = BTreeMap<String, Option<i64>>;

impl Table {
    /// A restored row, after those before it.
    pub fn restored(&mut self, id: i64) {
        self.restored_rows += 1;
        self.newest_restored = Some(id);
    }

    /// A restored row of a WITHOUT ROWID table.
    pub fn restored_by_key(&mut self) {
        self.restored_rows += 1;
    }

    /// A live row of a WITHOUT ROWID table, and what the restored one with its key holds, if there
    /// is one.
    pub fn live_by_key(&mut self, key: u64, content: u64, copied: Option<u64>) {
        self.live_rows += 1;
        if copied != Some(content) {
            self.differing.add(i64::from_ne_bytes(key.to_ne_bytes()), content);
        }
    }

    /// A live row, and the restored one that is not before it.
    pub fn live(&mut self, id: i64, content: u64, copied: Option<(i64, u64)>) {
        self.live_rows += 1;
        self.newest_live = Some(id);
        match copied {
            None => self.newer += 1,
            Some((other, copy)) if other == id && copy == content => {}
            Some((other, _)) if other == id => self.differing.add(id, content),
            Some(_) => self.missing.add(id),
        }
    }
}
