//! The AWS SDK for Rust: as clients.py, whose arguments and lines it has.
//!
//!     edgerotate-rust-client ENDPOINT BUCKET KEY PAUSE

use std::{error::Error, time::Duration};

use aws_config::{BehaviorVersion, retry::RetryConfig};
use aws_sdk_s3::{Client, config::Builder, error::DisplayErrorContext, primitives::ByteStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, bucket, key, pause] = &words[..] else {
        return Err("usage: ENDPOINT BUCKET KEY PAUSE".into());
    };
    let pause = Duration::from_secs_f64(pause.parse()?);
    let config = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .load()
        .await;
    let config = Builder::from(&config).endpoint_url(endpoint).force_path_style(true).build();
    let client = Client::from_conf(config);
    loop {
        let body = ByteStream::from_static(b"a row");
        match client.put_object().bucket(bucket).key(key).body(body).send().await {
            Ok(_) => println!("ok"),
            Err(error) => {
                let line = format!("{}", DisplayErrorContext(&error));
                println!(
                    "failed: {}",
                    line.chars().take(300).collect::<String>().replace('\n', " ")
                );
            }
        }
        tokio::time::sleep(pause).await;
    }
}
