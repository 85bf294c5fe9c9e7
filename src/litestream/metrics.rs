//! Litestream's metrics, asked for over HTTP on this device (`addr:` in litestream.yml).

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::settings::metrics_address::Address;

/// It answers at once, or not at all.
const WITHIN: Duration = Duration::from_secs(5);

/// Some 8 KB for one database.
const MOST: u64 = 1 << 20;

/// Asks once.
///
/// # Errors
/// As the system gives them; no answer in time, or another one than metrics.
pub async fn ask(address: &Address) -> io::Result<String> {
    let answer = timeout(WITHIN, answer(address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it gives no answer"))??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split_ascii_whitespace().nth(1).unwrap_or("nothing");
    if status != "200" {
        return Err(io::Error::other(format!("the answer is {status}, and not 200")));
    }
    Ok(body.to_owned())
}

async fn answer(address: &Address) -> io::Result<String> {
    let mut stream = TcpStream::connect(address.socket).await?;
    // 1.0: the answer is in one piece and ends with the connection.
    let request = format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", address.path, address.socket);
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
