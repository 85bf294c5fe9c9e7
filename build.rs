//! Tells the linker what a release does without.
#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=link/no-unwinding.ld");
    // A panic ends a release at once (Cargo.toml), so nothing unwinds in it, and the tables for
    // that are a tenth of the binary that nobody reads. The other profiles keep theirs, for tests
    // and debuggers.
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if is_release {
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{here}/link/no-unwinding.ld");
    }
}
