//! What is kept of what pods' authors write: nothing that is longer than it can be, nothing that has not been proved, and
//! of nobody more than their share.

use azure_emulator::{DEFAULT_TENANT, Effect, Permissions, Target};
use tonic::Code;

use crate::support::class::Class;
use crate::support::http::{free_port, get_once_served};
use crate::support::{Node, VAULT, expect_status, files};

const AUDIENCE: &str = "api://AzureADTokenExchange";
const NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";

/// A class that signs in by a client secret.
fn of_principal(client_id: &str, secret: &str) -> Class {
    let secret = format!(r#"{{"clientid":"{client_id}","clientsecret":"{secret}"}}"#);
    Class::of_secret("S")
        .without("userAssignedIdentityID")
        .secrets(&secret)
}

/// How many entries each of these caches has.
async fn entries<const N: usize>(port: u16, caches: [&str; N]) -> [u32; N] {
    let page = get_once_served(port, "/metrics").await;
    caches.map(|cache| {
        let series = format!("provider_azure_rs_cache_entries{{cache=\"{cache}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap().parse().unwrap()
    })
}

async fn scraped() -> (Node, u16) {
    let port = free_port();
    let node = Node::start_with(&[&format!("--prometheus-port={port}")]).await;
    node.vault.set_secret("S", "v");
    (node, port)
}

#[tokio::test]
async fn what_is_longer_than_it_can_be_is_refused_by_its_name() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let secret = Class::of_secret("S");
    let x = |length: usize| "x".repeat(length);
    let with = |name: &str, value: String| Class::of_secret("S").with(name, value);
    let workload = |length: usize| {
        let class = secret.clone().without("userAssignedIdentityID");
        class.with("clientID", "c").token(AUDIENCE, &x(length))
    };
    // Each at its maximum, and what says no to that; then with one more byte.
    for (longest, word, longer, message) in [
        (
            of_principal("c", &x(1024)),
            "[ENTRA_APP_NOT_FOUND] ",
            of_principal("c", &x(1025)),
            "[INVALID_PARAMETER] nodePublishSecretRef: clientsecret: expected at most 1024 bytes, found 1025. Fix: write the value",
        ),
        (
            of_principal(&x(128), "s"),
            "[ENTRA_APP_NOT_FOUND] ",
            of_principal(&x(129), "s"),
            "[INVALID_PARAMETER] nodePublishSecretRef: clientid: expected at most 128 bytes, found 129",
        ),
        (
            workload(16 * 1024),
            "[ENTRA_",
            workload(16 * 1024 + 1),
            "the entry for audience \"api://AzureADTokenExchange\": expected at most 16384 bytes, found 16385. Fix: take csi",
        ),
        (
            with("userAssignedIdentityID", x(128)),
            "[IDENTITY_NOT_ASSIGNED] ",
            with("userAssignedIdentityID", x(1025)),
            "[INVALID_PARAMETER] userAssignedIdentityID: expected at most 1024 bytes, found 1025",
        ),
        (
            of_principal("c", "s").with("tenantID", x(253)),
            "[ENTRA_",
            of_principal("c", "s").with("tenantID", x(254)),
            "[INVALID_PARAMETER] tenantID: expected at most 253 bytes, found 254",
        ),
        (
            Class::of_secret(&x(127)),
            "[KV_OBJECT_NOT_FOUND] ",
            Class::of_secret(&x(128)),
            "objectName: expected at most 127 bytes, found 128",
        ),
    ] {
        let status = node.mount(&longest).await.unwrap_err();
        assert!(status.message().starts_with(word), "{status:?}");
        let result = node.mount(&longer).await;
        assert!(!format!("{result:?}").contains(&x(100)), "{result:?}");
        expect_status(result, Code::InvalidArgument, &[message]);
    }
    for (name, max) in [
        ("csi.storage.k8s.io/pod.name", 253),
        ("csi.storage.k8s.io/pod.namespace", 63),
        ("csi.storage.k8s.io/pod.uid", 128),
        ("csi.storage.k8s.io/serviceAccount.name", 253),
        ("secretProviderClass", 253),
    ] {
        node.mount(&with(name, x(max))).await.unwrap();
        let result = node.mount(&with(name, x(max + 1))).await;
        let message = format!(
            "[INVALID_REQUEST] attributes: {name}: expected at most {max} bytes, found {}",
            max + 1
        );
        expect_status(result, Code::InvalidArgument, &[&message]);
    }
    // What nobody reads is nobody's business.
    let class = with("unknown", x(1 << 20)).token("api://other", &x(1 << 20));
    node.mount(&class.secrets(&format!(r#"{{"other":"{}"}}"#, x(1 << 20))))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_not_proved_is_not_kept() {
    let (node, port) = scraped().await;
    node.mount(&Class::of_secret("S")).await.unwrap();
    let caches = ["credentials", "vaults"];
    assert_eq!(entries(port, caches).await, [1, 1]);
    let before = node.provider.memory();
    let huge = "x".repeat(1 << 20);
    for n in 0..300 {
        let class = of_principal("c", &huge).with("tenantID", format!("tenant-{n}"));
        let words = ["nodePublishSecretRef: clientsecret: expected at most"];
        expect_status(node.mount(&class).await, Code::InvalidArgument, &words);
    }
    for n in 0..300 {
        let class = of_principal(&format!("nobody-{n}"), &huge[..1024]);
        let words = ["[ENTRA_APP_NOT_FOUND] "];
        expect_status(node.mount(&class).await, Code::Unauthenticated, &words);
    }
    // Tokens that nobody asked for.
    for n in 0..50 {
        let class = Class::of_secret("S").with("csi.storage.k8s.io/pod.uid", n.to_string());
        node.mount(&class.token(AUDIENCE, &huge)).await.unwrap();
    }
    assert_eq!(entries(port, caches).await, [1, 1]);
    let grown = node.provider.memory().saturating_sub(before);
    println!("grown by {grown} kB from {before} kB");
    assert!(grown < 32 * 1024, "{grown} kB");
    // What is right is kept from then on.
    let application = node.azure.entra().application(DEFAULT_TENANT, "right");
    let application = application.with_secret("right");
    node.vault
        .grant(&application.object_id(), Permissions::read());
    for _ in 0..3 {
        node.mount(&of_principal("right", "right")).await.unwrap();
    }
    assert_eq!(entries(port, caches).await, [2, 2]);
}

#[tokio::test]
async fn what_one_namespace_reads_pushes_nothing_out_of_anothers_memory() {
    let node = Node::start_with(&["--stale-if-error", "1h"]).await;
    node.vault.set_secret("S", "v");
    let victim = Class::of_secret("S");
    node.mount(&victim).await.unwrap();
    let flood = |mount: usize| {
        let class = Class::new().with(NAMESPACE, "attacker");
        (0..160).fold(class, |class, n| {
            let name = format!("F{mount}-{n}");
            node.vault.set_secret(&name, "x".repeat(20_000));
            class.object(&format!("objectName: {name}\nobjectType: secret"))
        })
    };
    for mount in 0..6 {
        node.mount(&flood(mount)).await.unwrap();
    }
    let effect = Effect::error(503);
    node.azure.faults().always(Target::vault(VAULT), effect);
    let response = node.mount(&victim).await.unwrap();
    assert_eq!(files(&response), [("S", 0o644, "v")]);
    // Who reads too much for all of it loses the first of it.
    let words = ["[KV_UNAVAILABLE] "];
    let result = node.mount(&flood(0)).await;
    expect_status(result, Code::FailedPrecondition, &words);
}
