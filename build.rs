//! Tells the linker what a release does without.
#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=link/no-unwinding.ld");
    // Where a panic ends the process nothing unwinds, so the tables for it are a tenth of the binary that nobody reads.
    // The other profiles keep theirs, for tests and debuggers.
    let aborts = std::env::var("CARGO_CFG_PANIC").is_ok_and(|panic| panic == "abort");
    if aborts {
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{here}/link/no-unwinding.ld");
    }
}
