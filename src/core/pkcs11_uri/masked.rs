//! How a URI is shown: by the parts that are known to be harmless.

use zeroize::Zeroizing;

use super::syntax::{PATH_ATTRIBUTES, QUERY_ATTRIBUTES, has_bare_separator, percent_decode};

/// Shows a URI, whole or broken, by its harmless parts; everything else is `…`.
pub fn masked(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let Some(start) = lower.find("pkcs11:") else {
        return "…".to_owned();
    };
    let before = if start == 0 { "" } else { "…" };
    let rest = &text[start + 7..];
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let mut shown = format!("{before}pkcs11:{}", masked_part(path, ';', &PATH_ATTRIBUTES));
    if let Some(query) = query {
        shown.push('?');
        shown.push_str(&masked_part(query, '&', &QUERY_ATTRIBUTES));
    }
    shown
}

fn masked_part(part: &str, separator: char, known: &[&'static str]) -> String {
    let shown = part.split(separator).map(|attribute| match attribute.split_once('=') {
        Some((name, value)) if known.contains(&name) => match name {
            "pin-value" => "pin-value=…".to_owned(),
            "pin-source" if !(value.starts_with('/') || value.starts_with("file:/")) => {
                "pin-source=…".to_owned()
            }
            "pin-source" => attribute.to_owned(),
            _ if mentions_pin(value) => format!("{name}=…"),
            _ => attribute.to_owned(),
        },
        _ if attribute.is_empty() => String::new(),
        _ => "…".to_owned(),
    });
    shown.collect::<Vec<_>>().join(&separator.to_string())
}

/// Whether a value seems to have swallowed a PIN, as with `object=key&pin-value=…` before the `?`.
fn mentions_pin(value: &str) -> bool {
    let decoded =
        percent_decode(value).unwrap_or_else(|()| Zeroizing::new(value.as_bytes().to_vec()));
    let lower = Zeroizing::new(String::from_utf8_lossy(&decoded).to_ascii_lowercase());
    has_bare_separator(value) || lower.contains("pin")
}
