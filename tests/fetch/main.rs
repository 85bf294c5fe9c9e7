//! The fetch against real parts: SoftHSM with a key that can't be read out, libp11, libcurl, and tests/cloud.
//!
//! Each test has a token, a cloud and directories of its own, so that they run side by side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(
    clippy::print_stderr,
    reason = "each failure's line is worth reading in the test's output"
)]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod files;
mod provider;
mod supervision;
mod tls;
mod token;

use edgerotate::failure::Cause;

/// The tests whose cases are real.
const SOURCES: &[&str] = &[
    include_str!("files.rs"),
    include_str!("provider.rs"),
    include_str!("supervision.rs"),
    include_str!("tls.rs"),
    include_str!("token.rs"),
];

/// What no test here can bring about, and why; the words that libcurl or OpenSSL have for it are in the unit tests of
/// src/fetch.
const NOT_BROUGHT_ABOUT: &[(Cause, &str)] = &[
    (Cause::OpensslMissing, "needs a libcurl that is built with another TLS library"),
    (Cause::TransportOther, "is what has no cause of its own"),
];

#[test]
fn there_is_a_case_for_each_cause() {
    for cause in Cause::ALL {
        let name = format!("Cause::{cause:?}");
        let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        let named = |source: &&str| source.split(&name).skip(1).any(is_end);
        let has_case = SOURCES.iter().any(named);
        let has_excuse = NOT_BROUGHT_ABOUT.iter().any(|(other, _)| other == cause);
        assert_ne!(has_case, has_excuse, "{name}: either a case or a reason why there is none");
    }
}
