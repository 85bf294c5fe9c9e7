//! A wrong PIN is tried once, whatever is restarted: a real token locks itself.

use std::{fs, time::Duration};

use crate::support::{Device, Generation, SOON, Spy, token::write_private};

#[test]
fn a_wrong_pin_is_tried_once_across_restarts_and_boots() {
    let mut device = Device::new("pin", Generation::V05, Duration::from_secs(3600));
    let spy = Spy::on(&mut device);
    let pin_file = device.token.pin_file.clone();
    write_private(&pin_file, "0000000000\n");

    device.start();
    device.wait_for_log("PIN", SOON);
    assert_eq!(spy.logins(), 1);
    for round in 2..=4 {
        match round {
            2 => assert_eq!(device.stop(), Some(0)),
            3 => device.kill(),
            // A boot: what was on tmpfs is gone.
            _ => {
                device.stop();
                fs::remove_dir_all(&device.runtime_directory).unwrap();
                fs::create_dir(&device.runtime_directory).unwrap();
            }
        }
        let told = device.count_in_log("PIN");
        device.start();
        device.wait_for_log_times("start app", round, SOON);
        device.wait_for_log_times("PIN", told + 1, SOON);
        let rows = device.rows().len();
        device.wait_until("heartbeats all the same", SOON, |d| d.rows().len() > rows + 3);
        assert_eq!(spy.logins(), 1, "in round {round}:\n{}", device.log_tail());
    }
    // The mark of it must not help anybody to guess the PIN.
    for file in crate::support::secrets::files_below(&device.state_directory) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("0000000000"), "{} holds the PIN", file.display());
    }

    let pin = device.token.pin().to_owned();
    write_private(&pin_file, &pin);
    // On tmpfs a file is new at each boot: there a person removes the mark.
    let mark = device.state_directory.join("pin-refused");
    if fs::read_to_string(&mark).unwrap().contains("\"pin_file\":null") {
        fs::remove_file(&mark).unwrap();
    }
    // It is looked at every half minute, and at a start.
    device.wait_for_log("restart success litestream", 3 * SOON);
    assert!(spy.logins() >= 2);
    device.stop();
}
