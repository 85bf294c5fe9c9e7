//! The rows of a database, whatever its schema: table by table, by rowid, both sides walked in step
//! and neither of them held in memory (but for what SQLite sorts, where a key's order is another
//! than the table's). Litestream copies pages, so a row has the same rowid in the replica, also
//! where the table has no INTEGER PRIMARY KEY. Those without rowids are in `keyed`; what comes of
//! it all is in `tables`.

use rusqlite::{Connection, OptionalExtension, Rows};

use super::{
    keyed,
    row::{Unreadable, content, quoted},
    tables::{Newest, Table, Tables},
};

/// # Errors
/// The database can't be read.
pub fn newest(connection: &Connection) -> rusqlite::Result<Newest> {
    let mut newest = Newest::new();
    for name in names(connection)? {
        if let RowKey::ByRowid(rowid) = kind(connection, &name)? {
            let sql = format!("SELECT max({rowid}) FROM {}", quoted(&name));
            let largest = connection.query_row(&sql, (), |row| row.get(0))?;
            newest.insert(name, largest);
        }
    }
    Ok(newest)
}

/// Compares all tables but one, within the transaction that `live` is in.
///
/// # Errors
/// One of the databases can't be read.
pub fn compare(
    live: &Connection,
    copy: &Connection,
    but: Option<&str>,
) -> Result<Tables, Unreadable> {
    let mut found = Tables::default();
    let names = names(live).map_err(Unreadable::Live)?;
    for name in names.into_iter().filter(|name| Some(name.as_str()) != but) {
        let is_same = shape(live, &name).map_err(Unreadable::Live)?
            == shape(copy, &name).map_err(Unreadable::Copy)?;
        let mut table = Table { name, is_absent: !is_same, ..Table::default() };
        let is_compared = match kind(live, &table.name).map_err(Unreadable::Live)? {
            RowKey::ByRowid(rowid) => {
                compare_by_rowid(live, copy, rowid, &mut table).map(|()| true)
            }
            RowKey::ByKey => keyed::compare(live, copy, &mut table),
            RowKey::OfOthers => Ok(true),
            RowKey::NoName => Ok(false),
        };
        if is_compared? {
            found.compared.push(table);
        } else {
            found.not_compared.push(table.name);
        }
    }
    Ok(found)
}

fn compare_by_rowid(
    live: &Connection,
    copy: &Connection,
    rowid: &str,
    table: &mut Table,
) -> Result<(), Unreadable> {
    let sql = format!("SELECT {rowid}, * FROM {} ORDER BY {rowid}", quoted(&table.name));
    let mut live_rows = live.prepare(&sql).map_err(Unreadable::Live)?;
    let mut live_rows = RowidSide::new(live_rows.query(()).map_err(Unreadable::Live)?);
    if table.is_absent {
        while let Some((id, content)) = live_rows.next().map_err(Unreadable::Live)? {
            table.live(id, content, None);
        }
        return Ok(());
    }
    let mut copied_rows = copy.prepare(&sql).map_err(Unreadable::Copy)?;
    let mut copied_rows = RowidSide::new(copied_rows.query(()).map_err(Unreadable::Copy)?);
    let mut copied = copied_rows.next().map_err(Unreadable::Copy)?;
    while let Some((id, content)) = live_rows.next().map_err(Unreadable::Live)? {
        while let Some((copied_id, _)) = copied.filter(|(copied_id, _)| *copied_id < id) {
            table.restored(copied_id);
            copied = copied_rows.next().map_err(Unreadable::Copy)?;
        }
        table.live(id, content, copied);
    }
    while let Some((copied_id, _)) = copied {
        table.restored(copied_id);
        copied = copied_rows.next().map_err(Unreadable::Copy)?;
    }
    Ok(())
}

/// Rows as their rowid and a digest of what they hold.
struct RowidSide<'a>(Rows<'a>);

impl<'a> RowidSide<'a> {
    fn new(rows: Rows<'a>) -> Self {
        Self(rows)
    }

    fn next(&mut self) -> rusqlite::Result<Option<(i64, u64)>> {
        self.0.next()?.map(|row| Ok((row.get(0)?, content(row, 1)?))).transpose()
    }
}

/// The application's tables: not SQLite's own, not Litestream's, no views.
fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT name FROM pragma_table_list
                 WHERE schema = 'main' AND type IN ('table', 'shadow', 'virtual')
                     AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                     AND name NOT LIKE '\\_litestream\\_%' ESCAPE '\\'
                 ORDER BY name",
        )?
        .query_map((), |row| row.get(0))?
        .collect()
}

/// How a table's rows are known.
enum RowKey {
    /// By this name of the rowid, which no column has taken.
    ByRowid(&'static str),
    /// A WITHOUT ROWID table: by its primary key.
    ByKey,
    /// A virtual table: what it shows is in other tables, its shadow tables for one.
    OfOthers,
    /// Its columns have taken all names of the rowid.
    NoName,
}

fn kind(connection: &Connection, table: &str) -> rusqlite::Result<RowKey> {
    let sql =
        "SELECT type = 'virtual', wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1";
    // A virtual table's columns can't even be asked for where its module is not built in.
    match connection.query_row(sql, [table], |row| Ok((row.get(0)?, row.get(1)?)))? {
        (true, _) => return Ok(RowKey::OfOthers),
        (false, true) => return Ok(RowKey::ByKey),
        (false, false) => {}
    }
    let sql = "SELECT count(*) FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE";
    for name in ["rowid", "_rowid_", "oid"] {
        if connection.query_row(sql, [table, name], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(RowKey::ByRowid(name));
        }
    }
    Ok(RowKey::NoName)
}

/// The statement that made the table.
fn shape(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    connection.query_row(sql, [table], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "
        CREATE TABLE bare (v TEXT);
        CREATE TABLE named (name TEXT PRIMARY KEY) WITHOUT ROWID;
        CREATE TABLE \"odd \"\" name\" (rowid TEXT, v INTEGER);
        CREATE TABLE samples (id INTEGER PRIMARY KEY, v TEXT);
        CREATE VIEW seen AS SELECT v FROM samples;
        INSERT INTO bare VALUES ('a'), ('b'), ('c'), ('d'), (NULL);
        INSERT INTO \"odd \"\" name\" VALUES ('x', 1), ('y', 2);";

    fn database(sql: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&(SCHEMA.to_owned() + sql)).unwrap();
        connection
    }

    fn compared(live: &Connection, copy: &Connection) -> Tables {
        compare(live, copy, None).unwrap()
    }

    fn table<'a>(found: &'a Tables, name: &str) -> &'a Table {
        found.compared.iter().find(|table| table.name == name).unwrap()
    }

    #[test]
    fn equal_databases_leave_no_doubt() {
        let found = compared(&database(""), &database(""));
        assert!(!found.is_in_doubt(), "{found:?}");
        let names: Vec<_> = found.compared.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["bare", "named", "odd \" name", "samples"]);
        assert!(found.not_compared.is_empty());
        assert_eq!((table(&found, "bare").live_rows, table(&found, "bare").restored_rows), (5, 5));
    }

    #[test]
    fn missing_differing_newer_and_deleted_rows_are_told_apart() {
        let live = database("DELETE FROM bare WHERE rowid = 1; INSERT INTO bare VALUES ('new')");
        let copy = database(
            "DELETE FROM bare WHERE rowid IN (2, 3); UPDATE bare SET v = '' WHERE v IS NULL;
             UPDATE \"odd \"\" name\" SET v = '1' WHERE v = 1",
        );
        let found = compared(&live, &copy);
        let bare = table(&found, "bare");
        assert_eq!(bare.missing.shown(9), "2-3");
        assert_eq!(bare.differing.ranges().shown(9), "5");
        assert_eq!((bare.newer, bare.live_rows, bare.restored_rows), (1, 5, 3));
        assert!(!table(&found, "odd \" name").is_in_doubt(), "the column makes an integer of it");
    }

    #[test]
    fn a_doubt_is_kept_only_of_what_was_not_written_since() {
        let live = database("");
        let stale =
            database("DELETE FROM bare WHERE rowid = 2; UPDATE bare SET v = 'old' WHERE rowid > 3");
        let first = compared(&live, &stale);
        live.execute_batch("UPDATE bare SET v = 'once more' WHERE rowid = 4").unwrap();
        let later = compared(&live, &stale).still_in_doubt(&first);
        assert_eq!(table(&later, "bare").missing.shown(9), "2");
        assert_eq!(table(&later, "bare").differing.ranges().shown(9), "5");
        let healed = compared(&live, &database("UPDATE bare SET v = 'once more' WHERE rowid = 4"));
        assert!(!healed.still_in_doubt(&first).is_in_doubt());
    }

    #[test]
    fn more_rows_that_differ_than_are_kept_are_a_doubt_until_one_of_them_is_seen_again() {
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
                    INSERT INTO samples SELECT i, 'x' FROM n;";
        let [live, copy] = [database(fill), database(fill)];
        copy.execute_batch("UPDATE samples SET v = 'old'").unwrap();
        let first = compared(&live, &copy);
        assert_eq!(table(&first, "samples").differing.rows, 1500);
        live.execute_batch("UPDATE samples SET v = 'y' WHERE id <= 1000").unwrap();
        // Of the others nothing is known: a doubt still, but none that proves a loss.
        let later = compared(&live, &copy);
        let still = later.clone().still_in_doubt(&first);
        assert!(still.is_in_doubt() && still.are_unsure() && !still.lack_something());
        assert_eq!(table(&still, "samples").differing.rows, 1500);
        // A doubt that begins anew with these is settled by the next restore.
        let lost = compared(&live, &copy).still_in_doubt(&later);
        assert!(lost.lack_something() && !lost.are_unsure());
        let healed = compared(&live, &live).still_in_doubt(&later);
        assert!(!healed.is_in_doubt() && !healed.are_unsure());
    }

    #[test]
    fn more_holes_than_are_kept_are_a_doubt_as_well() {
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
                    INSERT INTO samples SELECT i, 'x' FROM n;";
        let [live, copy] = [database(fill), database(fill)];
        copy.execute_batch("DELETE FROM samples WHERE id % 2 = 0 AND id < 6000").unwrap();
        let first = compared(&live, &copy);
        assert_eq!(table(&first, "samples").missing.ranges, 2999);
        live.execute_batch("DELETE FROM samples WHERE id <= 2000").unwrap();
        let still = compared(&live, &copy).still_in_doubt(&first);
        assert!(still.is_in_doubt() && still.are_unsure() && !still.lack_something());
        let lost = compared(&live, &copy).still_in_doubt(&compared(&live, &copy));
        assert!(lost.lack_something() && !lost.are_unsure());
    }

    #[test]
    fn only_a_row_that_is_newer_than_the_doubt_shows_that_the_replica_moved_on() {
        let [live, copy] = [database(""), database("DELETE FROM bare WHERE rowid = 2")];
        let first = compared(&live, &copy);
        assert!(!compared(&live, &copy).has_moved_on(&first));
        live.execute_batch("INSERT INTO \"odd \"\" name\" VALUES ('z', 3)").unwrap();
        let then = newest(&live).unwrap();
        let behind =
            |found: &Tables| found.behind(&then).map(|t| t.name.clone()).collect::<Vec<_>>();
        let waiting = compared(&live, &copy);
        assert!(!waiting.has_moved_on(&first));
        assert_eq!(behind(&waiting), ["odd \" name"]);
        copy.execute_batch("INSERT INTO \"odd \"\" name\" VALUES ('z', 3)").unwrap();
        let arrived = compared(&live, &copy);
        assert!(arrived.has_moved_on(&first));
        assert!(behind(&arrived).is_empty());
    }

    #[test]
    fn a_table_that_the_replica_does_not_have_is_in_doubt() {
        let live = database("CREATE TABLE young (v); INSERT INTO young VALUES (1)");
        let first = compared(&live, &database(""));
        assert!(table(&first, "young").is_absent);
        assert_eq!(first.behind(&newest(&live).unwrap()).count(), 1);
        let copy = database("CREATE TABLE young (v); INSERT INTO young VALUES (1)");
        assert!(!compared(&live, &copy).still_in_doubt(&first).is_in_doubt());
    }

    #[test]
    fn a_virtual_table_is_named_and_what_it_is_made_of_is_compared() {
        // As an application's own SQLite wrote it: this one has no such module.
        let sql = "CREATE TABLE words_data (id INTEGER PRIMARY KEY, block BLOB);
                   PRAGMA writable_schema = ON;
                   INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
                       VALUES ('table', 'words', 'words', 0, 'CREATE VIRTUAL TABLE words USING fts5(v)');
                   PRAGMA writable_schema = RESET;";
        let found = compared(&database(sql), &database(sql));
        assert!(!found.is_in_doubt() && found.not_compared.is_empty(), "{found:?}");
        assert!(found.compared.iter().any(|table| table.name == "words_data"));
        let found = compared(
            &database(sql),
            &database(&sql.replace("VIRTUAL TABLE words", "VIRTUAL TABLE Words")),
        );
        assert!(table(&found, "words").is_absent);
    }
}
