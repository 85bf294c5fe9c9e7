//! What PKCS#11 modules and libp11 print, made fit for a debug log.
//!
//! libp11 prints whole URIs, PIN included, when something fails, and a tracing module prints PINs as text and in
//! hex. Only the child knows the PIN, so only the child can take it out.

use std::{fs::File, io::Read, os::fd::OwnedFd};

use zeroize::Zeroizing;

use super::text::printable;

/// As much as a log line should hold.
const KEPT_BYTES: usize = 2048;
/// What a pipe holds by default; more cannot be in it.
const PIPE_BYTES: usize = 64 * 1024;

/// Takes what is in the pipe now, without waiting for more.
pub fn collect(printed: OwnedFd, pin: Option<&str>) -> String {
    let mut raw = Zeroizing::new(Vec::with_capacity(PIPE_BYTES + 1));
    // Ends with WouldBlock, as this process itself holds the writing end; what was read by then is kept.
    let _ = File::from(printed).take(PIPE_BYTES as u64).read_to_end(&mut raw);
    clean(&String::from_utf8_lossy(&raw), pin)
}

/// The end of a text, with its secrets blotted out first: cutting first could leave half a PIN.
pub fn clean(text: &str, pin: Option<&str>) -> String {
    let mut text = text.to_owned();
    if let Some(pin) = pin.filter(|pin| !pin.is_empty()) {
        let hex = |separator: &str, upper: bool| {
            let digits =
                pin.bytes().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") });
            digits.collect::<Vec<_>>().join(separator)
        };
        let forms = [
            pin.to_owned(),
            hex(" ", false),
            hex(" ", true),
            hex("", false),
            hex("", true),
            hex(":", false),
        ];
        for form in forms {
            text = text.replace(&form, "[PIN]");
        }
    }
    for attribute in ["pin-value=", "pin-source="] {
        text = blot_attribute(&text, attribute);
    }
    let lines: Vec<String> = text
        .lines()
        .map(|line| printable(line, KEPT_BYTES))
        .filter(|line| !line.is_empty())
        .collect();
    let text = lines.join(" | ");
    let mut start = text.len().saturating_sub(KEPT_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

fn blot_attribute(text: &str, attribute: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(attribute) {
        let (before, found) = rest.split_at(at + attribute.len());
        clean.push_str(before);
        clean.push_str("[…]");
        let end = found
            .find(|c: char| c.is_whitespace() || "&;?\"'<>)".contains(c))
            .unwrap_or(found.len());
        rest = &found[end..];
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_pin_out_in_every_form() {
        // The first line is libp11 0.4.12's, the second pkcs11-spy's.
        let text = "The private key was not found at: pkcs11:token=t;object=o?pin-value=648219&x=1\n\
                    [in] pPin[ulPinLen] 36 34 38 32 31 39  648219\n\
                    pin-source=file:/run/pin;type=private \u{1b}[31m";
        assert_eq!(
            clean(text, Some("648219")),
            "The private key was not found at: pkcs11:token=t;object=o?pin-value=[…]&x=1 | \
             [in] pPin[ulPinLen] [PIN]  [PIN] | pin-source=[…];type=private  [31m"
        );
        assert_eq!(clean("a?pin-value=12%33", None), "a?pin-value=[…]");
    }

    #[test]
    fn keeps_the_end_only_and_no_half_pin() {
        let text = format!("{}648219{}", "x".repeat(100), "y".repeat(KEPT_BYTES - 3));
        let kept = clean(&text, Some("648219"));
        assert_eq!(kept.len(), KEPT_BYTES);
        assert!(!kept.contains("219"), "{kept}");
    }
}
