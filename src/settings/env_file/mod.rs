//! The text of a settings file: what systemd reads in an `EnvironmentFile=`, character by
//! character.
//!
//! The same file can then be read by edgerotate and by a unit. The rules are those of
//! systemd.exec(5) and of systemd's own parser, quirks included (two quoted pieces are joined,
//! quotes after the first plain character are plain). Where systemd drops a line without a word, or
//! takes the rest of a file into an open quote, this parser says so: a setting that is silently not
//! there is found on the device, not on the desk.

use zeroize::Zeroizing;

use crate::core::secret::Secret;

/// What a file says, and what is wrong with it.
#[derive(Default)]
pub(super) struct Parsed {
    pub assignments: Vec<Assignment>,
    /// Line (from 1) and what is wrong there; the text itself is never quoted, as it may hold a
    /// PIN.
    pub errors: Vec<(usize, String)>,
    pub warnings: Vec<(usize, String)>,
}

/// One `KEY=value`; the key is made of A-Z a-z 0-9 _ and does not begin with a digit.
pub(super) struct Assignment {
    pub line: usize,
    pub key: String,
    pub value: Secret,
}

pub(super) fn parse(text: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        parsed
            .errors
            .push((1, "is in UTF-16: save the file as UTF-8; nothing of it was read".into()));
        return parsed;
    }
    let text = match text.strip_prefix("\u{feff}".as_bytes()) {
        Some(rest) => {
            let what = "begins with a byte order mark, which is passed over here, and which \
             systemd takes for a part \
                        of the first name";
            parsed.warnings.push((1, what.to_owned()));
            rest
        }
        None => text,
    };
    let mut reader = Reader { text, at: 0, line: 1 };
    if let Some(nul) = text.iter().position(|b| *b == 0) {
        reader.text = &text[..nul];
        let line = lines_before(&text[..nul]);
        parsed.errors.push((line, "has a NUL byte; nothing after it was read".to_owned()));
    }
    while let Some(first) = reader.skip_blank() {
        let line = reader.line;
        if first == b'#' || first == b';' {
            if reader.comment() {
                parsed.warnings.push((
                    line,
                    "a comment ends with \\: systemd before 254 takes the next line as part of it"
                        .to_owned(),
                ));
            }
        } else if let Err(what) = reader.assignment(&mut parsed) {
            parsed.errors.push((line, what));
        }
    }
    parsed
}

fn is_newline(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

fn is_whitespace(byte: u8) -> bool {
    byte == b' ' || byte == b'\t' || is_newline(byte)
}

/// The number of the line that follows this text.
fn lines_before(text: &[u8]) -> usize {
    let mut reader = Reader { text, at: 0, line: 1 };
    while reader.next().is_some() {}
    reader.line
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        // systemd ends a line at either character; CR LF is one line to an editor.
        if byte == b'\n' || (byte == b'\r' && self.text.get(self.at) != Some(&b'\n')) {
            self.line += 1;
        }
        Some(byte)
    }

    fn skip_blank(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if !is_whitespace(byte) {
                return Some(byte);
            }
            self.next();
        }
    }

    /// Reads a comment to the end of its line; true if its last character is an unpaired backslash.
    fn comment(&mut self) -> bool {
        let mut escaped = false;
        loop {
            match self.next() {
                None => return false,
                Some(byte) if is_newline(byte) => return escaped,
                Some(byte) => escaped = byte == b'\\' && !escaped,
            }
        }
    }

    fn assignment(&mut self, parsed: &mut Parsed) -> Result<(), String> {
        let line = self.line;
        let mut key = Zeroizing::new(Vec::new());
        loop {
            match self.next() {
                Some(b'=') => break,
                Some(byte) if !is_newline(byte) => key.push(byte),
                _ => {
                    return Err(
                        "has no =: a setting is KEY=value, a comment begins with #".to_owned()
                    );
                }
            }
        }
        let value = self.value()?;
        let key = checked_key(key.trim_ascii_end())?;
        let value = std::str::from_utf8(&value).map_err(|_| format!("{key}: is not UTF-8"))?;
        parsed.assignments.push(Assignment { line, key, value: Secret::new(value.to_owned()) });
        Ok(())
    }

    /// Reads what follows the `=`: quoted pieces first, then plain characters to the end of the
    /// line.
    fn value(&mut self) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut value = Zeroizing::new(Vec::new());
        let mut plain = false;
        let mut without_trailing_blanks = None;
        while let Some(byte) = self.next() {
            match byte {
                b'\\' => {
                    plain = true;
                    without_trailing_blanks = None;
                    match self.next() {
                        Some(escaped) if !is_newline(escaped) => value.push(escaped),
                        _ => {}
                    }
                }
                _ if is_newline(byte) => break,
                b'\'' if !plain => self.single_quoted(&mut value)?,
                b'"' if !plain => self.double_quoted(&mut value)?,
                _ if is_whitespace(byte) => {
                    if plain {
                        without_trailing_blanks.get_or_insert(value.len());
                        value.push(byte);
                    }
                }
                _ => {
                    plain = true;
                    without_trailing_blanks = None;
                    value.push(byte);
                }
            }
        }
        if let Some(length) = without_trailing_blanks {
            value.truncate(length);
        }
        Ok(value)
    }

    fn single_quoted(&mut self, value: &mut Vec<u8>) -> Result<(), String> {
        loop {
            match self.next() {
                None => return Err("a ' is opened here and never closed".to_owned()),
                Some(b'\'') => return Ok(()),
                Some(byte) => value.push(byte),
            }
        }
    }

    fn double_quoted(&mut self, value: &mut Vec<u8>) -> Result<(), String> {
        const OPEN: &str = "a \" is opened here and never closed";
        loop {
            match self.next().ok_or(OPEN)? {
                b'"' => return Ok(()),
                b'\\' => match self.next().ok_or(OPEN)? {
                    b'\n' => {}
                    escaped if b"\"\\`$".contains(&escaped) => value.push(escaped),
                    other => value.extend([b'\\', other]),
                },
                byte => value.push(byte),
            }
        }
    }
}

/// A name as the environment has it. It is not quoted: a line that slipped may be anything.
fn checked_key(key: &[u8]) -> Result<String, String> {
    let Some(first) = key.first() else {
        return Err("has no name before the =".to_owned());
    };
    if key.starts_with(b"export ") || key.starts_with(b"export\t") {
        return Err("begins with export: this is no shell script, write KEY=value".to_owned());
    }
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    match std::str::from_utf8(key) {
        Ok(text) if key.iter().all(is_name) && !first.is_ascii_digit() => Ok(text.to_owned()),
        _ => {
            Err("the name before the = may hold only A-Z a-z 0-9 _ and begins with no digit"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
