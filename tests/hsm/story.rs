//! What each token goes through, in the order of a device's life.

use crate::{
    bench::{Bench, Said},
    modules::{Hsm, Pin, WRONG_PIN},
    support::SOON,
    table,
};

/// So many times the daemon rotates.
const ROTATIONS: usize = 4;

/// Tells the story of one token, and puts its row into the table.
pub fn tell(hsm: Hsm) {
    let mut bench = Bench::new(hsm);
    fetches_and_checks(&bench);
    rotates(&mut bench);
    let wrong_pin = a_wrong_pin_costs_one_login(&mut bench);
    let away = its_backend_goes_and_comes(&mut bench);
    a_fetch_is_killed_while_it_signs(&mut bench);
    the_power_goes(&mut bench);
    table::put(&bench.hsm, &[wrong_pin, away]);
}

fn fetches_and_checks(bench: &Bench) {
    bench.assert_fetches("at first");
    let check = bench.check(&[]);
    assert!(check.has("ok key *, * bits; it signs"), "{}", check.text);
    assert!(check.has("ok key and certificate *"), "{}", check.text);
    let gate = bench.check(&["--gate", "--patience", "0"]);
    assert_eq!(gate.code, 0, "{}", gate.text);
    assert!(gate.has("this image is good for this device*"), "{}", gate.text);
}

fn rotates(bench: &mut Bench) {
    let device = &mut bench.device;
    device.use_endpoint();
    let before = device.cloud.fetches();
    device.start();
    device.wait_until("rotations", 4 * SOON, |d| d.cloud.fetches() > before + ROTATIONS);
    assert_eq!(device.count_in_log("fetch failed"), 0, "{}", device.log_tail());
    device.stop();
    let problems = device.problems();
    let of_token = |line: &&String| line.contains("oken") || line.contains("PKCS#11");
    assert!(!problems.iter().any(|line| of_token(&line)), "{problems:?}");
}

/// Returns what is seen of it.
fn a_wrong_pin_costs_one_login(bench: &mut Bench) -> String {
    if bench.hsm.pin == Pin::None {
        return "asks for none".to_owned();
    }
    let log = bench.use_front("");
    let logins = || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.lines().filter(|line| *line == "C_Login").count()
    };
    bench.write_pin(WRONG_PIN);
    let first = bench.fetch();
    assert_eq!((first.code, first.names()), (77, vec!["pin-incorrect"]), "{}", first.text);
    for _ in 0..2 {
        let again = bench.fetch();
        assert_eq!(again.names(), ["pin-refused-earlier"], "{}", again.text);
        bench.boot();
    }
    assert_eq!(logins(), 1, "a token locks after some");
    // On tmpfs a file is new at each boot, and there a person has to say so.
    bench.write_pin(crate::modules::PIN);
    let right = bench.check(&["--pin-changed"]);
    assert!(right.has("ok PIN *"), "{}", right.text);
    bench.assert_fetches("with the right PIN");
    bench.use_module(&[]);
    "one login, then none".to_owned()
}

/// Returns the cause that it is told by.
fn its_backend_goes_and_comes(bench: &mut Bench) -> String {
    bench.hsm.backend().stop();
    let said = bench.fetch();
    let names: Vec<String> = said.names().iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(names.len(), 1, "{}", said.text);
    eprintln!("{}", said.text.trim());
    let told = ["module-not-started", "token-absent", "token-not-initialized", "token-fault"];
    assert!(told.contains(&names[0].as_str()), "{}", said.text);
    // The gate waits for it.
    let gate = bench.check(&["--gate", "--patience", "0"]);
    assert_eq!(gate.code, 69, "{}", gate.text);

    bench.device.start();
    bench.device.wait_for_problem("next try in", SOON);
    // The gate has patience, and the daemon tries again.
    let waiting = bench.start_gate();
    bench.hsm.backend().start();
    let gate = Said::of(waiting);
    assert_eq!(gate.code, 0, "{}", gate.text);
    let before = bench.device.cloud.fetches();
    // Soon, where it may come by itself; and nothing of it has cost a login.
    bench.device.wait_until("credentials", 5 * SOON, |d| d.cloud.fetches() > before);
    bench.device.stop();
    names[0].clone()
}

fn a_fetch_is_killed_while_it_signs(bench: &mut Bench) {
    let log = bench.use_front("die-in-sign");
    for _ in 0..2 {
        let said = bench.fetch();
        assert_eq!(said.names(), ["fetch-crashed"], "{}", said.text);
        // A TPM keeps what a killed client had in it. On a device the kernel's resource manager
        // takes it out.
        bench.hsm.backend().settle();
    }
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("C_Sign") && !log.contains("signed"), "{log}");
    bench.use_module(&[]);
    bench.assert_fetches("after a fetch that was killed");
}

fn the_power_goes(bench: &mut Bench) {
    for _ in 0..2 {
        bench.hsm.backend().cut_power();
        bench.boot();
        bench.assert_fetches("after a power cut");
    }
}
