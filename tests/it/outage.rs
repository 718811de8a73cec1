//! What a node does while its vault is out of order, where somebody asked for it: another vault, or what
//! was there before.

use std::time::{Duration, Instant};

use azure_emulator::{DEFAULT_TENANT, Effect, Emulator, Permissions, Settings, Target, Vault};
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::PATIENCE;
use crate::support::{Node, OBJECT_ID, VAULT, expect_status, files};

const AUDIENCE: &str = "api://AzureADTokenExchange";
const HOUR: Duration = Duration::from_secs(3600);
const STALE: [&str; 2] = ["--stale-if-error", "1h"];

async fn value(node: &Node, class: &Class) -> String {
    let response = node.mount(class).await.unwrap();
    files(&response)[0].2.to_owned()
}

fn vault_has(node: &Node, effect: Effect) -> u64 {
    node.azure.faults().always(Target::vault(VAULT), effect)
}

/// The effects that say that a vault is out of order, and answer soon.
fn outages() -> Vec<Effect> {
    vec![
        Effect::error(500),
        Effect::error(503),
        Effect::BadGateway,
        Effect::Drop,
        Effect::throttle_for(100),
    ]
}

#[tokio::test]
async fn without_the_flag_an_outage_is_an_error() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    assert_eq!(value(&node, &class).await, "v");
    vault_has(&node, Effect::error(503));
    let words = ["[KV_UNAVAILABLE] "];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
}

#[tokio::test]
async fn what_was_there_is_served_while_the_vault_is_out_of_order() {
    for effect in outages() {
        let node = Node::start_with(&STALE).await;
        node.vault.set_secret("S", "v");
        for value in ["one", "two", "three"] {
            node.vault.set_secret("H", value);
        }
        let class = Class::of_secret("S")
            .object("objectName: H\nobjectType: secret\nobjectVersionHistory: 2");
        let before = node.mount(&class).await.unwrap();
        let fault = vault_has(&node, effect.clone());
        let after = node.mount(&class).await.unwrap();
        assert_eq!(files(&before), files(&after), "{effect:?}");
        assert_eq!(before.object_version, after.object_version);
        assert!(node.provider.log().contains("served what was there"));
        // One of its objects, in another class, too; and none that was not there.
        assert_eq!(value(&node, &Class::of_secret("S")).await, "v");
        let unknown = node.mount(&Class::of_secret("other")).await;
        assert!(unknown.unwrap_err().message().starts_with("[KV_"));
        node.azure.faults().remove(fault);
    }
}

#[tokio::test]
async fn a_vault_that_hangs_is_out_of_order() {
    let flags = [&STALE[..], &["--mount-timeout", "2s"]].concat();
    let node = Node::start_with(&flags).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    assert_eq!(value(&node, &class).await, "v");
    vault_has(&node, Effect::Hang);
    let start = Instant::now();
    assert_eq!(value(&node, &class).await, "v");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_vault_that_says_no_is_in_order() {
    let node = Node::start_with(&STALE).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    assert_eq!(value(&node, &class).await, "v");
    node.vault.revoke(OBJECT_ID);
    let words = ["[KV_ACCESS_DENIED] "];
    expect_status(node.mount(&class).await, Code::PermissionDenied, &words);
    node.vault.grant(OBJECT_ID, Permissions::read());
    for (status, code, words) in [
        (401, Code::Unauthenticated, "[KV_TOKEN_REJECTED] "),
        (403, Code::PermissionDenied, "[KV_FORBIDDEN] "),
        (404, Code::NotFound, "[KV_"),
    ] {
        let fault = vault_has(&node, Effect::error(status));
        expect_status(node.mount(&class).await, code, &[words]);
        node.azure.faults().remove(fault);
    }
    assert_eq!(value(&node, &class).await, "v");
}

#[tokio::test]
async fn what_the_vault_has_denied_is_not_served_in_an_outage() {
    let node = Node::start_with(&STALE).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    let words = ["[KV_UNAVAILABLE] "];
    for status in [403, 404] {
        assert_eq!(value(&node, &class).await, "v");
        let fault = vault_has(&node, Effect::error(status));
        node.mount(&class).await.unwrap_err();
        node.azure.faults().remove(fault);
        let fault = vault_has(&node, Effect::error(503));
        expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
        node.azure.faults().remove(fault);
    }
    // Somebody else's 404 says nothing.
    assert_eq!(value(&node, &class).await, "v");
    let fault = vault_has(&node, Effect::html(404, "<html>"));
    node.mount(&class).await.unwrap_err();
    node.azure.faults().remove(fault);
    vault_has(&node, Effect::error(503));
    assert_eq!(value(&node, &class).await, "v");
}

#[tokio::test]
async fn a_list_that_the_vault_has_denied_is_not_served_in_an_outage() {
    let node = Node::start_with(&STALE).await;
    for value in ["one", "two"] {
        node.vault.set_secret("H", value);
    }
    let class = Class::new().object("objectName: H\nobjectType: secret\nobjectVersionHistory: 2");
    let words = ["[KV_UNAVAILABLE] "];
    for status in [403, 404] {
        node.mount(&class).await.unwrap();
        // The list comes first, so that nobody asks for the versions.
        let fault = vault_has(&node, Effect::error(status));
        node.mount(&class).await.unwrap_err();
        node.azure.faults().remove(fault);
        let fault = vault_has(&node, Effect::error(503));
        expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
        node.azure.faults().remove(fault);
    }
}

#[tokio::test]
async fn nothing_older_than_allowed_is_served() {
    let node = Node::start_with(&["--stale-if-error", "500ms"]).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    assert_eq!(value(&node, &class).await, "v");
    tokio::time::sleep(Duration::from_millis(600)).await;
    vault_has(&node, Effect::error(503));
    let words = ["[KV_UNAVAILABLE] "];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
}

#[tokio::test]
async fn a_new_pod_of_the_same_application_is_served_and_no_other() {
    let node = Node::start_with(&STALE).await;
    node.vault.set_secret("S", "v");
    for app in ["app", "other"] {
        let registered = node.azure.entra().application(DEFAULT_TENANT, app);
        let registered = registered.with_service_account("chat", app);
        node.vault
            .grant(&registered.object_id(), Permissions::read());
    }
    let pod = |app: &str, account: &str, lifetime| {
        let token = node
            .azure
            .service_account_token("chat", account, AUDIENCE, lifetime);
        Class::of_secret("S")
            .without("userAssignedIdentityID")
            .with("clientID", app)
            .token(AUDIENCE, &token)
    };
    assert_eq!(value(&node, &pod("app", "app", HOUR)).await, "v");
    vault_has(&node, Effect::error(503));
    // A token that is another one, of the same service account.
    assert_eq!(value(&node, &pod("app", "app", 2 * HOUR)).await, "v");
    let words = ["[KV_UNAVAILABLE] "];
    let other = node.mount(&pod("other", "other", HOUR)).await;
    expect_status(other, Code::FailedPrecondition, &words);
    // The right application's name with the wrong token gets no further than Entra ID.
    let words = ["[ENTRA_NO_FEDERATED_CREDENTIAL] "];
    let claiming = node.mount(&pod("app", "other", HOUR)).await;
    expect_status(claiming, Code::Unauthenticated, &words);
    // Nor does the node's identity get what the application has left.
    let managed = node.mount(&Class::of_secret("S")).await;
    expect_status(managed, Code::FailedPrecondition, &["[KV_UNAVAILABLE] "]);
}

fn second_vault(node: &Node) -> Vault {
    let vault = node.azure.vault("second-kv");
    vault.grant(OBJECT_ID, Permissions::read());
    vault.set_secret("S", "second");
    vault
}

fn with_failover() -> Class {
    Class::of_secret("S").with("failoverKeyvaultName", "second-kv")
}

#[tokio::test]
async fn the_failover_vault_serves_while_the_first_is_out_of_order() {
    for effect in outages() {
        let node = Node::start().await;
        node.vault.set_secret("S", "first");
        second_vault(&node);
        assert_eq!(value(&node, &with_failover()).await, "first");
        assert_eq!(node.azure.counters().vault("second-kv").requests, 0);
        let fault = vault_has(&node, effect.clone());
        assert_eq!(value(&node, &with_failover()).await, "second", "{effect:?}");
        node.azure.faults().remove(fault);
    }
}

#[tokio::test]
async fn a_failover_vault_has_time_left_when_the_first_hangs() {
    let node = Node::start_with(&["--mount-timeout", "4s"]).await;
    node.vault.set_secret("S", "first");
    second_vault(&node);
    vault_has(&node, Effect::Hang);
    assert_eq!(value(&node, &with_failover()).await, "second");
}

#[tokio::test]
async fn a_token_that_comes_late_takes_no_time_from_the_first_vault() {
    let node = Node::start_with(&["--mount-timeout", "8s"]).await;
    node.vault.set_secret("S", "first");
    second_vault(&node);
    // Later than half of the time, which is how long the first vault is waited for.
    let late = Effect::delay(Duration::from_secs(5));
    node.azure.faults().always(Target::imds(), late);
    assert_eq!(value(&node, &with_failover()).await, "first");
    assert_eq!(node.azure.counters().vault("second-kv").requests, 0);
}

#[tokio::test]
async fn a_failover_vault_is_no_way_around_a_no() {
    let node = Node::start().await;
    node.vault.set_secret("S", "first");
    second_vault(&node);
    node.vault.revoke(OBJECT_ID);
    let result = node.mount(&with_failover()).await;
    expect_status(result, Code::PermissionDenied, &["[KV_ACCESS_DENIED] "]);
    let missing = with_failover().object("objectName: T\nobjectType: secret");
    node.vault.grant(OBJECT_ID, Permissions::read());
    let result = node.mount(&missing).await;
    expect_status(result, Code::NotFound, &["[KV_OBJECT_NOT_FOUND] "]);
    assert_eq!(node.azure.counters().vault("second-kv").requests, 0);
}

/// A class of another pod, whose cloud is another one: the node's identity gets a token of its own for it.
fn of_another_cloud() -> Class {
    Class::of_secret("S")
        .with("keyvaultName", "gov-kv")
        .with("cloudName", "AzureUSGovernmentCloud")
}

/// A node whose vault hangs, with a token that serves, while it asks IMDS for another one: its successor, or one for
/// another cloud.
async fn hanging_vault_while_a_token_is_asked_for(flags: &[&str], is_renewal: bool) -> Node {
    let settings = Settings {
        // Renewed from 6 s on, and serves until 9 s.
        token_lifetime: Duration::from_secs(if is_renewal { 12 } else { 3600 }),
        ..Settings::default()
    };
    let azure = Emulator::start(settings).await.unwrap();
    let flags = [flags, &["--mount-timeout", "2s"]].concat();
    let node = Node::start_beside(azure, &flags).await;
    node.vault.set_secret("S", "first");
    second_vault(&node);
    node.mount(&Class::of_secret("S")).await.unwrap();
    node.azure.faults().always(Target::imds(), Effect::Hang);
    let asked = async {
        while node.azure.counters().imds().requests < 2 {
            let class = if is_renewal {
                Class::of_secret("S")
            } else {
                of_another_cloud()
            };
            let mount = node.mount(&class);
            _ = tokio::time::timeout(Duration::from_millis(100), mount).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
    vault_has(&node, Effect::Hang);
    node
}

#[tokio::test]
async fn a_token_that_is_asked_for_hides_no_outage_where_another_serves() {
    for is_renewal in [true, false] {
        let node = hanging_vault_while_a_token_is_asked_for(&[], is_renewal).await;
        let words = ["[TIMEOUT] ", "waiting for Key Vault"];
        // At once: the token ends soon.
        let (class, other) = (Class::of_secret("S"), with_failover());
        let (alone, second) = tokio::join!(node.mount(&class), value(&node, &other));
        assert_eq!(second, "second");
        expect_status(alone, Code::FailedPrecondition, &words);
        let node = hanging_vault_while_a_token_is_asked_for(&STALE, is_renewal).await;
        assert_eq!(value(&node, &Class::of_secret("S")).await, "first");
    }
}

#[tokio::test]
async fn when_both_vaults_fail_the_first_ones_failure_is_told() {
    let node = Node::start().await;
    node.vault.set_secret("S", "first");
    second_vault(&node);
    node.azure
        .faults()
        .always(Target::any_vault(), Effect::error(503));
    let words = ["[KV_UNAVAILABLE] Key Vault \"ai-chat-kv-1763873634\""];
    let result = node.mount(&with_failover()).await;
    expect_status(result, Code::FailedPrecondition, &words);
    let class = Class::of_secret("S").with("failoverKeyvaultName", "kv.evil.com/");
    let words = ["[INVALID_PARAMETER] failoverKeyvaultName: expected "];
    expect_status(node.mount(&class).await, Code::InvalidArgument, &words);
}
