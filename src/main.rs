use std::{env, process::ExitCode};

fn main() -> ExitCode {
    if env::args().skip(1).eq(["fetch", "--child"]) {
        return edgerotate::fetch::child::child();
    }
    ExitCode::from(78)
}
