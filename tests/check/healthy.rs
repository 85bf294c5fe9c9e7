//! A device on which all is well.

use crate::{harness::Bench, support::Generation};

#[test]
fn all_is_well() {
    for generation in Generation::BOTH {
        let mut bench = Bench::running("healthy", generation);
        let answer = bench.check(&[]);
        eprintln!("{}{}", answer.text, answer.errors);
        assert_eq!(answer.code, 0, "{answer:?}");
        bench.stop();
    }
}
