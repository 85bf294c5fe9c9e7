//! Text from peers and modules, made fit for one line of a log.

/// At most `max` characters, printable ones only, without blanks at the ends.
pub fn printable(text: &str, max: usize) -> String {
    let clean: String = text.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect();
    let clean = clean.trim();
    match clean.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", clean[..end].trim_end()),
        None => clean.to_owned(),
    }
}

/// No control characters, and nothing that turns the direction of a line or hides in it.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        && !matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_one_printable_line() {
        assert_eq!(printable(" a\r\nb\u{1b}[0m\u{202e}c ", 80), "a  b [0m c");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("äöü", 3), "äöü");
    }
}
