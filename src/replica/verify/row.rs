//! What is said of one row, whatever its table.

use std::hash::{DefaultHasher, Hash, Hasher};

use rusqlite::{Row, types::ValueRef};

/// Which of the databases can't be read.
#[derive(Debug)]
pub enum Unreadable {
    Live(rusqlite::Error),
    Copy(rusqlite::Error),
}

/// A digest of what a row holds, from the column `first` on.
pub fn content(row: &Row, first: usize) -> rusqlite::Result<u64> {
    let mut hasher = DefaultHasher::new();
    for column in first..row.as_ref().column_count() {
        match row.get_ref(column)? {
            ValueRef::Null => 0_u8.hash(&mut hasher),
            ValueRef::Integer(value) => (1_u8, value).hash(&mut hasher),
            ValueRef::Real(value) => (2_u8, value.to_bits()).hash(&mut hasher),
            ValueRef::Text(value) => (3_u8, value).hash(&mut hasher),
            ValueRef::Blob(value) => (4_u8, value).hash(&mut hasher),
        }
    }
    Ok(hasher.finish())
}

/// A name as SQL has it, whatever is in it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
