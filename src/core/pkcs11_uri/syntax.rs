//! What RFC 7512 allows in a URI: its attributes, and how a value is written.

use zeroize::Zeroizing;

/// The attributes of the path (after `pkcs11:`, separated by `;`).
pub(super) const PATH_ATTRIBUTES: [&str; 13] = [
    "token",
    "manufacturer",
    "serial",
    "model",
    "library-manufacturer",
    "library-version",
    "library-description",
    "object",
    "type",
    "id",
    "slot-manufacturer",
    "slot-description",
    "slot-id",
];

/// Those of them that libp11 does not know: it refuses a URI with one of them.
pub(super) const NOT_FOR_ENGINE: [&str; 6] = [
    "library-manufacturer",
    "library-version",
    "library-description",
    "slot-manufacturer",
    "slot-description",
    "slot-id",
];

/// The attributes of the query (after `?`, separated by `&`).
pub(super) const QUERY_ATTRIBUTES: [&str; 4] =
    ["pin-source", "pin-value", "module-name", "module-path"];

pub(super) fn percent_decode(value: &str) -> Result<Zeroizing<Vec<u8>>, ()> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(());
        let (high, low) = (digit()?, digit()?);
        decoded.push((high * 16 + low) as u8);
    }
    Ok(decoded)
}

pub(super) fn has_bare_separator(value: &str) -> bool {
    value.contains(['=', '&'])
}
