//! The PIN, read by the child alone.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use zeroize::Zeroizing;

use crate::{
    core::secret::Secret,
    fetch::{material, pin_mark::Source},
    problems::failure::{Cause, Failure},
    settings::Pin,
};

/// Far more than any token allows (PKCS#11 leaves it to the token; 4 to 255 is usual).
const MAX_PIN_BYTES: usize = 1024;

/// A PIN, and where it came from.
pub struct HeldPin {
    pub pin: Secret,
    pub source: Source,
}

/// Reads the PIN; `None` where the settings name none.
///
/// What cannot be a PIN is never tried: on a token that counts, each try may be the last.
pub fn read(pin: &Pin) -> Result<Option<HeldPin>, Failure> {
    match pin {
        Pin::None => Ok(None),
        Pin::Value(value) => {
            check(value.expose()).map_err(|what| {
                Failure::new(Cause::PinUnfit, format!("in the settings: {what}"))
            })?;
            Ok(Some(HeldPin { pin: value.clone(), source: Source::Settings }))
        }
        Pin::File(path) => read_file(path).map(Some),
    }
}

fn read_file(path: &Path) -> Result<HeldPin, Failure> {
    let read = || -> io::Result<(Zeroizing<Vec<u8>>, Source)> {
        let file = File::open(path)?;
        let source = Source::of(&file)?;
        let mut raw = Zeroizing::new(Vec::with_capacity(MAX_PIN_BYTES + 1));
        file.take(MAX_PIN_BYTES as u64 + 1).read_to_end(&mut raw)?;
        Ok((raw, source))
    };
    let (raw, source) = read().map_err(|e| material::PIN_FILE.failure(path, &e))?;
    let unfit = |what: &str| Failure::new(Cause::PinUnfit, format!("{}: {what}", path.display()));
    if raw.len() > MAX_PIN_BYTES {
        return Err(unfit("it is too long"));
    }
    let text = std::str::from_utf8(&raw).map_err(|_| unfit("it is not UTF-8"))?;
    let pin = without_line_end(text);
    if pin.is_empty() {
        return Err(Failure::new(Cause::PinFileEmpty, path.display().to_string()));
    }
    check(pin).map_err(unfit)?;
    Ok(HeldPin { pin: Secret::new(pin.to_owned()), source })
}

/// Editors and `echo` end a file with a newline, which the token would take for a part of the PIN.
fn without_line_end(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

fn check(pin: &str) -> Result<(), &'static str> {
    if pin.is_empty() {
        Err("it is empty")
    } else if pin.contains('\0') {
        Err("it has a NUL in it")
    } else if pin.starts_with('\u{feff}') {
        Err("it begins with a byte order mark: save it as UTF-8 without one")
    } else if pin.contains(['\n', '\r']) {
        Err("it has more than one line")
    } else if pin.starts_with('\u{feff}') {
        Err("it begins with a byte order mark: save it as UTF-8 without one")
    } else if pin.trim() != pin {
        Err("it has a blank before or after it")
    } else if is_quoted(pin) {
        Err("it is in quotes: write it without them")
    } else {
        Ok(())
    }
}

fn is_quoted(pin: &str) -> bool {
    let mut characters = pin.chars();
    let (first, last) = (characters.next(), characters.next_back());
    first == last && matches!(first, Some('"' | '\''))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("edgerotate-pin-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn one_line_end_is_no_part_of_it() {
        for (name, content, pin) in [
            ("a", "648219", "648219"),
            ("b", "648219\n", "648219"),
            ("c", "648219\r\n", "648219"),
            ("d", "6 \"8\n", "6 \"8"),
        ] {
            let path = file(name, content.as_bytes());
            assert_eq!(read_file(&path).unwrap().pin.expose(), pin);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_a_pin_is_said_without_quoting_it() {
        for (name, content, cause) in [
            ("e", &b""[..], Cause::PinFileEmpty),
            ("f", b"\n", Cause::PinFileEmpty),
            ("g", b"648219\n648219\n", Cause::PinUnfit),
            ("h", b"6482\x0019", Cause::PinUnfit),
            ("i", b"\xff\xfe6482", Cause::PinUnfit),
            ("k", b"\xef\xbb\xbf648219\r\n", Cause::PinUnfit),
            ("j", &[b'6'; 2000], Cause::PinUnfit),
            ("k", b"\xef\xbb\xbf648219\n", Cause::PinUnfit),
            ("l", b" 648219\n", Cause::PinUnfit),
            ("m", b"648219 \n", Cause::PinUnfit),
            ("n", b"\"648219\"\n", Cause::PinUnfit),
            ("o", b"'648219'\n", Cause::PinUnfit),
        ] {
            let path = file(name, content);
            let failure = read_file(&path).err().unwrap();
            assert_eq!(failure.cause, cause, "{name}");
            assert!(!failure.to_string().contains("6482"), "{failure}");
            fs::remove_file(path).unwrap();
        }
        let failure = read_file(Path::new("/nonexistent/pin")).err().unwrap();
        assert_eq!(failure.cause, Cause::PinFileMissing);
        assert_eq!(read_file(Path::new("/")).err().unwrap().cause, Cause::PinFileUnreadable);
    }
}
