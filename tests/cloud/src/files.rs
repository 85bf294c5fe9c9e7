//! Files that are whole or not there, with their mode from the start.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// For the owner alone: keys and issued credentials.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, 0o600)
}

pub fn write_public(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, 0o644)
}

/// The name appears with the content complete: readers poll for these files.
fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    match fs::remove_file(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&name)?;
    file.write_all(content)?;
    fs::rename(&name, path)
}

/// Opens a file to append whole lines to.
pub fn append(path: &Path, mode: u32) -> io::Result<fs::File> {
    OpenOptions::new().append(true).create(true).mode(mode).open(path)
}
