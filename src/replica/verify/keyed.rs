//! The rows of a WITHOUT ROWID table, by its primary key.
//!
//! Both sides are read in the order of the key's bytes, whatever the order that the table keeps,
//! and walked in step. The order is SQLite's own rule for values; where a database does not keep to
//! it, as one in UTF-16 does not, that is noticed, and the table is not compared.

use std::{
    cmp::Ordering,
    hash::{DefaultHasher, Hash, Hasher},
};

use rusqlite::{Connection, ErrorCode, Row, Rows, types::ValueRef};

use super::{
    row::{Unreadable, content, quoted},
    tables::Table,
};

/// Fills in `table`, or answers that its rows can't be compared.
///
/// # Errors
/// One of the databases can't be read.
pub fn compare(
    live: &Connection,
    copy: &Connection,
    table: &mut Table,
) -> Result<bool, Unreadable> {
    table.is_keyed = true;
    let columns = key(live, &table.name).map_err(Unreadable::Live)?;
    let sql = sql(&table.name, &columns);
    let mut live_rows = match live.prepare(&sql) {
        Ok(rows) => rows,
        // The key is in an order of the application's own, without which SQLite does not read the
        // table.
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::Unknown) => return Ok(false),
        Err(e) => return Err(Unreadable::Live(e)),
    };
    let mut live_rows =
        KeyedSide::new(live_rows.query(()).map_err(Unreadable::Live)?, columns.len());
    if table.is_absent {
        while live_rows.next().map_err(Unreadable::Live)? {
            table.live_rows += 1;
        }
        return Ok(true);
    }
    let mut copied_rows = copy.prepare(&sql).map_err(Unreadable::Copy)?;
    let mut copied_rows =
        KeyedSide::new(copied_rows.query(()).map_err(Unreadable::Copy)?, columns.len());
    let mut is_copied = copied_rows.next().map_err(Unreadable::Copy)?;
    while live_rows.next().map_err(Unreadable::Live)? {
        while is_copied && order(&copied_rows.key, &live_rows.key) == Ordering::Less {
            table.restored_by_key();
            is_copied = copied_rows.next().map_err(Unreadable::Copy)?;
        }
        let is_same = is_copied && copied_rows.key == live_rows.key;
        let copied = is_same.then_some(copied_rows.content);
        table.live_by_key(digest(&live_rows.key), live_rows.content, copied);
    }
    while is_copied {
        table.restored_by_key();
        is_copied = copied_rows.next().map_err(Unreadable::Copy)?;
    }
    Ok(live_rows.is_in_order && copied_rows.is_in_order)
}

/// The columns of the primary key, in its order.
fn key(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk")?
        .query_map([table], |row| row.get(0))?
        .collect()
}

fn sql(table: &str, columns: &[String]) -> String {
    let columns: Vec<_> = columns.iter().map(|name| quoted(name)).collect();
    let by = |joint| columns.join(joint);
    format!(
        "SELECT {}, * FROM {} ORDER BY {} COLLATE BINARY",
        by(", "),
        quoted(table),
        by(" COLLATE BINARY, ")
    )
}

/// One side's rows, and the one that was read last.
struct KeyedSide<'a> {
    rows: Rows<'a>,
    columns: usize,
    key: Vec<Part>,
    content: u64,
    is_in_order: bool,
}

impl<'a> KeyedSide<'a> {
    fn new(rows: Rows<'a>, columns: usize) -> Self {
        Self { rows, columns, key: Vec::new(), content: 0, is_in_order: true }
    }

    fn next(&mut self) -> rusqlite::Result<bool> {
        let Some(row) = self.rows.next()? else { return Ok(false) };
        let key: Vec<_> = (0..self.columns).map(|n| part(row, n)).collect::<Result<_, _>>()?;
        self.is_in_order &= order(&self.key, &key) == Ordering::Less;
        self.key = key;
        self.content = content(row, self.columns)?;
        Ok(true)
    }
}

/// A value of a key.
#[derive(Debug, PartialEq)]
enum Part {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

fn part(row: &Row, column: usize) -> rusqlite::Result<Part> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Part::Null,
        ValueRef::Integer(value) => Part::Integer(value),
        ValueRef::Real(value) => Part::Real(value),
        ValueRef::Text(value) => Part::Text(value.to_vec()),
        ValueRef::Blob(value) => Part::Blob(value.to_vec()),
    })
}

/// As SQLite sorts: numbers before texts, texts before blobs, both by their bytes. Before the first
/// key there is none.
fn order(a: &[Part], b: &[Part]) -> Ordering {
    let parts = a.iter().zip(b).map(|(a, b)| match (a, b) {
        (Part::Integer(a), Part::Integer(b)) => a.cmp(b),
        (Part::Real(a), Part::Real(b)) => a.total_cmp(b),
        (Part::Integer(a), Part::Real(b)) => integer_to_real(*a, *b),
        (Part::Real(a), Part::Integer(b)) => integer_to_real(*b, *a).reverse(),
        (Part::Text(a), Part::Text(b)) | (Part::Blob(a), Part::Blob(b)) => a.cmp(b),
        (a, b) => class(a).cmp(&class(b)),
    });
    parts.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
}

fn class(part: &Part) -> u8 {
    match part {
        Part::Null => 0,
        Part::Integer(_) | Part::Real(_) => 1,
        Part::Text(_) => 2,
        Part::Blob(_) => 3,
    }
}

/// Exact, where a conversion of the integer alone would not be.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the parts that are lost are compared by the other conversion"
)]
fn integer_to_real(integer: i64, real: f64) -> Ordering {
    // The conversion saturates: what no integer reaches would be equal to the largest.
    if real >= 9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    integer.cmp(&(real as i64)).then_with(|| (integer as f64).total_cmp(&real))
}

fn digest(key: &[Part]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in key {
        class(part).hash(&mut hasher);
        match part {
            Part::Null => {}
            Part::Integer(value) => value.hash(&mut hasher),
            Part::Real(value) => value.to_bits().hash(&mut hasher),
            Part::Text(value) | Part::Blob(value) => value.hash(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "
        CREATE TABLE t (a, b TEXT COLLATE NOCASE, v, PRIMARY KEY (b DESC, a)) WITHOUT ROWID;
        INSERT INTO t (a, b, v) VALUES (1, 'x', 1), (1.5, 'x', 2), (-1, 'X', 3), ('1', 'x', 4), (x'01', 'x', 5),
            (9007199254740993, 'Y', 6), (9007199254740992.0, 'y', 7), (9223372036854775807, 'a', 8), (1e300, 'B', 9),
            (-1e300, 'b', 10), ('ä', 'Ä', 11), ('', '', 12), (9223372036854775808.0, 'a', 13);";

    fn compared(live: &str, copy: &str) -> Option<Table> {
        let [live, copy] = [live, copy].map(|sql| {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(sql).unwrap();
            connection
        });
        let mut table = Table { name: "t".to_owned(), ..Table::default() };
        compare(&live, &copy, &mut table).unwrap().then_some(table)
    }

    #[test]
    fn what_is_equal_leaves_no_doubt_whatever_the_keys() {
        let found = compared(SCHEMA, SCHEMA).unwrap();
        assert!(!found.is_in_doubt(), "{found:?}");
        assert_eq!((found.live_rows, found.restored_rows), (13, 13));
    }

    #[test]
    fn what_the_replica_lacks_differs_and_what_was_deleted_does_not() {
        for number in 1..=13 {
            let change = |sql: &str| format!("{SCHEMA} {sql} WHERE v = {number}");
            let found = compared(SCHEMA, &change("DELETE FROM t")).unwrap();
            assert_eq!((found.differing.rows, found.restored_rows), (1, 12), "{number}");
            assert!(found.missing.is_empty());
            let found = compared(SCHEMA, &change("UPDATE t SET v = 'old'")).unwrap();
            assert_eq!(found.differing.rows, 1, "{number}");
            let found = compared(&change("DELETE FROM t"), SCHEMA).unwrap();
            assert!(!found.is_in_doubt(), "{number}: {found:?}");
            assert_eq!((found.live_rows, found.restored_rows), (12, 13));
        }
    }

    #[test]
    fn a_table_in_an_order_that_is_not_known_is_not_compared() {
        // By their bytes, U+FFFF comes before U+10000 in UTF-8 and after it in UTF-16.
        let sql = "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (k TEXT PRIMARY KEY) WITHOUT ROWID;
                   INSERT INTO t VALUES (char(0xffff)), (char(0x10000))";
        assert_eq!(compared(sql, sql), None);
        // An application's own.
        let sql = "CREATE TABLE t (k TEXT PRIMARY KEY) WITHOUT ROWID;
                   PRAGMA writable_schema = ON;
                   UPDATE sqlite_schema SET sql = 'CREATE TABLE t (k TEXT COLLATE german PRIMARY KEY) WITHOUT ROWID';
                   PRAGMA writable_schema = RESET;";
        assert_eq!(compared(sql, sql), None);
    }
}
