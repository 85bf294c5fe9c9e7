//! What can be wrong with a token, from what the module and OpenSSL said.

use std::{ffi::c_ulong, path::Path};

use super::{
    ckr::{self, NO_TOKEN},
    observed::{QueueEntry, in_words},
    text::printable,
};
use crate::{
    fetch::openssl::{SeenToken, SeenTokens},
    problems::failure::{Cause, Failure},
};

const MAX_WORDS: usize = 300;

const CKF_LOGIN_REQUIRED: c_ulong = 0x4;
const CKF_USER_PIN_INITIALIZED: c_ulong = 0x8;
const CKF_TOKEN_INITIALIZED: c_ulong = 0x400;
const CKF_USER_PIN_COUNT_LOW: c_ulong = 0x1_0000;
const CKF_USER_PIN_FINAL_TRY: c_ulong = 0x2_0000;
const CKF_USER_PIN_LOCKED: c_ulong = 0x4_0000;

/// What a token shows once it has refused a PIN.
pub const PIN_FLAGS: c_ulong =
    CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;

/// The slot and the flags of the one token that the URI names.
///
/// Before any login, as neither of OpenSSL's ways tells a missing token from a missing key, and the
/// provider tries the PIN on each token that fits.
pub fn one_of(
    seen: &SeenTokens,
    uri: &str,
    module: &Path,
    with_pin: bool,
) -> Result<(c_ulong, c_ulong), Failure> {
    let fitting: Vec<&SeenToken> = seen.tokens.iter().filter(|seen| fits(uri, seen)).collect();
    match fitting.as_slice() {
        [] => Err(none_fits(seen, uri, module)),
        [_, _, ..] if with_pin => {
            Err(Failure::new(Cause::TokenAmbiguous, format!("{uri} fits {} tokens", fitting.len())))
        }
        [one] if one.flags & CKF_USER_PIN_LOCKED != 0 => {
            Err(Failure::new(Cause::PinLocked, format!("\"{}\", as it says itself", one.label)))
        }
        [one, ..] => Ok((one.slot, one.flags)),
    }
}

fn none_fits(seen: &SeenTokens, uri: &str, module: &Path) -> Failure {
    let module = module.display();
    let failure = |cause, words: String| Failure::new(cause, printable(&words, MAX_WORDS));
    let usable = seen.tokens.iter().filter(|seen| seen.flags & CKF_TOKEN_INITIALIZED != 0);
    let labels: Vec<String> = usable.map(|seen| format!("\"{}\"", seen.label)).collect();
    match (seen.unreadable, labels.is_empty(), seen.tokens.first()) {
        (Some(code), ..) if !NO_TOKEN.contains(&code) => {
            let code = ckr::words(code);
            failure(Cause::TokenFault, format!("{uri} (C_GetTokenInfo answers {code})"))
        }
        (_, false, _) => {
            let labels = labels.join(", ");
            failure(Cause::TokenMissing, format!("{uri}; module {module} sees {labels}"))
        }
        (_, true, Some(blank)) => {
            let what = format!(
                "{uri}; module {module} sees a token that is not initialized in slot {:#x}",
                blank.slot
            );
            failure(Cause::TokenNotInitialized, format!("{what}, {}", blank.model))
        }
        (_, true, None) => failure(Cause::TokenAbsent, format!("{uri}; module {module} sees none")),
    }
}

/// What was seen when a key could not be opened.
pub struct Observed<'a> {
    pub queue: Vec<QueueEntry>,
    /// A PIN was asked for and none was there.
    pub pin_needed: bool,
    /// What the token says of itself now.
    pub flags: c_ulong,
    pub uri: &'a str,
}

/// libp11's engine's name in OpenSSL's error queue.
const ENGINE_LIBRARY: &str = "pkcs11 engine";

/// Why the key could not be opened.
pub fn explain(seen: &Observed) -> Failure {
    let words = printable(&in_words(&seen.queue), MAX_WORDS);
    let with_words =
        |cause, more: &str| Failure::new(cause, format!("{} ({words}{more})", seen.uri));
    let answered: Vec<u32> = seen.queue.iter().filter(|e| e.is_modules()).map(|e| e.code).collect();
    if let Some(cause) = answered.iter().find_map(|&code| pin_cause(code)) {
        return match cause {
            Cause::PinIncorrect if seen.flags & CKF_USER_PIN_LOCKED != 0 => {
                with_words(Cause::PinLocked, ", and that was the last try")
            }
            Cause::PinIncorrect if seen.flags & CKF_USER_PIN_FINAL_TRY != 0 => {
                with_words(cause, ", and one more wrong PIN will lock it")
            }
            // A TPM is locked for a time after too many tries, and power cuts count as tries. It
            // shows no flag.
            Cause::PinLocked if seen.flags & CKF_USER_PIN_LOCKED == 0 => {
                with_words(Cause::TokenLockedOut, "")
            }
            cause => with_words(cause, ""),
        };
    }
    if seen.pin_needed {
        return Failure::new(Cause::PinNeeded, seen.uri);
    }
    if seen.queue.iter().any(|e| e.library == ENGINE_LIBRARY && e.reason == "invalid id") {
        return Failure::new(Cause::KeyUriInvalid, seen.uri);
    }
    if !answered.is_empty() {
        return with_words(Cause::TokenFault, "");
    }
    // Of a token that asks for no login its missing PIN says nothing.
    if seen.flags & (CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED) == CKF_LOGIN_REQUIRED {
        return Failure::new(Cause::PinNotSet, seen.uri);
    }
    Failure::new(Cause::KeyObjectMissing, seen.uri)
}

/// The CKR_… codes that C_Login answers with when it is about the PIN.
fn pin_cause(code: u32) -> Option<Cause> {
    match code {
        // CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE: whether the last two cost a try is
        // the token's secret, so they count as refused.
        0xa0..=0xa2 => Some(Cause::PinIncorrect),
        0xa3 => Some(Cause::PinExpired),
        0xa4 => Some(Cause::PinLocked),
        // CKR_USER_PIN_NOT_INITIALIZED
        0x102 => Some(Cause::PinNotSet),
        _ => None,
    }
}

/// Whether the URI's token attributes fit the token, compared as libp11 does: a slot without an
/// initialized token fits none.
pub fn fits(uri: &str, token: &SeenToken) -> bool {
    if token.flags & CKF_TOKEN_INITIALIZED == 0 {
        return false;
    }
    let path = uri.strip_prefix("pkcs11:").unwrap_or(uri);
    path.split('?').next().unwrap_or_default().split(';').all(|attribute| {
        let Some((name, value)) = attribute.split_once('=') else {
            return true;
        };
        let seen = match name {
            "token" => &token.label,
            "manufacturer" => &token.manufacturer,
            "model" => &token.model,
            "serial" => &token.serial,
            "slot-id" => return value.parse() == Ok(token.slot),
            _ => return true,
        };
        percent_decoded(value) == seen.as_bytes()
    })
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digits = [ahead.next(), ahead.next()]
            .map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
        match (byte, digits) {
            (b'%', [Some(high), Some(low)]) => {
                // Two hexadecimal digits fit a byte.
                decoded.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "pkcs11:token=line%207;object=device-key;type=private";

    fn token(slot: c_ulong, label: &str, flags: c_ulong) -> SeenToken {
        let label = label.to_owned();
        let serial = format!("{slot}f");
        SeenToken {
            slot,
            label,
            serial,
            flags: flags | CKF_TOKEN_INITIALIZED,
            ..SeenToken::default()
        }
    }

    fn look(seen: &[SeenToken], uri: &str, with_pin: bool) -> Result<c_ulong, Failure> {
        let seen = SeenTokens { tokens: seen.to_vec(), unreadable: None };
        one_of(&seen, uri, Path::new("/m.so"), with_pin).map(|(slot, _)| slot)
    }

    fn one(seen: &[SeenToken], uri: &str) -> Result<c_ulong, Cause> {
        look(seen, uri, true).map_err(|failure| failure.cause)
    }

    #[test]
    fn the_uri_has_to_name_one_token() {
        // SoftHSM always has an empty slot at the end.
        let empty = SeenToken { slot: 9, ..SeenToken::default() };
        let seen =
            [token(1, "line 7", 0), token(2, "line 8", 0), token(3, "line 8", 0), empty.clone()];
        assert_eq!(one(&seen, URI), Ok(1));
        assert_eq!(one(&seen, "pkcs11:token=line%208;object=x"), Err(Cause::TokenAmbiguous));
        assert_eq!(one(&seen, "pkcs11:token=line%208;serial=3f"), Ok(3));
        assert_eq!(one(&seen, "pkcs11:token=line%208;slot-id=2?x=y"), Ok(2));
        assert_eq!(one(&seen, "pkcs11:object=x"), Err(Cause::TokenAmbiguous));
        assert_eq!(look(&seen, "pkcs11:object=x", false), Ok(1));
        assert_eq!(one(&seen[..1], "pkcs11:object=x"), Ok(1));
        assert_eq!(one(&[token(1, "line 7", CKF_USER_PIN_LOCKED)], URI), Err(Cause::PinLocked));

        let missing = look(&seen, "pkcs11:token=x", true).unwrap_err();
        assert_eq!(
            missing.detail,
            "pkcs11:token=x; module /m.so sees \"line 7\", \"line 8\", \"line 8\""
        );
    }

    #[test]
    fn no_token_is_told_from_one_that_is_blank_and_one_that_can_not_be_read() {
        let said = |seen: &SeenTokens| one_of(seen, URI, Path::new("/m.so"), true).unwrap_err();
        let none = said(&SeenTokens::default());
        assert_eq!(none.cause, Cause::TokenAbsent);
        assert!(none.detail.ends_with("/m.so sees none"), "{none}");

        let model = "ATECC608A".to_owned();
        let blank = SeenToken { slot: 9, flags: 1, model, ..SeenToken::default() };
        let blank = said(&SeenTokens { tokens: vec![blank], unreadable: None });
        assert_eq!(blank.cause, Cause::TokenNotInitialized);
        assert!(
            blank
                .detail
                .ends_with("/m.so sees a token that is not initialized in slot 0x9, ATECC608A"),
            "{blank}"
        );

        let broken = said(&SeenTokens { tokens: Vec::new(), unreadable: Some(0x30) });
        assert_eq!(broken.cause, Cause::TokenFault);
        assert!(broken.detail.ends_with("(C_GetTokenInfo answers CKR_DEVICE_ERROR (0x30))"));
        let empty_slot = said(&SeenTokens { tokens: Vec::new(), unreadable: Some(0xe0) });
        assert_eq!(empty_slot.cause, Cause::TokenAbsent);
    }

    fn entry(library: &str, code: u32, reason: &str) -> QueueEntry {
        let (library, reason) = (library.to_owned(), reason.to_owned());
        QueueEntry { library, code, reason, data: String::new() }
    }

    /// What was captured: libp11 0.4.12 and pkcs11-provider 1.0, each with SoftHSM 2.6.1.
    #[test]
    fn what_was_said_of_a_key() {
        let engine = entry("engine routines", 128, "failed loading private key");
        let libp11 = |code, reason| vec![entry("PKCS#11 module", code, reason), engine.clone()];
        let not_found = vec![entry("pkcs11 engine", 101, "object not found"), engine.clone()];
        let set = CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED;
        for (queue, pin_needed, flags, cause) in [
            (libp11(0xa0, "PIN incorrect"), false, set, Cause::PinIncorrect),
            (
                libp11(0xa0, "PIN incorrect"),
                false,
                set | CKF_USER_PIN_FINAL_TRY,
                Cause::PinIncorrect,
            ),
            (libp11(0xa0, "PIN incorrect"), false, set | CKF_USER_PIN_LOCKED, Cause::PinLocked),
            (libp11(0xa2, "Invalid PIN length"), false, set, Cause::PinIncorrect),
            (libp11(0xa3, "PIN expired"), false, set, Cause::PinExpired),
            (libp11(0xa4, "PIN locked"), false, set | CKF_USER_PIN_LOCKED, Cause::PinLocked),
            // A TPM's flags never tell.
            (libp11(0xa4, "PIN locked"), false, set, Cause::TokenLockedOut),
            (libp11(0x102, "User pin not initialized"), false, 0, Cause::PinNotSet),
            (libp11(0x30, "Device error"), false, set, Cause::TokenFault),
            (vec![QueueEntry::of_module(0xa0)], false, set, Cause::PinIncorrect),
            (
                vec![entry("pkcs11", 0x30, "Some problem has occurred")],
                false,
                set,
                Cause::TokenFault,
            ),
            (not_found.clone(), true, set, Cause::PinNeeded),
            (not_found.clone(), false, set, Cause::KeyObjectMissing),
            (not_found.clone(), false, CKF_LOGIN_REQUIRED, Cause::PinNotSet),
            // A token that asks for no login, as an ATECC608's.
            (not_found, false, 0, Cause::KeyObjectMissing),
            (
                vec![entry("pkcs11 engine", 100, "invalid id"), engine.clone()],
                false,
                set,
                Cause::KeyUriInvalid,
            ),
            (Vec::new(), false, set, Cause::KeyObjectMissing),
        ] {
            let failure = explain(&Observed { queue, pin_needed, flags, uri: URI });
            assert_eq!(failure.cause, cause, "{failure}");
            assert!(failure.detail.starts_with(URI), "{failure}");
        }
        let last = Observed {
            queue: libp11(0xa0, "PIN incorrect"),
            pin_needed: false,
            flags: set | CKF_USER_PIN_FINAL_TRY,
            uri: URI,
        };
        assert!(
            explain(&last).detail.ends_with(
                "PIN incorrect, CKR_PIN_INCORRECT, and one more wrong PIN will lock it)"
            )
        );
    }
}
