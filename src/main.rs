//! edgerotate, the program: see the library's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgerotate::commands::cli::main(std::env::args_os().skip(1))
}
