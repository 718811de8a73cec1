//! Values that are kept in memory, where the operator asks for it.

use std::time::Duration;

use azure_emulator::{DEFAULT_TENANT, Effect, NewSecret, Permissions, Target};
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

/// A pod whose volume has its files, so that its next mount is a remount.
async fn filled(node: &Node, class: &Class, uid: &str) -> Class {
    let class = class.clone().with("csi.storage.k8s.io/pod.uid", uid);
    for _ in 0..2 {
        node.mount(&class).await.unwrap();
    }
    class
}

#[tokio::test]
async fn remounts_are_answered_from_memory_and_first_mounts_are_not() {
    let node = Node::start_with(&LONG).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    let pods = [
        filled(&node, &class, "pod-1").await,
        filled(&node, &class, "pod-2").await,
    ];
    assert_eq!(gets(&node), 4);
    node.vault.set_secret("S", "new");
    for pod in &pods {
        assert_eq!(value(&node, pod).await, "v");
    }
    assert_eq!(gets(&node), 4);
    // A pod that starts gets what is there now, and so do the remounts from then on.
    let new = class.clone().with("csi.storage.k8s.io/pod.uid", "pod-3");
    assert_eq!(value(&node, &new).await, "new");
    for pod in &pods {
        assert_eq!(value(&node, pod).await, "new");
    }
    assert_eq!(gets(&node), 5);
    // Another object is asked for, whatever mount it is.
    node.vault.set_secret("T", "w");
    let other = Class::of_secret("T").with("csi.storage.k8s.io/pod.uid", "pod-1");
    assert_eq!(value(&node, &other).await, "w");
    assert_eq!(gets(&node), 6);
}

#[tokio::test]
async fn a_volume_that_cannot_be_told_from_others_is_never_a_remount() {
    let node = Node::start_with(&LONG).await;
    node.vault.set_secret("S", "v");
    for uid in ["", "another"] {
        let mut request = Class::of_secret("S").request();
        request.attributes = request.attributes.replace("0b1c2d3e", uid);
        let before = gets(&node);
        for _ in 0..4 {
            node.provider.mount(request.clone()).await.unwrap();
        }
        assert_eq!(gets(&node) - before, 4, "{uid}");
    }
}

#[tokio::test]
async fn a_value_is_asked_for_again_when_its_time_is_over() {
    let node = Node::start_with(&SHORT).await;
    node.vault.set_secret("S", "v");
    let pod = filled(&node, &Class::of_secret("S"), "pod-1").await;
    assert_eq!(value(&node, &pod).await, "v");
    node.vault.set_secret("S", "new");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(value(&node, &pod).await, "new");
    // What is taken away is gone by then, too.
    node.vault.revoke(OBJECT_ID);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let result = node.mount(&pod).await;
    expect_status(result, Code::PermissionDenied, &["[KV_ACCESS_DENIED] "]);
}

#[tokio::test]
async fn an_exact_version_may_stay_longer() {
    let flags = [&SHORT[..], &["--cache-version-ttl", "1h"]].concat();
    let node = Node::start_with(&flags).await;
    let version = node.vault.set_secret("S", "v");
    let exact = Class::new().object(&format!(
        "objectName: S\nobjectType: secret\nobjectVersion: {version}"
    ));
    let pod = filled(&node, &exact, "pod-1").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(value(&node, &pod).await, "v");
    assert_eq!(gets(&node), 2);
}

#[tokio::test]
async fn a_remount_takes_what_its_application_was_given_and_nothing_else() {
    let node = Node::start_with(&LONG).await;
    node.vault.set_secret("S", "v");
    register_app(&node);
    let class = Class::of_secret("S");
    let good = filled(&node, &of_account(&node, &class, "good", HOUR), "pod-1").await;
    assert_eq!(value(&node, &good).await, "v");
    assert_eq!(gets(&node), 2);
    // The same pod with its next token is the same application.
    let renewed = of_account(&node, &class, "good", 2 * HOUR);
    let renewed = renewed.with("csi.storage.k8s.io/pod.uid", "pod-1");
    assert_eq!(value(&node, &renewed).await, "v");
    assert_eq!(
        (gets(&node), node.azure.counters().entra().requests),
        (2, 2)
    );
    // A volume that is known, and a token that proves nothing.
    let evil = of_account(&node, &class, "evil", HOUR);
    let evil = evil.with("csi.storage.k8s.io/pod.uid", "pod-1");
    let words = ["[ENTRA_NO_FEDERATED_CREDENTIAL] "];
    expect_status(node.mount(&evil).await, Code::Unauthenticated, &words);
    // The node's identity is another one.
    let nodes = class.with("csi.storage.k8s.io/pod.uid", "pod-1");
    assert_eq!(value(&node, &nodes).await, "v");
    assert_eq!(gets(&node), 3);
}

#[tokio::test]
async fn a_token_that_has_expired_earns_nothing_that_is_kept() {
    let flags = ["--cache-ttl", "110s", "--cache-version-ttl", "1h"];
    let node = Node::start_with(&flags).await;
    node.vault.set_secret("S", "v");
    register_app(&node);
    let class = Class::of_secret("S");
    let brief = of_account(&node, &class, "good", Duration::from_secs(2));
    let brief = filled(&node, &brief, "pod-1").await;
    assert_eq!(value(&node, &brief).await, "v");
    assert_eq!(
        (gets(&node), node.azure.counters().entra().requests),
        (2, 1)
    );
    tokio::time::sleep(Duration::from_millis(3100)).await;
    // Entra ID is asked, and has the last word: its clock may differ by minutes.
    node.azure.advance_clock(HOUR);
    let result = node.mount(&brief).await;
    expect_status(result, Code::Unauthenticated, &["[ENTRA_TOKEN_EXPIRED] "]);
    assert_eq!(
        (gets(&node), node.azure.counters().entra().requests),
        (2, 2)
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
    node.mount(&class).await.unwrap();
    let asked = gets(&node);
    let again = node.mount(&class).await.unwrap();
    assert_eq!(files(&first), files(&again));
    assert_eq!(first.object_version, again.object_version);
    assert_eq!(files(&first).len(), 6);
    // The list of versions is asked for each time, so that a new version shows.
    assert_eq!(gets(&node), asked);
    node.vault.set_secret("H", "four");
    let next = node.mount(&class).await.unwrap();
    assert_eq!(files(&next)[3].2, "four");
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

#[tokio::test]
async fn a_history_begins_with_no_older_version_that_is_remembered() {
    let node = Node::start_with(&LONG).await;
    node.vault.grant(OBJECT_ID, Permissions::all());
    let old = node.vault.set_secret("S", "old");
    let class = Class::of_secret("S")
        .object("objectName: S\nobjectType: secret\nobjectAlias: H\nobjectVersionHistory: 2");
    let pod = filled(&node, &class, "pod").await;
    // Two of one second, of which only the vault knows the newest.
    let new = ["one", "two"].map(|value| node.vault.set_secret("S", value));
    for (version, created) in [(&old, 1), (&new[0], 2), (&new[1], 2)] {
        let kind = azure_emulator::ObjectKind::Secret;
        node.vault.set_created(kind, "S", version, created).unwrap();
    }
    let response = node.mount(&pod).await.unwrap();
    let found: Vec<_> = files(&response).iter().map(|file| file.2).collect();
    assert_eq!(found, ["old", "two", "one"]);
}
