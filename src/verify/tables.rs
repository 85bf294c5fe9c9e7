//! The other tables of the heartbeat's database: do their rows show a hole that fell between two heartbeats?
//!
//! Only a table with an INTEGER PRIMARY KEY has ids that stay. Such ids rise by themselves, so a live id below the
//! largest restored one that was not restored is a loss, unless the application chose a smaller id just now. That is
//! why a first find is a doubt only: what is missing once more, after the replica has moved on, is missing. Newer rows
//! can't be dated here; the heartbeats, written before and after them, stand for them.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::{
    comparison::{self, Ranges},
    trouble::Trouble,
};

/// What the two databases' other tables have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub compared: Vec<String>,
    /// No ids to compare by.
    pub not_compared: Vec<String>,
    /// Only those that lack rows.
    pub missing: Vec<(String, Ranges)>,
}

impl Tables {
    /// The rows that are missing here and were missing in an earlier restore as well.
    pub fn still_missing(self, earlier: &Self) -> Self {
        let missing = self
            .missing
            .into_iter()
            .filter_map(|(name, ranges)| {
                let (_, before) = earlier.missing.iter().find(|(other, _)| *other == name)?;
                Some((name, ranges.both(before)))
            })
            .filter(|(_, ranges)| !ranges.is_empty())
            .collect();
        Self { missing, ..self }
    }
}

/// Compares them, table by table, within the transaction that `live` is in.
///
/// # Errors
/// One of the databases can't be read.
pub fn compare(
    live: &Connection,
    live_path: &Path,
    copy: &Connection,
    copy_path: &Path,
) -> Result<Tables, Trouble> {
    let told_live = |e| Trouble::database(live_path, &e);
    let told_copy = |e| Trouble::database(copy_path, &e);
    let mut found = Tables::default();
    for name in names(live).map_err(told_live)? {
        let key = key(live, &name).map_err(told_live)?;
        let restored_key = self::key(copy, &name).map_err(told_copy)?;
        // A table that the replica does not have yet is as new as its rows.
        let Some(key) = key.filter(|key| restored_key.as_ref() == Some(key)) else {
            found.not_compared.push(name);
            continue;
        };
        let sql = format!("SELECT {0} FROM {1} ORDER BY {0}", quoted(&key), quoted(&name));
        let mut live_ids = live.prepare(&sql).map_err(told_live)?;
        let mut copied_ids = copy.prepare(&sql).map_err(told_copy)?;
        let live_ids = live_ids.query_map((), |row| row.get(0)).map_err(told_live)?;
        let copied_ids = copied_ids.query_map((), |row| row.get(0)).map_err(told_copy)?;
        let compared = comparison::compare(
            live_ids.map(|id| id.map_err(told_live)),
            copied_ids.map(|id| id.map_err(told_copy)),
        )?;
        if !compared.missing.is_empty() {
            found.missing.push((name.clone(), compared.missing));
        }
        found.compared.push(name);
    }
    Ok(found)
}

/// The application's tables: not SQLite's own, not Litestream's, no views, no virtual tables and what belongs to them.
///
/// What belongs to a virtual table is known by its name (`words_data` to `words`): SQLite itself knows it only where the
/// table's module is built in, and here none is.
fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT name FROM pragma_table_list l
                 WHERE schema = 'main' AND type = 'table' AND name <> 'HealthCheck'
                     AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                     AND name NOT LIKE '\\_litestream\\_%' ESCAPE '\\'
                     AND NOT EXISTS (SELECT 1 FROM pragma_table_list v
                         WHERE v.schema = 'main' AND v.type = 'virtual'
                             AND substr(l.name, 1, length(v.name) + 1) = v.name || '_' COLLATE NOCASE)
                 ORDER BY name",
        )?
        .query_map((), |row| row.get(0))?
        .collect()
}

/// The column that is the table's INTEGER PRIMARY KEY, which is the row's id; none where there is no such table.
fn key(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT max(c.name) FROM pragma_table_info(?1) c, pragma_table_list l
                 WHERE l.schema = 'main' AND l.name = ?1 AND l.wr = 0 AND c.pk > 0
                 HAVING count(*) = 1 AND max(c.type) = 'INTEGER' COLLATE NOCASE",
            [table],
            |row| row.get(0),
        )
        .optional()
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(sql: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection
    }

    fn compared(live: &Connection, copy: &Connection) -> Tables {
        compare(live, Path::new("/live"), copy, Path::new("/copy")).unwrap()
    }

    const SCHEMA: &str = "
        CREATE TABLE HealthCheck (id INTEGER PRIMARY KEY, created_at TEXT);
        CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
        CREATE TABLE \"odd \"\" name\" (\"the key\" integer primary key AUTOINCREMENT, v TEXT);
        CREATE TABLE samples (id INTEGER PRIMARY KEY, v TEXT);
        CREATE TABLE pairs (a INTEGER, b INTEGER, PRIMARY KEY (a, b));
        CREATE TABLE named (name TEXT PRIMARY KEY) WITHOUT ROWID;
        CREATE TABLE counted (id INTEGER PRIMARY KEY) WITHOUT ROWID;
        CREATE TABLE bare (v TEXT);
        CREATE VIEW seen AS SELECT v FROM samples;";

    #[test]
    fn tables_with_ids_that_stay_are_compared() {
        let [live, copy] = [database(SCHEMA), database(SCHEMA)];
        live.execute_batch("CREATE TABLE young (id INTEGER PRIMARY KEY)").unwrap();
        for (connection, ids) in [(&live, 1..=9), (&copy, 1..=8)] {
            for id in ids {
                connection.execute("INSERT INTO samples VALUES (?1, 'x')", [id]).unwrap();
            }
        }
        copy.execute("DELETE FROM samples WHERE id IN (3, 4)", ()).unwrap();
        let found = compared(&live, &copy);
        assert_eq!(found.compared, ["odd \" name", "samples"]);
        assert_eq!(found.not_compared, ["bare", "counted", "named", "pairs", "young"]);
        let [(name, missing)] = &found.missing[..] else { panic!("{found:?}") };
        assert_eq!((name.as_str(), missing.shown(9).as_str()), ("samples", "3-4"));
    }

    #[test]
    fn virtual_tables_are_left_out_with_all_that_belongs_to_them() {
        let database = database(SCHEMA);
        // As an application's own SQLite wrote it: this one has no such module, and can't make the table.
        database
            .execute_batch(
                "CREATE TABLE words_data (id INTEGER PRIMARY KEY, block BLOB);
                 CREATE TABLE wordsmiths (id INTEGER PRIMARY KEY);
                 PRAGMA writable_schema = ON;
                 INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
                     VALUES ('table', 'words', 'words', 0, 'CREATE VIRTUAL TABLE words USING fts5(v)');
                 PRAGMA writable_schema = RESET;",
            )
            .unwrap();
        let tables: Vec<_> = names(&database).unwrap();
        assert!(tables.contains(&"wordsmiths".to_owned()), "{tables:?}");
        assert!(!tables.iter().any(|table| table.starts_with("words_")), "{tables:?}");
        let integrity: String =
            database.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(integrity, "ok");
    }

    #[test]
    fn what_arrives_later_was_not_missing() {
        let [live, copy] = [database(SCHEMA), database(SCHEMA)];
        live.execute_batch("INSERT INTO samples (id) VALUES (1), (2), (3), (9)").unwrap();
        copy.execute_batch("INSERT INTO samples (id) VALUES (9)").unwrap();
        let first = compared(&live, &copy);
        copy.execute_batch("INSERT INTO samples (id) VALUES (1), (3)").unwrap();
        let second = compared(&live, &copy).still_missing(&first);
        assert_eq!(second.missing[0].1.shown(9), "2");
        copy.execute_batch("INSERT INTO samples (id) VALUES (2)").unwrap();
        assert_eq!(compared(&live, &copy).still_missing(&first).missing, []);
    }
}
