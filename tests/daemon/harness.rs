//! The parts without edgerotate. Where these fail, look at the machine first.

use std::{fs, process::Command};

use crate::support::{
    Device, Generation, SOON, Scratch, Token, database, process, token::write_private,
};

#[test]
fn the_token_signs_and_keeps_its_key() {
    let scratch = Scratch::new("token");
    let token = Token::new(&scratch);
    assert!(token.certificate_request("thing-1").ends_with("-----END CERTIFICATE REQUEST-----\n"));
    assert!(token.describe_key().contains("never extractable"), "{}", token.describe_key());
    let (handed_out, answer) = token.try_to_read_key();
    assert!(!handed_out, "{answer}");
    assert!(answer.contains("CKR_ATTRIBUTE_SENSITIVE"), "{answer}");
}

#[test]
fn litestream_replicates_with_the_environment_file_alone() {
    for generation in Generation::BOTH {
        let mut device = Device::new("parts", generation, SOON);
        let connection = rusqlite::Connection::open(&device.database).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; CREATE TABLE HealthCheck (id INTEGER PRIMARY KEY)",
            )
            .unwrap();
        let (id, secret) = device.cloud.permanent_key();
        let environment = format!(
            "AWS_ACCESS_KEY_ID={id}\nAWS_SECRET_ACCESS_KEY={secret}\nEDGEROTATE_THING_NAME={}\n",
            crate::support::device::THING
        );
        write_private(&device.environment_file, &environment);

        for id in 1..=3 {
            let (program, port) = device.litestream.restart_command.split_once(' ').unwrap();
            process::run(Command::new(program).arg(port));
            let pid = fs::read_to_string(&device.litestream.pid_file).unwrap();
            assert_eq!(pid.trim(), device.litestream.pid().unwrap().to_string());
            connection.execute("INSERT INTO HealthCheck VALUES (?1)", [id]).unwrap();
            let original = database::rows(&device.database);
            device.litestream.restore_whole(&device.scratch.join("restored.db"), &original, SOON);
        }
        assert_eq!(device.litestream.restarts(), 2);
        device.litestream.stop();
    }
}
