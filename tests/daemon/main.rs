//! The daemon against real parts.
#[path = "../support/mod.rs"]
mod support;

#[test]
fn the_token_signs_and_keeps_its_key() {
    let scratch = support::Scratch::new("token");
    let token = support::Token::new(&scratch);
    assert!(
        token
            .certificate_request("thing-1")
            .ends_with("-----END CERTIFICATE REQUEST-----\n")
    );
    assert!(
        token.describe_key().contains("never extractable"),
        "{}",
        token.describe_key()
    );
    let (handed_out, answer) = token.try_to_read_key();
    assert!(!handed_out, "{answer}");
    assert!(answer.contains("CKR_ATTRIBUTE_SENSITIVE"), "{answer}");
}
