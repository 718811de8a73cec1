//! The way to a service: names, connections, proxies, certificates.

use std::fs;
use std::time::{Duration, Instant};

use azure_emulator::{Emulator, Settings, Validity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;

use super::{AT_ONCE, expect_within};
use crate::support::class::Class;
use crate::support::provider::Provider;
use crate::support::{Node, expect_status};

/// A port on loopback that refuses connections.
async fn refusing() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A port on loopback that says nothing to whoever wants to connect, as an address that no packet gets to:
/// its queue is full, and nobody takes connections from it.
async fn silent() -> (String, Vec<TcpStream>, tokio::net::TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    let patience = Duration::from_millis(500);
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        queue.push(stream.unwrap());
    }
    (format!("http://{address}"), queue, listener)
}

#[tokio::test]
async fn a_vault_that_does_not_exist_is_not_reached() {
    let node = Node::start().await;
    let class = Class::of_secret("S").with("keyvaultName", "no-such-vault");
    let words = [
        "Key Vault \"no-such-vault\"",
        "no-such-vault.vault.azure.net",
        "Fix: ",
    ];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_said_to_have_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stack.json");
    let json = serde_json::json!({
        "name": "AzureStackCloud", "activeDirectoryEndpoint": "https://login.microsoftonline.com/",
        "keyVaultDNSSuffix": "vault.invalid",
    });
    fs::write(&file, json.to_string()).unwrap();
    let node = Node::start().await;
    let flags = ["--cloud-env-dir", folder.path().to_str().unwrap()];
    let provider = Provider::start_by(&node.azure, &flags, |command, _| {
        command.env_remove("HTTPS_PROXY");
        // A machine may have no resolver at all.
        command.env("RES_OPTIONS", "timeout:1 attempts:1");
    })
    .await;
    let class = Class::of_secret("S")
        .with("cloudName", "AzureStackCloud")
        .with("cloudEnvFileName", file.to_str().unwrap());
    // KV_HOST_NOT_FOUND where DNS says so, KV_UNREACHABLE where there is nobody to ask.
    let words = ["[KV_", ".vault.invalid has no address", "DNS", "Fix: "];
    let limit = Duration::from_secs(20);
    let mount = provider.mount(class.request());
    expect_within(limit, mount, Code::FailedPrecondition, &words).await;
}

#[tokio::test]
async fn a_proxy_that_refuses_or_does_not_exist_is_named() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    for (proxy, words) in [
        (refusing().await, "Connection refused"),
        (
            "http://proxy.invalid:3128".to_owned(),
            "the proxy cannot be reached: failed to lookup address information",
        ),
    ] {
        let provider = Provider::start_by(&node.azure, &[], |command, _| {
            command.env("HTTPS_PROXY", &proxy);
            command.env("RES_OPTIONS", "timeout:1 attempts:1");
        })
        .await;
        let words = ["[KV_UNREACHABLE] ", words, "HTTPS_PROXY", "Fix: "];
        let limit = Duration::from_secs(20);
        let mount = provider.mount(Class::of_secret("S").request());
        expect_within(limit, mount, Code::FailedPrecondition, &words).await;
    }
}

#[tokio::test]
async fn a_way_on_which_packets_are_lost_is_given_up() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let (proxy, _queue, _listener) = silent().await;
    let provider = Provider::start_behind(&node.azure, &proxy, &[]).await;
    let words = [
        "[TIMEOUT] ",
        "took longer than 5 s to accept a TCP connection",
        "Fix: ",
    ];
    let limit = Duration::from_secs(20);
    let mount = provider.mount(Class::of_secret("S").request());
    expect_within(limit, mount, Code::FailedPrecondition, &words).await;
}

#[tokio::test]
async fn a_machine_without_imds_is_told_what_to_do() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let (silent, _queue, _listener) = silent().await;
    for imds in [refusing().await, silent] {
        let flags = ["--imds-endpoint", &imds];
        let provider = Provider::start(&node.azure, &flags).await;
        let words = [
            "[IMDS_UNREACHABLE] ",
            "hostNetwork: true",
            "workload identity",
        ];
        let limit = Duration::from_secs(20);
        let mount = provider.mount(Class::of_secret("S").request());
        expect_within(limit, mount, Code::FailedPrecondition, &words).await;
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_named() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let other = Emulator::start(Settings::default()).await.unwrap();
    let provider = Provider::start_trusting(&node.azure, other.ca_pem()).await;
    let result = provider.mount(Class::of_secret("S").request()).await;
    let words = [
        "[TLS_NOT_TRUSTED] ",
        "not signed by the trusted issuer",
        "--ca-file",
        "SSL_CERT_FILE",
    ];
    expect_status(result, Code::FailedPrecondition, &words);
}

#[tokio::test]
async fn a_certificate_at_the_wrong_time_is_named() {
    for (certificates, words) in [
        (Validity::Past, "it has expired"),
        (Validity::Future, "it is not valid yet"),
    ] {
        let settings = Settings {
            certificates,
            ..Settings::default()
        };
        let node = Node::start_beside(Emulator::start(settings).await.unwrap(), &[]).await;
        node.vault.set_secret("S", "v");
        let words = ["[TLS_NOT_TRUSTED] ", words, "the node's clock"];
        let class = Class::of_secret("S");
        let mount = node.mount(&class);
        expect_within(AT_ONCE, mount, Code::FailedPrecondition, &words).await;
    }
}

/// A proxy that answers each `CONNECT` with this, and says nothing more.
async fn proxy_that_says(answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            _ = stream.read(&mut request).await;
            _ = stream.write_all(answer.as_bytes()).await;
            open.push(stream);
        }
    });
    url
}

#[tokio::test]
async fn the_phase_that_took_too_long_is_named() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    for (answer, code, words) in [
        (
            "",
            Code::FailedPrecondition,
            [
                "[TIMEOUT] no answer within 1.0 s; waiting for Key Vault",
                "to be reached through the proxy",
            ],
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            Code::FailedPrecondition,
            [
                "[TIMEOUT] no answer within 1.0 s; waiting for Key Vault",
                "to complete the TLS handshake",
            ],
        ),
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            Code::FailedPrecondition,
            [
                "[KV_UNREACHABLE] ",
                "the proxy answered CONNECT with HTTP status 407",
            ],
        ),
    ] {
        let proxy = proxy_that_says(answer).await;
        let flags = ["--mount-timeout", "1s"];
        let provider = Provider::start_behind(&node.azure, &proxy, &flags).await;
        let start = Instant::now();
        let result = provider.mount(Class::of_secret("S").request()).await;
        expect_status(result, code, &words);
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_given_up_before_the_mount_is() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let proxy = proxy_that_says("HTTP/1.1 200 OK\r\n\r\n").await;
    let provider = Provider::start_behind(&node.azure, &proxy, &[]).await;
    let start = Instant::now();
    let result = provider.mount(Class::of_secret("S").request()).await;
    let words = [
        "[TIMEOUT] ",
        "took longer than 5 s to complete the TLS handshake",
    ];
    expect_status(result, Code::FailedPrecondition, &words);
    assert!(start.elapsed() < Duration::from_secs(9));
}
