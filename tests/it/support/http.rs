//! Plain HTTP to a port of the provider, as a probe or Prometheus asks.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::provider::PATIENCE;

/// A port that is free now; nobody else on this machine is likely to take it in a moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An HTTP/1.1 request; the whole answer with its head.
pub async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The same once somebody listens: the provider opens its ports after its socket.
pub async fn get_once_served(port: u16, path: &str) -> String {
    let asking = async {
        loop {
            match get(port, path).await {
                Ok(answer) => return answer,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("the port is served")
}
