//! The AWS clients that devices' programs are made with, none of them ours: each asks the endpoint, and each that can
//! runs `edgerotate credential-process`. Before the first credentials, over rotations, with the daemon away and back.
//!
//! What was seen is written to `target/clients/programs.md`; docs/programs.md has that table.
//! `CLIENTS_LIFETIME` is how many seconds the credentials live: with 900 it is seen when each client asks again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on shall say so and stop"
)]
#![allow(clippy::disallowed_methods, reason = "tests watch the real clock; the product does not")]
#![allow(clippy::print_stderr, reason = "what was measured is worth a line")]

#[path = "../support/mod.rs"]
mod support;

mod client;
mod course;
mod table;

use client::{Client, Kind};

#[test]
fn the_quick_clients_go_on_over_rotations_and_the_daemons_absence() {
    course::run(&Client::ALL.iter().filter(|client| client.is_quick()).collect::<Vec<_>>());
}

#[test]
#[ignore = "builds the AWS SDK for Rust, and starts both Litestreams: `make test-all`"]
fn all_clients_go_on_over_rotations_and_the_daemons_absence() {
    course::run(&Client::ALL.iter().collect::<Vec<_>>());
}

#[test]
fn every_client_has_its_version_and_the_docs_table_has_both() {
    let docs = std::fs::read_to_string(support::root().join("docs/programs.md")).unwrap();
    for client in Client::ALL {
        let row = format!("| {} | {} |", client.title, client.version());
        assert!(docs.contains(&row), "docs/programs.md has no row {row}");
    }
    for (name, ..) in client::versions() {
        let is_client = Client::ALL.iter().any(|client| client.name == name);
        assert!(is_client || name == "node", "{name} in tests/clients/versions is no client");
    }
    assert!(Client::ALL.iter().any(|client| matches!(client.kind, Kind::Litestream(_))));
}
