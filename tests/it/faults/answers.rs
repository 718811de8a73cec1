//! Services that answer, and not as they should.

use std::time::{Duration, Instant};

use azure_emulator::{Effect, Emulator, Settings, Target};
use futures::future::join_all;
use serde_json::json;
use tonic::Code;

use super::{AT_ONCE, expect_within};
use crate::support::class::Class;
use crate::support::{Node, VAULT, expect_status, workload};

#[tokio::test]
async fn an_ill_vault_is_named() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    for (effect, code, words) in [
        (
            Effect::error(500),
            Code::FailedPrecondition,
            "[KV_UNAVAILABLE] ",
        ),
        (
            Effect::error(503),
            Code::FailedPrecondition,
            "[KV_UNAVAILABLE] ",
        ),
        (
            Effect::BadGateway,
            Code::FailedPrecondition,
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
async fn an_ill_imds_is_named() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    for (effect, code, words) in [
        (
            Effect::error(500),
            Code::FailedPrecondition,
            "[IMDS_FAILED] ",
        ),
        (
            Effect::BadGateway,
            Code::FailedPrecondition,
            "[IMDS_FAILED] ",
        ),
        (
            Effect::throttle(),
            Code::FailedPrecondition,
            "[IMDS_THROTTLED] ",
        ),
        (
            Effect::Drop,
            Code::FailedPrecondition,
            "[IMDS_UNREACHABLE] ",
        ),
        (Effect::Empty, Code::FailedPrecondition, "no token"),
        (Effect::WrongJson, Code::FailedPrecondition, "no token"),
    ] {
        let shown = format!("{effect:?}");
        let fault = node.azure.faults().always(Target::imds(), effect);
        let start = Instant::now();
        expect_status(node.mount(&Class::of_secret("S")).await, code, &[words]);
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{shown} took {:?}",
            start.elapsed()
        );
        node.azure.faults().remove(fault);
    }
    node.mount(&Class::of_secret("S")).await.unwrap();
}

#[tokio::test]
async fn an_ill_entra_is_named() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = workload::class(&node);
    for (effect, code, words) in [
        (
            Effect::error(500),
            Code::FailedPrecondition,
            "[ENTRA_UNAVAILABLE] ",
        ),
        (
            Effect::error(503),
            Code::FailedPrecondition,
            "[ENTRA_UNAVAILABLE] ",
        ),
        (
            Effect::BadGateway,
            Code::FailedPrecondition,
            "[ENTRA_UNAVAILABLE] ",
        ),
        (
            Effect::throttle(),
            Code::FailedPrecondition,
            "[ENTRA_THROTTLED] ",
        ),
        (
            Effect::Drop,
            Code::FailedPrecondition,
            "[ENTRA_UNREACHABLE] ",
        ),
        (
            Effect::DropInBody,
            Code::FailedPrecondition,
            "[ENTRA_UNREACHABLE] ",
        ),
        (Effect::Truncate, Code::FailedPrecondition, "no token"),
        (Effect::Empty, Code::FailedPrecondition, "no token"),
        (Effect::WrongJson, Code::FailedPrecondition, "no token"),
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
            "[ENTRA_UNREACHABLE] HTTP status 302 instead of a token",
        ),
        (
            Effect::html(403, "<html>blocked by policy</html>"),
            Code::FailedPrecondition,
            "[ENTRA_UNREACHABLE] HTTP status 403 instead of a token",
        ),
    ] {
        let fault = node.azure.faults().always(Target::entra(), effect);
        // Each failure makes the next request of this identity wait a little longer.
        let limit = Duration::from_secs(20);
        expect_within(limit, node.mount(&class), code, &[words, "Fix: "]).await;
        node.azure.faults().remove(fault);
    }
    node.mount(&class).await.unwrap();
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
        Code::FailedPrecondition,
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
    expect_status(result, Code::FailedPrecondition, &["[KV_THROTTLED] "]);
    assert!(node.azure.counters().vault(VAULT).all_gets() - before <= 4);
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

#[tokio::test]
async fn a_redirect_is_not_followed_and_gets_no_token() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    node.azure.vault("other").set_secret("S", "another's");
    let location = "https://other.vault.azure.net/secrets/S/?api-version=7.4".into();
    let redirect = Effect::Redirect { location };
    node.azure.faults().always(Target::vault(VAULT), redirect);
    let words = ["[KV_UNEXPECTED_ANSWER] ", "HTTP status 302", "Fix: "];
    let class = Class::of_secret("S");
    let mount = node.mount(&class);
    expect_within(AT_ONCE, mount, Code::FailedPrecondition, &words).await;
    assert_eq!(node.azure.counters().vault("other").requests, 0);
}

/// An answer with so many headers of so many bytes.
fn with_headers(count: usize, bytes: usize) -> Effect {
    let headers = (0..count).map(|n| (format!("x-header-{n}"), "x".repeat(bytes)));
    Effect::Answer {
        status: 200,
        body: "{}".to_owned(),
        content_type: "application/json".to_owned(),
        headers: headers.collect(),
    }
}

#[tokio::test]
async fn an_answer_with_too_many_headers_fails_only_who_asked_for_it() {
    for http2 in [true, false] {
        let settings = Settings {
            http2,
            latency: Duration::from_millis(5),
            ..Settings::default()
        };
        let node = Node::start_beside(Emulator::start(settings).await.unwrap(), &[]).await;
        let class = (0..100).fold(Class::new(), |class, n| {
            node.vault.set_secret(&format!("S{n}"), "v");
            class.object(&format!("objectName: S{n}\nobjectType: secret"))
        });
        let big = Class::of_secret("big").with("csi.storage.k8s.io/pod.namespace", "evil");
        let asked = || {
            let counts = node.azure.counters().vault(VAULT);
            counts.gets.get("secrets/big").copied().unwrap_or_default()
        };
        for (count, bytes) in [(1, 1_000_000), (1, 100_000), (80, 10_000), (80, 900)] {
            let target = Target::vault(VAULT).object("secrets/big");
            let effect = with_headers(count, bytes);
            let fault = node.azure.faults().always(target, effect);
            let before = asked();
            let words = [
                "[KV_UNEXPECTED_ANSWER] ",
                "more than 65536 bytes of headers",
            ];
            let bad = node.mount(&big);
            let good = join_all((0..3).map(|_| node.mount(&class)));
            let (bad, good) = tokio::join!(bad, good);
            for response in good {
                assert_eq!(response.unwrap().files.len(), 100);
            }
            expect_status(bad, Code::FailedPrecondition, &words);
            // Once more, alone.
            let asked = asked() - before;
            assert!(asked <= 2, "{asked}");
            node.azure.faults().remove(fault);
        }
    }
}

#[tokio::test]
async fn a_refusal_without_an_end_costs_no_memory() {
    let node = Node::start().await;
    let class = (0..200).fold(Class::new(), |class, n| {
        class.object(&format!("objectName: S{n}\nobjectType: secret"))
    });
    node.mount(&class).await.unwrap_err();
    let before = node.provider.peak_memory();
    let endless = "1".repeat(490_000);
    let text = format!("Caller: appid={endless};oid={endless}");
    let body = json!({ "error": { "code": "Forbidden", "message": text,
                                  "innererror": { "code": "ForbiddenByRbac" } } });
    let target = Target::vault(VAULT);
    node.azure.faults().always(target, Effect::json(403, &body));
    let message = node.mount(&class).await.unwrap_err();
    assert!(message.message().len() < 4096);
    let grown = node.provider.peak_memory() - before;
    println!("grown by {grown} kB");
    assert!(grown < 200_000, "{grown} kB");
}
