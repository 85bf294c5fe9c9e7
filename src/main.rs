use std::{env, process::ExitCode};

fn main() -> ExitCode {
    if env::args().skip(1).eq(["fetch", "--child"]) {
        return edgerotate::fetch::child::child(wall);
    }
    ExitCode::from(78)
}

#[allow(clippy::disallowed_methods, reason = "until there is a src/clock.rs")]
fn wall() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
