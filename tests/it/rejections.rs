//! A token that one vault rejects: what that costs others, and what it earns there.

use azure_emulator::{Effect, Permissions, RecordedAnswer, Target};
use futures::future::join_all;
use tonic::Code;

use crate::support::class::Class;
use crate::support::{Node, OBJECT_ID, VAULT, expect_status, files};

const REJECTED: [&str; 1] = ["[KV_TOKEN_REJECTED] "];

/// A class of another namespace, for a vault that takes no token.
fn hostile(node: &Node, vault: &str) -> Class {
    node.azure.vault(vault);
    let target = Target::vault(vault);
    node.azure.faults().always(target, Effect::error(401));
    Class::of_secret("S")
        .with("csi.storage.k8s.io/pod.namespace", "evil")
        .with("keyvaultName", vault)
}

#[tokio::test]
async fn a_vault_that_rejects_a_token_takes_it_from_no_other_vault() {
    for imds in [None, Some(Effect::Drop), Some(Effect::error(400))] {
        let node = Node::start().await;
        node.vault.set_secret("S", "v");
        let class = Class::of_secret("S");
        let evil: Vec<_> = (0..5)
            .map(|n| hostile(&node, &format!("evil-kv-{n}")))
            .collect();
        node.mount(&class).await.unwrap();
        if let Some(effect) = imds.clone() {
            node.azure.faults().always(Target::imds(), effect);
        }
        for _ in 0..4 {
            for result in join_all(evil.iter().map(|class| node.mount(class))).await {
                expect_status(result, Code::Unauthenticated, &REJECTED);
            }
            let response = node.mount(&class).await.unwrap();
            assert_eq!(files(&response), [("S", 0o644, "v")]);
        }
        // One beside the one that serves for each vault that rejects it, tried three times where that fails.
        let requests = node.azure.counters().imds().requests;
        let tries = if imds == Some(Effect::Drop) { 3 } else { 1 };
        assert!(
            (2..=1 + 5 * tries).contains(&requests),
            "{imds:?}: {requests}"
        );
        assert_eq!(node.azure.counters().vault(VAULT).unauthorized, 0);
    }
}

#[tokio::test]
async fn a_token_that_a_vault_has_rejected_is_not_sent_there_again() {
    let node = Node::start().await;
    let other = node.azure.vault("other-kv");
    other.grant(OBJECT_ID, Permissions::read());
    for vault in [&node.vault, &other] {
        vault.set_secret("S", "v");
    }
    let class = Class::of_secret("S");
    let at_other = class.clone().with("keyvaultName", "other-kv");
    node.mount(&class).await.unwrap();
    node.mount(&at_other).await.unwrap();
    node.azure.entra().revoke_tokens();
    let unauthorized = || {
        let counters = node.azure.counters();
        (
            counters.vault(VAULT).unauthorized,
            counters.vault("other-kv").unauthorized,
        )
    };
    for _ in 0..5 {
        node.mount(&class).await.unwrap();
    }
    assert_eq!(unauthorized(), (1, 0));
    for _ in 0..5 {
        node.mount(&at_other).await.unwrap();
    }
    assert_eq!(unauthorized(), (1, 1));
    // Keys have a client of the SDK to themselves.
    node.vault.set_secret("T", "v");
    let key = node.mount(&Class::of("key", "missing")).await;
    expect_status(key, Code::NotFound, &["[KV_OBJECT_NOT_FOUND] "]);
    assert_eq!(unauthorized(), (1, 1));
    assert_eq!(node.azure.counters().imds().requests, 2);
}

#[tokio::test]
async fn who_is_rejected_by_a_vault_gets_nothing_that_is_kept_of_it() {
    for flags in [&["--stale-if-error", "1h"], &["--cache-ttl", "90s"]] {
        let node = Node::start_with(flags).await;
        node.vault.set_secret("S", "v");
        node.vault.set_secret("T", "v");
        let (class, other) = (Class::of_secret("S"), Class::of_secret("T"));
        node.mount(&class).await.unwrap();
        let faults = node.azure.faults();
        let rejects = faults.always(Target::vault(VAULT), Effect::error(401));
        expect_status(node.mount(&other).await, Code::Unauthenticated, &REJECTED);
        let is_down = faults.always(Target::vault(VAULT), Effect::error(503));
        faults.remove(rejects);
        let words = ["[KV_UNAVAILABLE] "];
        let result = node.mount(&class).await;
        expect_status(result, Code::FailedPrecondition, &words);
        // What the vault takes again proves it again.
        faults.remove(is_down);
        node.mount(&other).await.unwrap();
        if flags[0] == "--stale-if-error" {
            faults.always(Target::vault(VAULT), Effect::error(503));
        }
        node.mount(&class).await.unwrap();
    }
}

#[tokio::test]
async fn a_vault_that_takes_the_token_again_is_served_at_once() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    for _ in 0..3 {
        let target = Target::vault(VAULT);
        let fault = node.azure.faults().always(target, Effect::error(401));
        expect_status(node.mount(&class).await, Code::Unauthenticated, &REJECTED);
        node.azure.faults().remove(fault);
        node.mount(&class).await.unwrap();
    }
    assert_eq!(node.azure.counters().imds().requests, 2);
}

#[tokio::test]
async fn a_rejection_with_several_challenges_has_key_vaults_among_them() {
    const BEARER: &str = "Bearer authorization=\"https://login.windows.net/t\", resource=\"https://vault.azure.net\"";
    const SLASH: &str = "Bearer authorization=\"https://login.windows.net/t\", resource=\"https://vault.azure.net/\"";
    for challenges in [
        &[BEARER][..],
        &[SLASH],
        &[BEARER, "Negotiate"],
        &["Negotiate", BEARER],
    ] {
        let node = Node::start().await;
        node.vault.set_secret("S", "v");
        let class = Class::of_secret("S");
        node.mount(&class).await.unwrap();
        let header = |challenge: &&str| ("WWW-Authenticate".to_owned(), (*challenge).to_owned());
        let rejection = Effect::recorded(RecordedAnswer {
            status: 401,
            headers: challenges.iter().map(header).collect(),
            body: String::new(),
        });
        node.azure.faults().next(1, Target::vault(VAULT), rejection);
        node.mount(&class).await.unwrap();
        assert_eq!(node.azure.counters().imds().requests, 2, "{challenges:?}");
    }
}
