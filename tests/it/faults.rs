//! What a caller gets when Azure is ill: a name for it, in bounded time, and afterwards a mount that works.

use std::time::{Duration, Instant};

use azure_emulator::{Effect, Emulator, Settings, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::Provider;
use crate::support::{Node, VAULT, expect_status};

/// The longest that a failure may take which does not wait for a time limit.
const AT_ONCE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn an_ill_vault_is_named() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    for (effect, code, words) in [
        (Effect::error(500), Code::Aborted, "[KV_UNAVAILABLE] "),
        (Effect::error(503), Code::Aborted, "[KV_UNAVAILABLE] "),
        (
            Effect::BadGateway,
            Code::Aborted,
            "an HTML page, so a proxy or firewall may have answered",
        ),
        (Effect::Drop, Code::FailedPrecondition, "[KV_UNREACHABLE] "),
        (
            Effect::DropInBody,
            Code::FailedPrecondition,
            "[KV_UNREACHABLE] ",
        ),
        (Effect::Truncate, Code::FailedPrecondition, "[KV_UN"),
        (
            Effect::Empty,
            Code::FailedPrecondition,
            "[KV_UNEXPECTED_ANSWER] ",
        ),
        (
            Effect::WrongJson,
            Code::FailedPrecondition,
            "[KV_UNEXPECTED_ANSWER] ",
        ),
        (
            Effect::Oversize { bytes: 3_000_000 },
            Code::FailedPrecondition,
            "more than 1048576 bytes",
        ),
        (
            Effect::Redirect {
                location: "https://evil.example/".into(),
            },
            Code::FailedPrecondition,
            "HTTP status 30",
        ),
    ] {
        let shown = format!("{effect:?}");
        let fault = node.azure.faults().always(Target::vault(VAULT), effect);
        let start = Instant::now();
        expect_status(node.mount(&class).await, code, &[words, "Fix: "]);
        assert!(
            start.elapsed() < AT_ONCE,
            "{shown} took {:?}",
            start.elapsed()
        );
        node.azure.faults().remove(fault);
        node.mount(&class).await.unwrap();
    }
}

#[tokio::test]
async fn a_short_illness_is_not_noticed() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    for effect in [
        Effect::error(503),
        Effect::Drop,
        Effect::BadGateway,
        Effect::throttle_for(1),
    ] {
        node.azure.faults().next(2, Target::vault(VAULT), effect);
        node.mount(&Class::of_secret("S")).await.unwrap();
    }
    node.azure
        .faults()
        .next(2, Target::imds(), Effect::error(500));
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    node.azure
        .faults()
        .next(2, Target::imds(), Effect::error(500));
    node.mount(&Class::of_secret("S")).await.unwrap();
}

#[tokio::test]
async fn throttling_is_answered_without_making_it_worse() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    node.mount(&Class::of_secret("S")).await.unwrap();
    let before = node.azure.counters().vault(VAULT).all_gets();
    // The vault asks for more time than a mount has: it is told at once.
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::throttle_for(3600));
    let start = Instant::now();
    let result = node.mount(&Class::of_secret("S")).await;
    expect_status(
        result,
        Code::ResourceExhausted,
        &[
            "[KV_THROTTLED] ",
            "4,000 requests in 10 s",
            "the next request may go in 1",
        ],
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    node.azure.faults().clear();
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::throttle());
    let result = node.mount(&Class::of_secret("S")).await;
    expect_status(result, Code::ResourceExhausted, &["[KV_THROTTLED] "]);
    assert!(node.azure.counters().vault(VAULT).all_gets() - before <= 4);
}

#[tokio::test]
async fn a_hanging_vault_is_given_up_by_the_callers_deadline() {
    let node = Node::start_with(&["--mount-timeout", "1s"]).await;
    node.vault.set_secret("S", "v");
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::Hang);
    let start = Instant::now();
    let result = node.mount(&Class::of_secret("S")).await;
    let words =
        ["[TIMEOUT] no answer within 1.0 s; waiting for Key Vault \"ai-chat-kv-1763873634\""];
    expect_status(result, Code::DeadlineExceeded, &words);
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_hanging_imds_is_named() {
    let node = Node::start_with(&["--mount-timeout", "1s"]).await;
    node.azure.faults().always(Target::imds(), Effect::Hang);
    let result = node.mount(&Class::of_secret("S")).await;
    expect_status(
        result,
        Code::DeadlineExceeded,
        &["[TIMEOUT] ", "waiting for a token from IMDS"],
    );
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
async fn an_ill_imds_is_named() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    for (effect, code, words) in [
        (Effect::error(500), Code::Aborted, "[IMDS_FAILED] "),
        (Effect::BadGateway, Code::Aborted, "[IMDS_FAILED] "),
        (
            Effect::throttle(),
            Code::ResourceExhausted,
            "[IMDS_THROTTLED] ",
        ),
        (
            Effect::Drop,
            Code::FailedPrecondition,
            "[IMDS_UNREACHABLE] ",
        ),
        (Effect::Empty, Code::Aborted, "no token"),
        (Effect::WrongJson, Code::Aborted, "no token"),
    ] {
        let shown = format!("{effect:?}");
        let fault = node.azure.faults().always(Target::imds(), effect);
        let start = Instant::now();
        expect_status(node.mount(&Class::of_secret("S")).await, code, &[words]);
        assert!(
            start.elapsed() < Duration::from_secs(12),
            "{shown} took {:?}",
            start.elapsed()
        );
        node.azure.faults().remove(fault);
    }
    node.mount(&Class::of_secret("S")).await.unwrap();
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
async fn a_401_that_is_not_the_vaults_does_no_lasting_harm() {
    for challenge in [
        "Bearer foo=1",
        "Basic realm=\"proxy\"",
        "Bearer resource=\"https://evil.example\"",
    ] {
        let effect = Effect::Answer {
            status: 401,
            body: String::new(),
            content_type: "application/json".to_owned(),
            headers: [("www-authenticate".to_owned(), challenge.to_owned())].into(),
        };
        let node = Node::start().await;
        node.vault.set_secret("S", "v");
        node.azure
            .faults()
            .next(1, Target::vault(VAULT).unauthenticated(), effect);
        let result = node.mount(&Class::of_secret("S")).await;
        let words = [
            "[KV_UNEXPECTED_ANSWER] ",
            "answered 401 without the challenge that Key Vault gives",
        ];
        expect_status(result, Code::FailedPrecondition, &words);
        node.mount(&Class::of_secret("S")).await.unwrap();
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
            Code::DeadlineExceeded,
            [
                "[TIMEOUT] no answer within 1.0 s; waiting for Key Vault",
                "to be reached through the proxy",
            ],
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            Code::DeadlineExceeded,
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
    expect_status(result, Code::DeadlineExceeded, &words);
    assert!(start.elapsed() < Duration::from_secs(12));
}
