//! The fetch against real parts: SoftHSM with a key that can't be read out, libp11, libcurl, and
//! tests/cloud.
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

/// Tests, each with the causes of failure that it shows: it fails where one of them was not really
/// met.
macro_rules! cases {
    ($($name:ident: $($cause:ident)*;)*) => {
        pub const CASES: &[edgerotate::problems::failure::Cause] =
            &[$($(edgerotate::problems::failure::Cause::$cause,)*)*];

        mod case {
            $(
                #[test]
                fn $name() {
                    use edgerotate::problems::failure::Cause;
                    crate::bench::assert_shows(super::$name, &[$(Cause::$cause),*]);
                }
            )*
        }
    };
}
mod bench;
mod files;
mod provider;
mod proxy;
mod supervision;
mod tls;
mod token;

use edgerotate::problems::failure::Cause;

/// Whose cases are real.
const CASES: &[&[Cause]] =
    &[files::CASES, provider::CASES, proxy::CASES, supervision::CASES, tls::CASES, token::CASES];

/// What no test here can bring about, and why; the words that libcurl or OpenSSL have for it are in
/// the unit tests of src/fetch.
const NOT_BROUGHT_ABOUT: &[(Cause, &str)] = &[
    (Cause::OpensslMissing, "needs a libcurl that is built with another TLS library"),
    (Cause::TransportOther, "is what has no cause of its own"),
];

#[test]
fn there_is_a_case_for_each_cause() {
    for cause in Cause::ALL {
        let has_case = CASES.iter().any(|cases| cases.contains(cause));
        let has_excuse = NOT_BROUGHT_ABOUT.iter().any(|(other, _)| other == cause);
        assert_ne!(has_case, has_excuse, "{cause}: either a case or a reason why there is none");
    }
}
