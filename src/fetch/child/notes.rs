//! What PKCS#11 modules and libp11 print, made fit for a debug log.
//!
//! libp11 prints whole URIs, PIN included, when something fails, and a tracing module prints PINs
//! as text and in hex. Only the child knows the PIN, so only the child can take it out.

use std::{fs::File, io::Read, os::fd::OwnedFd};

use zeroize::Zeroizing;

use super::text::printable;
use crate::core::secret::Secret;

/// As much as a log line should hold.
const KEPT_BYTES: usize = 2048;
/// As much of a module's words as a message should hold.
const MAX_WORDS: usize = 200;
/// What a pipe holds by default; more cannot be in it.
const PIPE_BYTES: usize = 64 * 1024;

/// Takes what is in the pipe now, without waiting for more.
pub fn collect(printed: OwnedFd, pin: Option<&str>, secrets: &[Secret]) -> String {
    let mut raw = Zeroizing::new(Vec::with_capacity(PIPE_BYTES + 1));
    // Ends with WouldBlock, as this process itself holds the writing end; what was read by then is
    // kept.
    let _ = File::from(printed).take(PIPE_BYTES as u64).read_to_end(&mut raw);
    clean(&String::from_utf8_lossy(&raw), pin, secrets)
}

/// What separates the lines in the notes.
const SEPARATOR: &str = " | ";

/// What libp11 says of each failure, whatever the reason.
const LIBP11: &[&str] = &[
    "Login failed",
    "Login to token failed",
    "The private key was not found at:",
    "PKCS11_get_private_key returned NULL",
    "Unable to load module",
    "No matching initialized token",
];

/// The module's own last words in the notes: its last lines, as many as a message should hold. The
/// reason stands often some lines before the last.
pub fn last_words(notes: &str) -> Option<String> {
    let is_own = |line: &&str| {
        !line.trim().is_empty() && !LIBP11.iter().any(|begin| line.starts_with(begin))
    };
    let (mut words, mut length) = (Vec::new(), 0);
    for line in notes.rsplit(SEPARATOR).filter(is_own) {
        length += line.len();
        if length > MAX_WORDS && !words.is_empty() {
            break;
        }
        words.push(line);
    }
    words.reverse();
    (!words.is_empty()).then(|| printable(&words.join(SEPARATOR), MAX_WORDS))
}

/// The end of a text, with its secrets blotted out first: cutting first could leave half a PIN.
pub fn clean(text: &str, pin: Option<&str>, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret.expose(), "[secret]");
    }
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
    let text = lines.join(SEPARATOR);
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
        let text = "The private key was not found at: \
         pkcs11:token=t;object=o?pin-value=648219&x=1\n\
                    [in] pPin[ulPinLen] 36 34 38 32 31 39  648219\n\
                    pin-source=file:/run/pin;type=private \u{1b}[31m";
        assert_eq!(
            clean(text, Some("648219"), &[]),
            "The private key was not found at: pkcs11:token=t;object=o?pin-value=[…]&x=1 | \
             [in] pPin[ulPinLen] [PIN]  [PIN] | pin-source=[…];type=private  [31m"
        );
        assert_eq!(clean("a?pin-value=12%33", None, &[]), "a?pin-value=[…]");
        let of_module = [Secret::new("user:0001".to_owned())];
        assert_eq!(clean("login as user:0001", None, &of_module), "login as [secret]");
    }

    /// What was captured of tpm2-pkcs11 1.9.0 at a TPM that killed clients had filled.
    #[test]
    fn a_module_s_last_words_are_its_own() {
        let notes = "WARNING:esys:src/tss2-esys/api/Esys_StartAuthSession.c:390 Received TPM Error \
         | \
                     ERROR: Esys_StartAuthSession: tpm:warn(2.0): out of memory for session \
                     contexts | \
                     ERROR: Could not start Auth Session with the TPM. | \
                     ERROR: Error unsealing wrapping key | Login failed | \
                     Login to token failed, returning NULL... | PKCS11_get_private_key returned \
                     NULL";
        let words = last_words(notes).unwrap();
        assert!(words.starts_with("ERROR: Esys_StartAuthSession"), "{words}");
        assert!(words.ends_with("| ERROR: Error unsealing wrapping key"), "{words}");
        assert_eq!(last_words("Login failed"), None);
        assert_eq!(last_words(""), None);
    }

    #[test]
    fn keeps_the_end_only_and_no_half_pin() {
        let text = format!("{}648219{}", "x".repeat(100), "y".repeat(KEPT_BYTES - 3));
        let kept = clean(&text, Some("648219"), &[]);
        assert_eq!(kept.len(), KEPT_BYTES);
        assert!(!kept.contains("219"), "{kept}");
    }
}
