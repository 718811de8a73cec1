//! Services that do not answer, or not in time.

use std::time::{Duration, Instant};

use azure_emulator::{Effect, Target};
use tonic::Code;

use super::expect_within;
use crate::support::class::Class;
use crate::support::provider::PATIENCE;
use crate::support::{Node, VAULT, expect_status, workload};

/// More than the second that these mounts have, and much less than anything that hangs.
const SOON: Duration = Duration::from_secs(5);

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
    expect_status(result, Code::FailedPrecondition, &words);
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_hanging_imds_is_named() {
    let node = Node::start_with(&["--mount-timeout", "1s"]).await;
    node.azure.faults().always(Target::imds(), Effect::Hang);
    let result = node.mount(&Class::of_secret("S")).await;
    expect_status(
        result,
        Code::FailedPrecondition,
        &["[TIMEOUT] ", "waiting for a token from IMDS"],
    );
}

#[tokio::test]
async fn a_hanging_entra_is_named_and_holds_nobody_else() {
    let node = Node::start_with(&["--mount-timeout", "1s"]).await;
    node.vault.set_secret("S", "v");
    let class = workload::class(&node);
    node.azure.faults().always(Target::entra(), Effect::Hang);
    let words = ["[TIMEOUT] ", "waiting for a token from Entra ID", "Fix: "];
    let others = Class::of_secret("S");
    let ((), other) = tokio::join!(
        expect_within(SOON, node.mount(&class), Code::FailedPrecondition, &words),
        node.mount(&others)
    );
    other.unwrap();
    // The request is shared by all who wait, until it is given up: 15 seconds at most.
    node.azure.faults().clear();
    let recovered = async {
        while node.mount(&class).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, recovered).await.unwrap();
}

#[tokio::test]
async fn a_slow_body_is_waited_for_until_the_time_is_up() {
    let node = Node::start_with(&["--mount-timeout", "2s"]).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    let vault = || Target::vault(VAULT);
    let slow = Effect::slow_body(Duration::from_millis(300));
    node.azure.faults().next(1, vault(), slow);
    node.mount(&class).await.unwrap();
    let slow = Effect::slow_body(Duration::from_secs(60));
    node.azure.faults().always(vault(), slow);
    let words = [
        "[TIMEOUT] no answer within 2.0 s; waiting for Key Vault",
        "Fix: ",
    ];
    expect_within(SOON, node.mount(&class), Code::FailedPrecondition, &words).await;
    node.azure.faults().clear();
    node.mount(&class).await.unwrap();
}
