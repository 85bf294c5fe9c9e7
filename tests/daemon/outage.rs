//! The provider is away for longer than credentials live, and comes back.

use std::time::Duration;

use serde_json::json;

use crate::support::{Device, Generation, SOON, database::rows};

#[test]
fn an_outage_through_an_expiry_heals_by_itself() {
    let mut device = Device::new("outage", Generation::V05, Duration::from_secs(6));
    device.start();
    device.wait_for_log("restart success litestream", SOON);

    device.cloud.provider_fault(&json!({"refuse_connections": true}));
    // A fetch may just have been under way.
    device.wait_for_problem("update credential failed", SOON);
    let kept = device.variables();
    let failed = device.cloud.issued();
    let expires = failed.last().unwrap().expiration;
    device.wait_until("the expiry", SOON, |_| chrono::Utc::now() > expires);
    device.wait_until("heartbeats through the outage", SOON, {
        let before = device.rows().len();
        move |device| device.rows().len() > before + 5
    });
    assert_eq!(device.variables(), kept, "credentials are kept until there are better ones");
    assert_eq!(device.cloud.issued().len(), failed.len());

    device.cloud.heal();
    // The backoff's cap is a minute.
    device.wait_until("new credentials", Duration::from_secs(120), |device| {
        device.access_key_id().as_ref() != kept.get("AWS_ACCESS_KEY_ID")
    });
    device.wait_until("uploads with them", SOON, |device| {
        let newest = device.access_key_id();
        device.cloud.uploads().iter().any(|upload| upload.access_key_id == newest)
    });
    device.cloud.set_lifetime(Duration::from_secs(3600));
    device.wait_until("credentials to stop with", 2 * SOON, |device| {
        let uploads = device.cloud.uploads();
        device.cloud.issued().last().is_some_and(|issued| {
            issued.expiration > chrono::Utc::now() + Duration::from_secs(600)
                && uploads.iter().any(|u| u.access_key_id.as_ref() == Some(&issued.access_key_id))
        })
    });
    device.stop();
    let original = rows(&device.database);
    device.litestream.restore_whole(&device.scratch.join("restored.db"), &original, SOON);
}

#[test]
fn a_provider_that_is_busy_is_asked_again_and_the_reason_is_told() {
    let mut device = Device::new("busy", Generation::V05, Duration::from_secs(600));
    device.cloud.provider_fault(&json!({"status": 503, "message": "Slow down", "count": 2}));
    device.start();
    device.wait_for_problem("HTTP 503, Slow down", SOON);
    device.wait_for_log("restart success litestream", 2 * SOON);
    assert_eq!(device.cloud.fetches(), 1);
    assert_eq!(device.stop(), Some(0));
}

/// There is no escaping in the file, so nothing may come that would need it.
#[test]
fn a_value_outside_the_alphabet_never_reaches_the_environment_file() {
    let mut device = Device::new("alphabet", Generation::V05, Duration::from_secs(3600));
    for field in ["accessKeyId", "secretAccessKey", "sessionToken"] {
        for value in ["A B", "x\nAWS_REGION=elsewhere", "$(id)", "'q'", "\"", "\\", "é", ""] {
            device
                .cloud
                .provider_fault(&json!({"replace_field": {"field": field, "value": value}}));
            let told = device.problems().len();
            device.start();
            // A daemon that ended while it guarded is told of as well.
            device.wait_until(&format!("{value:?} to be refused as {field}"), SOON, |device| {
                device.problems().iter().skip(told).any(|line| line.contains(field))
            });
            device.stop();
            assert!(!device.environment_file.exists(), "{value:?} as {field} was written");
        }
    }
    device.cloud.heal();
    device.start();
    device.wait_for_log("restart success litestream", SOON);
    device.stop();
}
