//! Values that are kept in memory, where the operator asks for it.

use std::time::Duration;

use azure_emulator::{DEFAULT_TENANT, Effect, NewSecret, Permissions, Target};
use futures::future::join_all;
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::command;
use crate::support::{Node, OBJECT_ID, VAULT, expect_status, files};

const AUDIENCE: &str = "api://AzureADTokenExchange";
const HOUR: Duration = Duration::from_secs(3600);
/// Longer than any test here takes, and much shorter.
const LONG: [&str; 2] = ["--cache-ttl", "110s"];
const SHORT: [&str; 2] = ["--cache-ttl", "300ms"];

fn gets(node: &Node) -> u64 {
    node.azure.counters().vault(VAULT).all_gets()
}

async fn value(node: &Node, class: &Class) -> String {
    let response = node.mount(class).await.unwrap();
    files(&response)[0].2.to_owned()
}

/// The class for a pod of this service account, with a token of its own.
fn of_account(node: &Node, class: &Class, account: &str, lifetime: Duration) -> Class {
    let token = node
        .azure
        .service_account_token("chat", account, AUDIENCE, lifetime);
    class
        .clone()
        .without("userAssignedIdentityID")
        .with("clientID", "app")
        .token(AUDIENCE, &token)
}

fn register_app(node: &Node) {
    let app = node.azure.entra().application(DEFAULT_TENANT, "app");
    let app = app.with_service_account("chat", "good");
    node.vault.grant(&app.object_id(), Permissions::read());
}

#[tokio::test]
async fn without_the_flag_every_mount_asks() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    for _ in 0..3 {
        node.mount(&Class::of_secret("S")).await.unwrap();
    }
    assert_eq!(gets(&node), 3);
}

#[tokio::test]
async fn pods_of_one_identity_share_a_value_and_the_request_for_it() {
    let node = Node::start_with(&LONG).await;
    node.vault.set_secret("S", "v");
    node.vault.set_secret("T", "w");
    let class = Class::of_secret("S");
    for result in join_all((0..20).map(|_| node.mount(&class))).await {
        assert_eq!(files(&result.unwrap()), [("S", 0o644, "v")]);
    }
    node.vault.set_secret("S", "new");
    assert_eq!(value(&node, &class).await, "v");
    assert_eq!(gets(&node), 1);
    // Another object, and the same as another version, are others.
    assert_eq!(value(&node, &Class::of_secret("T")).await, "w");
    assert_eq!(gets(&node), 2);
}

#[tokio::test]
async fn a_value_is_asked_for_again_when_its_time_is_over() {
    let node = Node::start_with(&SHORT).await;
    let first = node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    assert_eq!(value(&node, &class).await, "v");
    node.vault.set_secret("S", "new");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(value(&node, &class).await, "new");
    // What is taken away is gone by then, too.
    node.vault.revoke(OBJECT_ID);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let result = node.mount(&class).await;
    expect_status(result, Code::PermissionDenied, &["[KV_ACCESS_DENIED] "]);
    assert!(!first.is_empty());
}

#[tokio::test]
async fn an_exact_version_may_stay_longer() {
    let flags = [&SHORT[..], &["--cache-version-ttl", "1h"]].concat();
    let node = Node::start_with(&flags).await;
    let version = node.vault.set_secret("S", "v");
    let exact = Class::new().object(&format!(
        "objectName: S\nobjectType: secret\nobjectVersion: {version}"
    ));
    assert_eq!(value(&node, &exact).await, "v");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(value(&node, &exact).await, "v");
    assert_eq!(gets(&node), 1);
}

#[tokio::test]
async fn a_pod_with_another_token_gets_no_value_of_others() {
    let node = Node::start_with(&LONG).await;
    node.vault.set_secret("S", "v");
    register_app(&node);
    let class = Class::of_secret("S");
    let good = of_account(&node, &class, "good", HOUR);
    assert_eq!(value(&node, &good).await, "v");
    assert_eq!(value(&node, &good).await, "v");
    assert_eq!(
        (gets(&node), node.azure.counters().entra().requests),
        (1, 1)
    );
    let evil = of_account(&node, &class, "evil", HOUR);
    let words = ["[ENTRA_NO_FEDERATED_CREDENTIAL] "];
    expect_status(node.mount(&evil).await, Code::Unauthenticated, &words);
    // The node's identity is another one, and so is the same pod with its next token.
    assert_eq!(value(&node, &class).await, "v");
    assert_eq!(
        value(&node, &of_account(&node, &class, "good", 2 * HOUR)).await,
        "v"
    );
    assert_eq!(gets(&node), 3);
}

#[tokio::test]
async fn a_token_that_has_expired_earns_nothing_that_is_kept() {
    let flags = ["--cache-ttl", "110s", "--cache-version-ttl", "1h"];
    let node = Node::start_with(&flags).await;
    node.vault.set_secret("S", "v");
    register_app(&node);
    let brief = of_account(
        &node,
        &Class::of_secret("S"),
        "good",
        Duration::from_secs(2),
    );
    assert_eq!(value(&node, &brief).await, "v");
    assert_eq!(value(&node, &brief).await, "v");
    assert_eq!(
        (gets(&node), node.azure.counters().entra().requests),
        (1, 1)
    );
    tokio::time::sleep(Duration::from_millis(3100)).await;
    // Entra ID is asked, and has the last word: its clock may differ by minutes.
    node.azure.advance_clock(HOUR);
    let result = node.mount(&brief).await;
    expect_status(result, Code::Unauthenticated, &["[ENTRA_TOKEN_EXPIRED] "]);
    assert_eq!(
        (gets(&node), node.azure.counters().entra().requests),
        (1, 2)
    );
}

#[tokio::test]
async fn failures_are_not_kept() {
    let node = Node::start_with(&LONG).await;
    let class = Class::of_secret("S");
    let words = ["[KV_OBJECT_NOT_FOUND] "];
    expect_status(node.mount(&class).await, Code::NotFound, &words);
    node.vault
        .set_secret_with("S", NewSecret::new("v").disabled());
    let words = ["[KV_OBJECT_DISABLED] "];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
    node.vault.set_secret("S", "v");
    let fault = node
        .azure
        .faults()
        .always(Target::vault(VAULT), Effect::error(503));
    let words = ["[KV_UNAVAILABLE] "];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
    node.azure.faults().remove(fault);
    assert_eq!(value(&node, &class).await, "v");
}

#[tokio::test]
async fn keys_certificates_and_histories_come_out_the_same() {
    let node = Node::start_with(&LONG).await;
    node.vault.grant(OBJECT_ID, Permissions::all());
    node.vault.create_key("K", azure_emulator::KeyType::P256);
    node.vault
        .create_certificate("C", &azure_emulator::CertificatePolicy::default())
        .unwrap();
    for value in ["one", "two", "three"] {
        node.vault.set_secret("H", value);
    }
    let class = [
        "objectName: K\nobjectType: key",
        "objectName: C\nobjectType: cert",
        "objectName: C\nobjectType: secret\nobjectAlias: both",
        "objectName: H\nobjectType: secret\nobjectVersionHistory: 3",
    ]
    .iter()
    .fold(Class::new(), |class, object| class.object(object));
    let first = node.mount(&class).await.unwrap();
    let again = node.mount(&class).await.unwrap();
    assert_eq!(files(&first), files(&again));
    assert_eq!(first.object_version, again.object_version);
    assert_eq!(files(&first).len(), 6);
    // The list of versions is asked for each time, so that a new version shows.
    assert_eq!(gets(&node), 6);
    node.vault.set_secret("H", "four");
    let next = node.mount(&class).await.unwrap();
    assert_eq!(files(&next)[3].2, "four");
    assert_eq!(gets(&node), 7);
}

#[tokio::test]
async fn a_time_that_defeats_rotation_is_refused_at_the_start() {
    let node = Node::start().await;
    let folder = tempfile::tempdir().unwrap();
    for (flags, words) in [
        (
            vec!["--cache-ttl", "2m"],
            "error: --cache-ttl: expected less than the driver's --rotation-poll-interval",
        ),
        (
            vec!["--cache-ttl", "60s", "--rotation-poll-interval", "1m"],
            "error: --cache-ttl: expected less than",
        ),
        (
            vec!["--cache-version-ttl", "60s"],
            "error: --cache-version-ttl: expected --cache-ttl beside it",
        ),
    ] {
        let mut command = command(&node.azure, folder.path());
        command.args(["--endpoint", "/nowhere/x.sock"]).args(flags);
        let output = command.output().await.unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && log.contains(words), "{log}");
    }
}
