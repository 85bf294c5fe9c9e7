//! `pkcs11:` URIs (RFC 7512), and the one place that knows how to show one without its PIN.
//!
//! A URI is read strictly, because OpenSSL's modules read it loosely: they skip what they do not
//! understand and then fail with "object not found". And it is shown by what is known to be
//! harmless rather than by cutting out what is known to be secret: a URI that does not parse is
//! just the one whose PIN is not where it should be.

mod masked;
mod syntax;

use std::fmt;

use zeroize::Zeroizing;

pub use self::masked::masked;
use crate::core::{
    pkcs11_uri::syntax::{
        NOT_FOR_ENGINE, PATH_ATTRIBUTES, QUERY_ATTRIBUTES, has_bare_separator, percent_decode,
    },
    secret::Secret,
};

/// A URI that follows RFC 7512.
///
/// `Display` and `Debug` show it without its PIN.
#[derive(Clone, PartialEq, Eq)]
pub struct Pkcs11Uri {
    text: Zeroizing<String>,
    path: Vec<Attribute>,
    query: Vec<Attribute>,
}

/// One attribute; the value is decoded.
#[derive(Clone, PartialEq, Eq)]
struct Attribute {
    name: Name,
    value: Zeroizing<Vec<u8>>,
}

/// The name of an attribute; what RFC 7512 does not name is a vendor's (or a slip of the pen).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Standard(&'static str),
    /// By position rather than by name: what follows an unescaped `&` in a PIN looks like one, too.
    Vendor(TextPosition),
}

/// Where in the URI something is, for a message that must not quote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TextPosition {
    part: &'static str,
    /// From 1.
    number: usize,
}

/// What is wrong with a URI, in words that quote none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriError(String);

impl Pkcs11Uri {
    /// Whether a text is meant to be such a URI; a scheme's case does not matter.
    pub fn is_meant(text: &str) -> bool {
        text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("pkcs11:"))
    }

    /// Reads a URI as RFC 7512 has it, vendor attributes included.
    ///
    /// # Errors
    /// Says which attribute is wrong and why; never quotes a value.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if !Self::is_meant(text) {
            return Err(UriError("does not begin with pkcs11:".to_owned()));
        }
        let (path, query) = text[7..].split_once('?').unwrap_or((&text[7..], ""));
        let uri = Self {
            text: Zeroizing::new(text.to_owned()),
            path: attributes(path, ';', "path", &PATH_ATTRIBUTES)?,
            query: attributes(query, '&', "query", &QUERY_ATTRIBUTES)?,
        };
        for attribute in &uri.path {
            check_path_value(attribute)?;
        }
        Ok(uri)
    }

    /// The first attribute that OpenSSL's engine can't take.
    pub fn not_for_engine(&self) -> Option<&'static str> {
        self.path.iter().find_map(|attribute| match attribute.name {
            Name::Standard(name) if NOT_FOR_ENGINE.contains(&name) => Some(name),
            _ => None,
        })
    }

    /// Refuses what RFC 7512 allows and no device's key needs: vendor attributes, which neither
    /// OpenSSL's engine nor its provider understands, and a bare `=` or `&` in a value of the path,
    /// which is how a PIN gets there when the `?` before it is missing.
    ///
    /// # Errors
    /// Says where the first of them is, and what to write instead.
    pub fn plain(self) -> Result<Self, UriError> {
        for attribute in self.path.iter().chain(&self.query) {
            if let Name::Vendor(at) = attribute.name {
                let (known, hint) = match at.part {
                    "path" => (PATH_ATTRIBUTES.join(", "), "PIN and module come after a ?"),
                    _ => (QUERY_ATTRIBUTES.join(", "), "a & inside a PIN is written %26"),
                };
                return Err(UriError(format!("{at} is not a known one (known: {known}; {hint})")));
            }
        }
        let values =
            self.path().split(';').map(|a| a.split_once('=').map_or("", |(_, value)| value));
        for (attribute, value) in self.path.iter().zip(values) {
            if has_bare_separator(value) {
                let name = attribute.name;
                return Err(UriError(format!(
                    "{name} has a = or & in its value: write %3D or %26, and PIN and module after \
                     a ?"
                )));
            }
        }
        Ok(self)
    }

    /// The URI of the object alone, as the engine or provider gets it: without PIN and module.
    pub fn object(&self) -> String {
        format!("pkcs11:{}", self.path())
    }

    /// `type`, such as `private`.
    pub fn object_type(&self) -> Option<&str> {
        self.text_of("type")
    }

    /// `module-path`, decoded.
    pub fn module_path(&self) -> Option<&str> {
        self.text_of("module-path")
    }

    /// `module-name`, decoded.
    pub fn module_name(&self) -> Option<&str> {
        self.text_of("module-name")
    }

    /// `pin-source`, decoded.
    pub fn pin_source(&self) -> Option<&str> {
        self.text_of("pin-source")
    }

    /// `pin-value`, decoded.
    pub fn pin_value(&self) -> Option<Secret> {
        self.text_of("pin-value").map(|pin| Secret::new(pin.to_owned()))
    }

    fn path(&self) -> &str {
        self.text[7..].split('?').next().unwrap_or_default()
    }

    fn text_of(&self, name: &str) -> Option<&str> {
        let attribute = self
            .path
            .iter()
            .chain(&self.query)
            .find(|a| a.name == Name::Standard(name_of(name)))?;
        std::str::from_utf8(&attribute.value).ok()
    }
}

/// The URI without its PIN: only what is known to be harmless is shown.
impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.text))
    }
}

impl fmt::Debug for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Uri({self})")
    }
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UriError {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(name) => write!(f, "attribute {name}"),
            Self::Vendor(at) => at.fmt(f),
        }
    }
}

impl fmt::Display for TextPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attribute {} of the {}", self.number, self.part)
    }
}

fn attributes(
    part: &str,
    separator: char,
    part_name: &'static str,
    known: &[&'static str],
) -> Result<Vec<Attribute>, UriError> {
    let mut found: Vec<Attribute> = Vec::new();
    if part.is_empty() {
        return Ok(found);
    }
    for (index, attribute) in part.split(separator).enumerate() {
        let at = TextPosition { part: part_name, number: index + 1 };
        if attribute.is_empty() {
            return Err(UriError(format!("{at} is empty")));
        }
        let Some((name, value)) = attribute.split_once('=') else {
            let hint = if part_name == "query" { " (a & inside a PIN is written %26)" } else { "" };
            return Err(UriError(format!("{at} has no ={hint}")));
        };
        let name = match known.iter().find(|known| **known == name) {
            Some(name) => Name::Standard(name),
            None if is_vendor_name(name) => Name::Vendor(at),
            None => {
                return Err(UriError(format!("{at} has a name with a character that no name has")));
            }
        };
        if let Some(bad) = value.chars().position(|c| !is_value_char(c, part_name)) {
            return Err(UriError(format!(
                "{name}: character {} of the value must be percent-encoded (a space is %20)",
                bad + 1
            )));
        }
        let value = percent_decode(value).map_err(|()| {
            UriError(format!("{name}: a % is not followed by two hexadecimal digits"))
        })?;
        if let Name::Standard(_) = name {
            if found.iter().any(|other| other.name == name) {
                return Err(UriError(format!("{name} is there twice")));
            }
        }
        if part_name == "query" && value.is_empty() {
            return Err(UriError(format!("{name} is empty")));
        }
        if part_name == "query" && (std::str::from_utf8(&value).is_err() || value.contains(&0)) {
            return Err(UriError(format!("{name} is not text")));
        }
        found.push(Attribute { name, value });
    }
    Ok(found)
}

fn check_path_value(attribute: &Attribute) -> Result<(), UriError> {
    let Name::Standard(name) = attribute.name else { return Ok(()) };
    let text = String::from_utf8_lossy(&attribute.value);
    let lower = Zeroizing::new(text.to_ascii_lowercase());
    if QUERY_ATTRIBUTES.iter().any(|query| lower.contains(query)) {
        return Err(UriError(format!(
            "attribute {name} has swallowed one of {}: these come after a ?",
            QUERY_ATTRIBUTES.join(", ")
        )));
    }
    let fits = match name {
        "id" => true,
        "type" => ["public", "private", "cert", "secret-key", "data"].contains(&&*text),
        "slot-id" => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
        "library-version" => {
            let (major, minor) = text.split_once('.').unwrap_or((&text, "0"));
            [major, minor].iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        }
        _ => std::str::from_utf8(&attribute.value).is_ok() && !attribute.value.contains(&0),
    };
    if fits {
        return Ok(());
    }
    Err(UriError(match name {
        "type" => "attribute type is none of public, private, cert, secret-key, data".to_owned(),
        "slot-id" => "attribute slot-id is not a number".to_owned(),
        "library-version" => {
            "attribute library-version is not a number such as 1 or 1.2".to_owned()
        }
        _ => format!("attribute {name} is not text"),
    }))
}

/// The name as a constant, so that no part of the URI can get into a message through it.
fn name_of(name: &str) -> &'static str {
    PATH_ATTRIBUTES
        .iter()
        .chain(&QUERY_ATTRIBUTES)
        .find(|known| **known == name)
        .copied()
        .unwrap_or("")
}

fn is_vendor_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// `pk11-pchar` and `pk11-qchar` of RFC 7512, section 2.3.
fn is_value_char(c: char, part: &str) -> bool {
    let in_both = c.is_ascii_alphanumeric() || "-._~:[]@!$'()*+,=%".contains(c);
    in_both || if part == "path" { c == '&' } else { "/?|".contains(c) }
}

#[cfg(test)]
mod tests;
