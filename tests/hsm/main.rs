//! The product with real PKCS#11 modules: each that Debian, PyPI or crates.io carries, through
//! fetch, check, gate, four rotations, a wrong PIN, a backend that goes away, a fetch that is
//! killed while it signs, and a power cut.
//!
//! What is seen becomes the table in docs/hsm.md. With `UPDATE_DOCS=1` in the environment the tests
//! write it; without, they hold it to what they saw.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]
#![allow(
    clippy::print_stderr,
    reason = "what each module says is worth reading in the test's output"
)]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod modules;
mod newer;
mod storms;
mod story;
mod table;

use modules::{atecc608, kryoptic, opencryptoki, p11_kit, softhsm, tpm2};

#[test]
fn softhsm_2() {
    story::tell(softhsm::new("softhsm"));
}

#[test]
fn tpm2_pkcs11_with_a_p_256_key() {
    story::tell(tpm2::new("tpm2-ec", tpm2::P_256));
}

#[test]
fn tpm2_pkcs11_with_an_rsa_key() {
    story::tell(tpm2::new("tpm2-rsa", tpm2::RSA));
}

/// A TPM counts each power cut after a use of a key as a wrong PIN. At its limit it is locked, and
/// unlocks itself.
#[test]
fn a_tpm_that_lost_its_power_thirty_times_comes_back_by_itself() {
    storms::thirty_power_cuts();
}

#[test]
fn p11_kit_s_client_of_a_remote_softhsm() {
    story::tell(p11_kit::new("p11-kit"));
}

#[test]
fn opencryptoki_s_soft_token() {
    if let Some(hsm) = opencryptoki::new("ock") {
        story::tell(hsm);
    }
}

#[test]
fn cryptoauthlib_on_an_emulated_atecc608a() {
    story::tell(atecc608::new("atecc608"));
}

/// Its build takes minutes: `make test-all`.
#[test]
#[ignore = "built by tests/prepare hsm, which takes minutes"]
fn kryoptic_1() {
    story::tell(kryoptic::new("kryoptic"));
}
