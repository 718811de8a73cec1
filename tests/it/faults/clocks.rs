//! Clocks that differ: tokens that are too old or too new, as Entra ID and the vault see it.

use std::time::Duration;

use azure_emulator::{Emulator, Settings};
use tonic::Code;

use super::{AT_ONCE, expect_within};
use crate::support::class::Class;
use crate::support::{Node, files, workload};

const HOURS: Duration = Duration::from_secs(2 * 3600);

#[tokio::test]
async fn a_pods_token_at_the_wrong_time_points_to_the_clocks() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let words = ["[ENTRA_TOKEN_EXPIRED] ", "AADSTS700024", "clocks"];
    // Entra ID's clock is ahead of the node's, and the token has expired.
    let expired = workload::class(&node);
    node.azure.advance_clock(HOURS);
    let mount = node.mount(&expired);
    expect_within(AT_ONCE, mount, Code::Unauthenticated, &words).await;
    // It is behind, and the token is not valid yet.
    let early = workload::class(&node);
    node.azure.reset_clock();
    let mount = node.mount(&early);
    expect_within(AT_ONCE, mount, Code::Unauthenticated, &words).await;
    let now = workload::class(&node);
    node.mount(&now).await.unwrap();
}

#[tokio::test]
async fn a_vault_whose_clock_is_ahead_gets_a_fresh_token() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    node.mount(&class).await.unwrap();
    node.azure.advance_clock(HOURS);
    let response = node.mount(&class).await.unwrap();
    assert_eq!(files(&response), [("S", 0o644, "v")]);
    assert_eq!(node.azure.counters().imds().requests, 2);
}

#[tokio::test]
async fn tokens_that_have_expired_when_they_come_are_refused_and_not_asked_for_in_a_loop() {
    let settings = Settings {
        token_lifetime: Duration::ZERO,
        ..Settings::default()
    };
    let node = Node::start_beside(Emulator::start(settings).await.unwrap(), &[]).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    let words = ["[KV_TOKEN_REJECTED] ", "Fix: "];
    let mount = node.mount(&class);
    expect_within(AT_ONCE, mount, Code::Unauthenticated, &words).await;
    assert!(node.azure.counters().imds().requests <= 2);
}
