//! Which setting a misspelt key is probably meant to be.

use crate::settings::table::SETTINGS;

/// The known name that a misspelt one is probably meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    const PREFIX: &str = "EDGEROTATE_";
    let typed = name.to_ascii_uppercase();
    let names = || SETTINGS.iter().flat_map(|s| std::iter::once(s.name).chain(s.article_name));

    // A word left out, such as PIN_FILE for PKCS11_PIN_FILE, is many letters but one slip.
    let own_part = typed.strip_prefix(PREFIX).filter(|part| part.len() >= 4);
    if let Some(part) = own_part {
        let mut holding = names().filter(|known| known.contains(part));
        if let (Some(known), None) = (holding.next(), holding.next()) {
            return Some(known);
        }
    }
    let (distance, known) =
        names().map(|known| (edits(&typed, known), known)).min_by_key(|found| found.0)?;
    // What all names have in common says nothing about which one is meant.
    let own_letters = known.strip_prefix(PREFIX).unwrap_or(known).len();
    (distance <= (own_letters / 3).max(2)).then_some(known)
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut previous: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let changed = previous[j] + usize::from(a != *b);
            row.push(changed.min(previous[j + 1] + 1).min(row[j] + 1));
        }
        previous = row;
    }
    previous[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_its_neighbour_and_a_foreign_one_none() {
        for (typed, meant) in [
            ("EDGEROTATE_ENDPONT", Some("EDGEROTATE_ENDPOINT")),
            ("EDGEROTATE_END_POINT", Some("EDGEROTATE_ENDPOINT")),
            ("edgerotate_endpoint", Some("EDGEROTATE_ENDPOINT")),
            ("EDGEROTATE_ROLE_ALAIS", Some("EDGEROTATE_ROLE_ALIAS")),
            ("EDGEROTATE_PIN_FILE", Some("EDGEROTATE_PKCS11_PIN_FILE")),
            ("EDGEROTATE_PKCS11_PINFILE", Some("EDGEROTATE_PKCS11_PIN_FILE")),
            ("EDGROTATE_LOG", Some("EDGEROTATE_LOG")),
            ("DEVICE_CERT_PAHT", Some("DEVICE_CERT_PATH")),
            ("SQLITE_SAMPLE_DB_PATH", Some("SQLITE3_SAMPLE_DB_PATH")),
            ("EDGEROTATE_TELEMETRY", None),
            ("AWS_ACCESS_KEY_ID", None),
            ("PATH", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }
}
