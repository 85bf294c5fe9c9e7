//! What happens to a whole fleet at once.

use crate::{
    bench::Bench,
    modules::tpm2::{self, Limits},
    support::SOON,
};

/// With the right PIN all the time.
pub fn thirty_power_cuts() {
    // A real TPM gives more tries. No machine is so busy that two of these cuts are minutes apart.
    let limits = Limits { tries: 3, seconds: 600 };
    let mut bench = Bench::new(tpm2::with_limits("tpm2-storm", tpm2::P_256, limits));
    bench.assert_fetches("at first");
    let mut locked = 0;
    for cut in 1..=30 {
        bench.hsm.backend().cut_power();
        bench.boot();
        let said = bench.fetch();
        match said.names().as_slice() {
            [] => assert_eq!(said.code, 0, "{}", said.text),
            ["token-locked-out"] => locked += 1,
            _ => panic!("after cut {cut}: {}", said.text),
        }
    }
    assert!(locked > 0, "the TPM was never locked");
    // The weather is better, and nobody comes.
    bench.hsm.backend().forgive_soon();
    let before = bench.device.cloud.fetches();
    bench.device.use_endpoint();
    bench.device.start();
    bench.device.wait_until("credentials", 10 * SOON, |d| d.cloud.fetches() > before);
    bench.device.stop();
    assert!(!bench.device.state_directory.join("pin-refused").exists());
}
