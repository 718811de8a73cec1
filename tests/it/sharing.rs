//! How little a node asks: what many mounts have in common is asked for once, also when it fails. Counts,
//! not times, so that they hold on any machine.

use std::time::Duration;

use azure_emulator::{DEFAULT_TENANT, Effect, Emulator, Permissions, Settings, Target};
use futures::future::join_all;
use tonic::Code;

use crate::support::class::Class;
use crate::support::{Node, OBJECT_ID, VAULT, expect_status, files};

const HOST: &str = "ai-chat-kv-1763873634.vault.azure.net";
const ENTRA: &str = "login.microsoftonline.com";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const HOUR: Duration = Duration::from_secs(3600);

/// A class with so many secrets, which the vault gets.
fn class_of(node: &Node, objects: usize) -> Class {
    (0..objects).fold(Class::new(), |class, n| {
        node.vault.set_secret(&format!("S{n}"), "v");
        class.object(&format!("objectName: S{n}\nobjectType: secret"))
    })
}

/// The class for a pod of its own service account, whose application may read from the vault.
fn of_pod(node: &Node, class: &Class, pod: usize) -> Class {
    let (app, account) = (format!("app-{pod}"), format!("account-{pod}"));
    let registered = node.azure.entra().application(DEFAULT_TENANT, &app);
    let registered = registered.with_service_account("chat", &account);
    node.vault
        .grant(&registered.object_id(), Permissions::read());
    let token = node
        .azure
        .service_account_token("chat", &account, AUDIENCE, HOUR);
    class
        .clone()
        .without("userAssignedIdentityID")
        .with("clientID", app)
        .token(AUDIENCE, &token)
}

async fn http1() -> Node {
    let settings = Settings {
        http2: false,
        ..Settings::default()
    };
    let flags = ["--shared-reads=false"];
    Node::start_beside(Emulator::start(settings).await.unwrap(), &flags).await
}

/// Mounts everything at once.
async fn storm(node: &Node, classes: &[Class]) {
    for result in join_all(classes.iter().map(|class| node.mount(class))).await {
        assert!(!result.unwrap().files.is_empty());
    }
}

#[tokio::test]
async fn a_node_that_starts_asks_for_one_token_per_identity_and_connects_once() {
    let node = Node::start().await;
    let class = class_of(&node, 10);
    let pods: Vec<_> = (0..40).map(|pod| of_pod(&node, &class, pod)).collect();
    storm(&node, &pods).await;
    let counters = node.azure.counters();
    let cold = counters.snapshot();
    assert_eq!(cold.entra.all_token_requests(), 40);
    assert_eq!(cold.entra.requests, 40, "nothing but tokens");
    assert_eq!(cold.vaults[VAULT].challenges, 0);
    assert_eq!(cold.vaults[VAULT].requests, 400);
    // Two or three where the first one's streams were used up.
    assert!(counters.connections(HOST) <= 3, "{:?}", cold.connections);
    assert!(counters.connections(ENTRA) <= 2, "{:?}", cold.connections);
    let connections = cold.connections.tcp;
    storm(&node, &pods).await;
    let rotated = counters.snapshot();
    assert_eq!(rotated.entra.requests, 40);
    assert_eq!(rotated.vaults[VAULT].requests, 800);
    assert_eq!(rotated.connections.tcp, connections);
}

#[tokio::test]
async fn a_node_that_starts_asks_once_for_its_own_identity() {
    let node = Node::start().await;
    let class = class_of(&node, 10);
    storm(&node, &vec![class; 40]).await;
    let counts = node.azure.counters().snapshot();
    assert_eq!((counts.imds.requests, counts.entra.requests), (1, 0));
    assert_eq!(counts.connections.imds, 1);
    // Instead of 400.
    assert!(counts.vaults[VAULT].requests <= 30);
}

#[tokio::test]
async fn connections_without_http2_are_bounded_and_used_again() {
    let node = http1().await;
    let class = class_of(&node, 200);
    storm(&node, &vec![class.clone(); 5]).await;
    let counters = node.azure.counters();
    let first = counters.connections(HOST);
    assert!((2..=80).contains(&first), "{first}");
    storm(&node, &vec![class; 5]).await;
    assert!(counters.connections(HOST) <= 80);
    assert!(counters.most_connections(HOST) <= 80);
    assert_eq!(counters.vault(VAULT).all_gets(), 2000);
}

#[tokio::test]
async fn one_mount_after_the_other_uses_one_connection() {
    for node in [http1().await, Node::start().await] {
        let class = class_of(&node, 1);
        for _ in 0..10 {
            node.mount(&class).await.unwrap();
        }
        assert_eq!(node.azure.counters().connections(HOST), 1);
    }
}

#[tokio::test]
async fn a_failing_token_service_is_asked_once_for_everyone_who_waits() {
    let node = Node::start().await;
    let class = class_of(&node, 1);
    let fault = node
        .azure
        .faults()
        .always(Target::imds(), Effect::error(500));
    for round in 1..=3 {
        for result in join_all((0..40).map(|_| node.mount(&class))).await {
            expect_status(result, Code::FailedPrecondition, &["[IMDS_FAILED] "]);
        }
        // The request and two more, each a step later.
        assert_eq!(node.azure.counters().imds().requests, 3 * round);
    }
    node.azure.faults().remove(fault);
    node.mount(&class).await.unwrap();
    assert_eq!(node.azure.counters().imds().requests, 10);
    assert_eq!(node.azure.counters().vault(VAULT).requests, 1);
}

#[tokio::test]
async fn a_refused_identity_is_asked_for_once_by_everyone_who_waits() {
    let node = Node::start().await;
    let class = class_of(&node, 1);
    let pod = of_pod(&node, &class, 0).with("clientID", "nobody");
    for result in join_all((0..40).map(|_| node.mount(&pod))).await {
        expect_status(result, Code::Unauthenticated, &["[ENTRA_APP_NOT_FOUND] "]);
    }
    // One more where somebody came after the first answer.
    let asked = node.azure.counters().entra().all_token_requests();
    assert!(asked <= 2, "{asked}");
    // Another identity's failure is none of its business.
    let other = of_pod(&node, &class, 1);
    node.mount(&other).await.unwrap();
    let registered = node.azure.entra().application(DEFAULT_TENANT, "nobody");
    let registered = registered.with_service_account("chat", "account-0");
    node.vault
        .grant(&registered.object_id(), Permissions::read());
    node.mount(&pod).await.unwrap();
}

#[tokio::test]
async fn a_pod_with_another_token_gets_no_token_of_others() {
    let node = Node::start().await;
    let class = class_of(&node, 1);
    let rightful = of_pod(&node, &class, 0);
    node.mount(&rightful).await.unwrap();
    let strange = node
        .azure
        .service_account_token("evil", "account-0", AUDIENCE, HOUR);
    let claiming = rightful.clone().token(AUDIENCE, &strange);
    let words = ["[ENTRA_NO_FEDERATED_CREDENTIAL] "];
    let gets = node.azure.counters().vault(VAULT).all_gets();
    expect_status(node.mount(&claiming).await, Code::Unauthenticated, &words);
    assert_eq!(node.azure.counters().vault(VAULT).all_gets(), gets);
    // The same pod with a renewed token is the same to Entra ID, but proves it anew.
    let renewed = node
        .azure
        .service_account_token("chat", "account-0", AUDIENCE, HOUR * 2);
    node.mount(&rightful.token(AUDIENCE, &renewed))
        .await
        .unwrap();
    assert_eq!(node.azure.counters().entra().all_token_requests(), 3);
}

/// One value after the other, each as a new version.
fn set(node: &Node, value: &str) {
    node.vault.set_secret("S", value);
}

async fn value(node: &Node, class: &Class) -> String {
    let response = node.mount(class).await.unwrap();
    files(&response)[0].2.to_owned()
}

/// Waits until the vault has been asked so often.
async fn asked(node: &Node, requests: u64) {
    while node.azure.counters().vault(VAULT).requests < requests {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn no_pod_gets_what_was_there_before_it_asked() {
    let node = Node::start().await;
    set(&node, "0");
    let class = Class::of_secret("S");
    value(&node, &class).await;
    let slow = Effect::delay(Duration::from_millis(150));
    node.azure.faults().always(Target::vault(VAULT), slow);
    // Each round a change, and pods that start after it while requests of those before are under way.
    let mut mounts = Vec::new();
    for round in 1..=20 {
        set(&node, &round.to_string());
        for _ in 0..3 {
            let (mut client, request) = (node.provider.client(), class.request());
            mounts.push(tokio::spawn(async move {
                let response = client.mount(request).await.unwrap().into_inner();
                let got: u32 = files(&response)[0].2.parse().unwrap();
                assert!(got >= round, "{got} for one that came after {round}");
            }));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for mount in mounts {
        mount.await.unwrap();
    }
    // Of 60 that would have asked.
    let gets = node.azure.counters().vault(VAULT).all_gets();
    assert!(gets < 30, "{gets}");
}

#[tokio::test]
async fn service_accounts_of_one_application_share_and_each_earns_its_own_token() {
    let node = Node::start().await;
    set(&node, "v");
    let app = node.azure.entra().application(DEFAULT_TENANT, "app");
    let mut app = app;
    for account in 0..20 {
        app = app.with_service_account("chat", &format!("account-{account}"));
    }
    node.vault.grant(&app.object_id(), Permissions::read());
    let of_account = |account: &str| {
        let token = node
            .azure
            .service_account_token("chat", account, AUDIENCE, HOUR);
        Class::of_secret("S")
            .without("userAssignedIdentityID")
            .with("clientID", "app")
            .token(AUDIENCE, &token)
    };
    let slow = Effect::delay(Duration::from_millis(300));
    node.azure.faults().always(Target::vault(VAULT), slow);
    let good: Vec<_> = (0..20)
        .map(|n| of_account(&format!("account-{n}")))
        .collect();
    let evil = of_account("stranger");
    let (good, evil) = tokio::join!(
        join_all(good.iter().map(|pod| node.mount(pod))),
        node.mount(&evil)
    );
    for answer in good {
        assert_eq!(files(&answer.unwrap())[0].2, "v");
    }
    // One that claims to be the application gets nothing of what is read meanwhile.
    let words = ["[ENTRA_NO_FEDERATED_CREDENTIAL] "];
    expect_status(evil, Code::Unauthenticated, &words);
    let counts = node.azure.counters().snapshot();
    assert_eq!(counts.entra.all_token_requests(), 21);
    assert!(counts.vaults[VAULT].requests <= 3);
}

#[tokio::test]
async fn who_has_not_earned_it_gets_nothing_of_what_is_read_meanwhile() {
    let node = Node::start().await;
    set(&node, "v");
    let register = |name: &str| {
        let app = node.azure.entra().application(DEFAULT_TENANT, name);
        app.with_service_account("chat", "account-0").object_id()
    };
    node.vault.grant(&register("app"), Permissions::read());
    register("other");
    let token = |namespace: &str, lifetime| {
        let azure = &node.azure;
        azure.service_account_token(namespace, "account-0", AUDIENCE, lifetime)
    };
    let claims = |client: &str, token: &str| {
        Class::of_secret("S")
            .without("userAssignedIdentityID")
            .with("clientID", client)
            .token(AUDIENCE, token)
    };
    let good = token("chat", HOUR);
    let rightful = claims("app", &good);
    let of_node = Class::of_secret("S").with("userAssignedIdentityID", "app");
    let elsewhere = rightful
        .clone()
        .with("tenantId", "00000000-0000-0000-0000-00000000000f");
    let for_others = node
        .azure
        .service_account_token("chat", "account-0", "https://others", HOUR);
    let intruders = [
        (claims("app", &for_others), "[ENTRA_"),
        (
            claims("app", &token("evil", HOUR)),
            "[ENTRA_NO_FEDERATED_CREDENTIAL] ",
        ),
        (elsewhere, "[ENTRA_TENANT_NOT_FOUND] "),
        (of_node, "[IDENTITY_NOT_ASSIGNED] "),
        // It has earned a token for the vault, and has no right there.
        (claims("other", &good), "[KV_ACCESS_DENIED] "),
    ];
    let slow = Effect::delay(Duration::from_millis(300));
    node.azure.faults().always(Target::vault(VAULT), slow);
    let (good, results) = tokio::join!(
        join_all((0..5).map(|_| node.mount(&rightful))),
        join_all(intruders.iter().map(|(intruder, _)| node.mount(intruder)))
    );
    for answer in good {
        assert_eq!(files(&answer.unwrap())[0].2, "v");
    }
    for (result, (_, reason)) in results.into_iter().zip(&intruders) {
        let refused = result.expect_err(reason);
        assert!(refused.message().starts_with(reason), "{refused}");
    }
}

#[tokio::test]
async fn what_is_denied_is_asked_for_by_each_and_what_is_not_there_once() {
    let node = Node::start().await;
    set(&node, "v");
    value(&node, &Class::of_secret("S")).await;
    let slow = Effect::delay(Duration::from_millis(100));
    node.azure.faults().always(Target::vault(VAULT), slow);
    let storm = |name: &'static str| {
        let class = Class::of_secret(name);
        let node = &node;
        async move { join_all((0..10).map(|_| node.mount(&class))).await }
    };
    let before = node.azure.counters().vault(VAULT).requests;
    for result in storm("Nowhere").await {
        expect_status(result, Code::NotFound, &["[KV_OBJECT_NOT_FOUND] "]);
    }
    let after = node.azure.counters().vault(VAULT).requests;
    assert!(after - before <= 3, "{}", after - before);
    node.vault.revoke(OBJECT_ID);
    for result in storm("S").await {
        expect_status(result, Code::PermissionDenied, &["[KV_ACCESS_DENIED] "]);
    }
    let requests = node.azure.counters().vault(VAULT).requests - after;
    assert!(requests >= 10, "{requests}");
}

#[tokio::test]
async fn a_request_that_hangs_holds_no_other_mount() {
    let node = Node::start().await;
    set(&node, "v");
    let class = Class::of_secret("S");
    value(&node, &class).await;
    node.azure.faults().next(
        1,
        Target::vault(VAULT),
        Effect::delay(Duration::from_secs(12)),
    );
    let hanging = async {
        let answer = node.mount(&class).await;
        files(&answer.unwrap())[0].2.to_owned()
    };
    let others = async {
        asked(&node, 2).await;
        for answer in join_all((0..10).map(|_| node.mount(&class))).await {
            assert_eq!(files(&answer.unwrap())[0].2, "v");
        }
    };
    let (value, ()) = tokio::join!(hanging, others);
    assert_eq!(value, "v");
    // The one that hung, and another one for all.
    let requests = node.azure.counters().vault(VAULT).requests;
    assert!((3..=4).contains(&requests), "{requests}");
}

#[tokio::test]
async fn a_pod_that_goes_away_takes_no_others_answer_along() {
    let node = Node::start().await;
    set(&node, "v");
    let class = Class::of_secret("S");
    value(&node, &class).await;
    let slow = Effect::delay(Duration::from_millis(300));
    node.azure.faults().always(Target::vault(VAULT), slow);
    let leaders = tokio::time::timeout(Duration::from_millis(150), node.mount(&class));
    let (gone, answer) = tokio::join!(leaders, node.mount(&class));
    assert!(gone.is_err());
    assert_eq!(files(&answer.unwrap())[0].2, "v");
}
