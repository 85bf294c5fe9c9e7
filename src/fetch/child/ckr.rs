//! The names of PKCS#11's return codes, which a person can search for.

use std::ffi::c_ulong;

/// CKR_TOKEN_NOT_PRESENT and CKR_TOKEN_NOT_RECOGNIZED: an empty slot's answers.
pub const NO_TOKEN: [c_ulong; 2] = [0xe0, 0xe1];

/// Such as `CKR_DEVICE_ERROR (0x30)`.
pub fn words(code: c_ulong) -> String {
    match name(code) {
        Some(name) => format!("{name} ({code:#x})"),
        None => format!("{code:#x}"),
    }
}

/// Whether a start that ends so may go well the next time: a bus that is late, a daemon behind the
/// module that restarts. CKR_HOST_MEMORY, CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, the device's own,
/// and kryoptic's of a token that is not there.
pub fn may_pass(code: c_ulong) -> bool {
    matches!(code, 0x2 | 0x5 | 0x6 | 0x30..=0x32) || NO_TOKEN.contains(&code)
}

/// The name, of those that a token's user meets. Source: PKCS #11 v3.1, section 5.1 and pkcs11t.h.
pub fn name(code: c_ulong) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

const NAMES: &[(c_ulong, &str)] = &[
    (0x1, "CKR_CANCEL"),
    (0x2, "CKR_HOST_MEMORY"),
    (0x3, "CKR_SLOT_ID_INVALID"),
    (0x5, "CKR_GENERAL_ERROR"),
    (0x6, "CKR_FUNCTION_FAILED"),
    (0x7, "CKR_ARGUMENTS_BAD"),
    (0x8, "CKR_NO_EVENT"),
    (0x9, "CKR_NEED_TO_CREATE_THREADS"),
    (0xa, "CKR_CANT_LOCK"),
    (0x10, "CKR_ATTRIBUTE_READ_ONLY"),
    (0x11, "CKR_ATTRIBUTE_SENSITIVE"),
    (0x12, "CKR_ATTRIBUTE_TYPE_INVALID"),
    (0x13, "CKR_ATTRIBUTE_VALUE_INVALID"),
    (0x1b, "CKR_ACTION_PROHIBITED"),
    (0x20, "CKR_DATA_INVALID"),
    (0x21, "CKR_DATA_LEN_RANGE"),
    (0x30, "CKR_DEVICE_ERROR"),
    (0x31, "CKR_DEVICE_MEMORY"),
    (0x32, "CKR_DEVICE_REMOVED"),
    (0x50, "CKR_FUNCTION_CANCELED"),
    (0x54, "CKR_FUNCTION_NOT_SUPPORTED"),
    (0x60, "CKR_KEY_HANDLE_INVALID"),
    (0x62, "CKR_KEY_SIZE_RANGE"),
    (0x63, "CKR_KEY_TYPE_INCONSISTENT"),
    (0x68, "CKR_KEY_FUNCTION_NOT_PERMITTED"),
    (0x70, "CKR_MECHANISM_INVALID"),
    (0x71, "CKR_MECHANISM_PARAM_INVALID"),
    (0x82, "CKR_OBJECT_HANDLE_INVALID"),
    (0x90, "CKR_OPERATION_ACTIVE"),
    (0x91, "CKR_OPERATION_NOT_INITIALIZED"),
    (0xa0, "CKR_PIN_INCORRECT"),
    (0xa1, "CKR_PIN_INVALID"),
    (0xa2, "CKR_PIN_LEN_RANGE"),
    (0xa3, "CKR_PIN_EXPIRED"),
    (0xa4, "CKR_PIN_LOCKED"),
    (0xb0, "CKR_SESSION_CLOSED"),
    (0xb1, "CKR_SESSION_COUNT"),
    (0xb3, "CKR_SESSION_HANDLE_INVALID"),
    (0xb5, "CKR_SESSION_READ_ONLY"),
    (0xb6, "CKR_SESSION_EXISTS"),
    (0xc0, "CKR_SIGNATURE_INVALID"),
    (0xc1, "CKR_SIGNATURE_LEN_RANGE"),
    (0xd0, "CKR_TEMPLATE_INCOMPLETE"),
    (0xd1, "CKR_TEMPLATE_INCONSISTENT"),
    (0xe0, "CKR_TOKEN_NOT_PRESENT"),
    (0xe1, "CKR_TOKEN_NOT_RECOGNIZED"),
    (0xe2, "CKR_TOKEN_WRITE_PROTECTED"),
    (0x100, "CKR_USER_ALREADY_LOGGED_IN"),
    (0x101, "CKR_USER_NOT_LOGGED_IN"),
    (0x102, "CKR_USER_PIN_NOT_INITIALIZED"),
    (0x103, "CKR_USER_TYPE_INVALID"),
    (0x150, "CKR_BUFFER_TOO_SMALL"),
    (0x190, "CKR_CRYPTOKI_NOT_INITIALIZED"),
    (0x191, "CKR_CRYPTOKI_ALREADY_INITIALIZED"),
    (0x1a0, "CKR_MUTEX_BAD"),
    (0x200, "CKR_FUNCTION_REJECTED"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_names() {
        assert_eq!(words(0x30), "CKR_DEVICE_ERROR (0x30)");
        assert_eq!(words(0x8000_0001), "0x80000001");
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(may_pass(0x30) && may_pass(0x5) && !may_pass(0x7));
    }
}
