//! `make image-shell`: the image that the tests boot, provisioned, with a cloud beside it, and a
//! shell inside. All of it is gone when the shell ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a machine that does not boot shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]
#![allow(clippy::print_stderr, reason = "it talks to a person")]
#![allow(dead_code, reason = "the tests use more of a machine")]

#[path = "../support/mod.rs"]
mod support;

mod fleet;
mod machine;
mod parts;

use std::{env, process::ExitCode, time::Duration};

use machine::Machine;
use support::Generation;

/// So that there is a rotation to watch.
const LIFETIME: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let version = env::var("LITESTREAM").unwrap_or_else(|_| Generation::V05.version().to_owned());
    let generation =
        Generation::of_version(&version).expect("LITESTREAM: one that tests/prepare fetches");
    let mut machine = match Machine::new("shell", generation, LIFETIME) {
        Ok(machine) => machine,
        Err(reason) => {
            eprintln!("no image: {reason}");
            return ExitCode::FAILURE;
        }
    };
    machine.set_in_image(fleet::TOKEN_BY_HAND);
    machine.boot();
    // A container has a boot id of its own, which the sandbox of a unit does not show: one for all.
    machine.shell("while umount /proc/sys/kernel/random/boot_id; do :; done");
    eprintln!("Booted. Credentials live for a minute. Have a look, and leave with exit:");
    eprintln!(
        "  edgerotate status; journalctl -fu edgerotate -u litestream; systemctl list-units \
         'edgerotate*'"
    );
    eprintln!("  runuser -u edgerotate -- edgerotate check\n");
    let mut shell = machine.inside();
    shell.env("TERM", env::var_os("TERM").unwrap_or_default()).args(["bash", "-l"]);
    shell.status().expect("a shell");
    ExitCode::SUCCESS
}
