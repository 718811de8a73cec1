//! Who asks the vault, and what is said when Azure does not accept it.

use std::time::Duration;

use azure_emulator::{
    Cloud, DEFAULT_TENANT, Effect, FederatedCredential, ManagedIdentity, Permissions,
    SERVICE_ACCOUNT_ISSUER, Target,
};
use tonic::Code;

use crate::support::class::Class;
use crate::support::workload::chat_app;
use crate::support::{CLIENT_ID, Node, OBJECT_ID, VAULT, expect_status, files};

const AUDIENCE: &str = "api://AzureADTokenExchange";
const APP: &str = "9b1d7f0e-0000-4000-8000-000000000001";
const HOUR: Duration = Duration::from_secs(3600);

/// A class that uses workload identity, mounted by a pod of the service account `namespace`/`name`.
fn workload_class(node: &Node, namespace: &str, name: &str) -> Class {
    let token = node
        .azure
        .service_account_token(namespace, name, AUDIENCE, HOUR);
    Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("clientID", APP)
        .token(AUDIENCE, &token)
}

#[tokio::test]
async fn the_nodes_identity_is_asked_for_by_client_id_once() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    for _ in 0..5 {
        node.mount(&Class::of_secret("S")).await.unwrap();
    }
    let imds = node.azure.counters().imds();
    assert_eq!((imds.requests, imds.via_proxy), (1, 0));
    let vault = node.azure.counters().vault(VAULT);
    // The scope of the public cloud's vaults is documented.
    assert_eq!((vault.challenges, vault.all_gets()), (0, 5));
}

#[tokio::test]
async fn the_machines_own_identity_is_used_where_none_is_named() {
    let node = Node::start().await;
    node.azure.imds().unassign(CLIENT_ID);
    node.azure
        .imds()
        .assign(ManagedIdentity::system_assigned("11111111-a", "22222222-b"));
    node.vault.grant("22222222-b", Permissions::read());
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("useVMManagedIdentity", "true");
    assert_eq!(
        files(&node.mount(&class).await.unwrap()),
        [("S", 0o644, "v")]
    );
}

#[tokio::test]
async fn a_pods_own_identity_is_used_by_its_token() {
    let node = Node::start().await;
    chat_app(&node, APP);
    node.vault.set_secret("S", "v");
    let class = workload_class(&node, "chat", "chat");
    for _ in 0..3 {
        assert_eq!(
            files(&node.mount(&class).await.unwrap()),
            [("S", 0o644, "v")]
        );
    }
    assert_eq!(node.azure.counters().entra().all_token_requests(), 1);
    assert_eq!(node.azure.counters().imds().requests, 0);
}

#[tokio::test]
async fn another_pod_gets_nothing_by_naming_an_identity() {
    let node = Node::start().await;
    chat_app(&node, APP);
    node.vault.set_secret("S", "v");
    node.mount(&workload_class(&node, "chat", "chat"))
        .await
        .unwrap();
    // The token of `chat` is cached now; a pod of another service account must not get it.
    let words = [
        "[ENTRA_NO_FEDERATED_CREDENTIAL] ",
        "AADSTS70021",
        "az identity federated-credential create",
        "--subject system:serviceaccount:evil:default",
        "--audiences api://AzureADTokenExchange",
    ];
    expect_status(
        node.mount(&workload_class(&node, "evil", "default")).await,
        Code::Unauthenticated,
        &words,
    );
}

#[tokio::test]
async fn a_missing_token_names_the_audience_and_the_drivers_setting() {
    let node = Node::start().await;
    let class = Class::of_secret("S").with("clientID", APP);
    for class in [
        class.clone(),
        class.clone().token("api://other", "a.b.c"),
        class.token(AUDIENCE, ""),
    ] {
        let result = node.mount(&class).await;
        expect_status(result, Code::InvalidArgument, &[AUDIENCE]);
    }
    let class = Class::of_secret("S").with("clientID", APP);
    let words = [
        "[TOKEN_AUDIENCE_MISSING] ",
        "spec.tokenRequests",
        "kubectl patch csidriver",
    ];
    expect_status(node.mount(&class).await, Code::InvalidArgument, &words);
    assert_eq!(node.azure.counters().entra().requests, 0);
}

#[tokio::test]
async fn an_unknown_application_is_said_to_be_unknown() {
    let node = Node::start().await;
    let words = [
        "[ENTRA_APP_NOT_FOUND] ",
        "AADSTS700016",
        "client 9b1d7f0e…",
        "Fix: ",
        "az ad sp show",
    ];
    expect_status(
        node.mount(&workload_class(&node, "chat", "chat")).await,
        Code::Unauthenticated,
        &words,
    );
}

#[tokio::test]
async fn an_unknown_tenant_is_said_to_be_unknown() {
    let node = Node::start().await;
    chat_app(&node, APP);
    let class = workload_class(&node, "chat", "chat")
        .with("tenantId", "00000000-0000-0000-0000-00000000000f");
    let words = ["[ENTRA_TENANT_NOT_FOUND] ", "AADSTS90002", "tenantID"];
    expect_status(node.mount(&class).await, Code::Unauthenticated, &words);
}

#[tokio::test]
async fn an_identity_that_the_node_does_not_have_is_named() {
    let node = Node::start().await;
    let class = Class::of_secret("S").with(
        "userAssignedIdentityID",
        "11111111-2222-3333-4444-555555555555",
    );
    let words = [
        "[IDENTITY_NOT_ASSIGNED] ",
        "client 11111111…",
        "Identity not found",
        "isn't assigned to this resource",
        "userAssignedIdentityID",
        "az vmss identity assign",
    ];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
    assert_eq!(node.azure.counters().vault(VAULT).all_gets(), 0);
}

#[tokio::test]
async fn several_identities_and_none_named_is_said_to_be_ambiguous() {
    let node = Node::start().await;
    node.azure
        .imds()
        .assign(ManagedIdentity::user_assigned("33333333-a", "44444444-b"));
    let class = Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("useVMManagedIdentity", "true");
    let words = ["[IDENTITY_AMBIGUOUS] ", "userAssignedIdentityID"];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
}

#[tokio::test]
async fn no_access_policy_says_who_was_refused_and_how_to_allow_it() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    node.vault.revoke(OBJECT_ID);
    let words = [
        "[KV_ACCESS_DENIED] Key Vault \"ai-chat-kv-1763873634\" refused \"get\" on secret \"S\" to client e502213f…",
        "Fix: az keyvault set-policy --name ai-chat-kv-1763873634 --object-id 301f31b4-678d-4ace-a057-c5ddf471a810 \
         --secret-permissions get",
    ];
    expect_status(
        node.mount(&Class::of_secret("S")).await,
        Code::PermissionDenied,
        &words,
    );
    // After the fix the same call succeeds.
    node.vault.grant(OBJECT_ID, Permissions::read());
    node.mount(&Class::of_secret("S")).await.unwrap();
}

#[tokio::test]
async fn no_role_assignment_and_the_firewall_are_told_apart() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    node.vault.set_firewall(true);
    let words = ["[KV_FIREWALL_DENIED] ", "az keyvault network-rule add"];
    expect_status(
        node.mount(&Class::of_secret("S")).await,
        Code::PermissionDenied,
        &words,
    );
    node.vault.set_firewall(false);
    node.vault.set_rbac(true);
    node.vault.revoke(OBJECT_ID);
    let words = [
        "[KV_RBAC_DENIED] ",
        "az role assignment create",
        "--assignee-object-id 301f31b4-678d-4ace-a057-c5ddf471a810",
    ];
    expect_status(
        node.mount(&Class::of_secret("S")).await,
        Code::PermissionDenied,
        &words,
    );
}

#[tokio::test]
async fn a_vault_of_another_tenant_says_so() {
    let node = Node::start().await;
    node.azure
        .entra()
        .add_tenant("99999999-0000-0000-0000-000000000000");
    node.vault.set_secret("S", "v");
    node.vault
        .set_tenant("99999999-0000-0000-0000-000000000000");
    let words = ["[KV_TOKEN_REJECTED] ", "AKV10032", "tenantID"];
    expect_status(
        node.mount(&Class::of_secret("S")).await,
        Code::Unauthenticated,
        &words,
    );
}

#[tokio::test]
async fn the_nodes_identities_have_three_kinds_of_names() {
    let node = Node::start().await;
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n";
    node.azure.imds().unassign(CLIENT_ID);
    node.azure
        .imds()
        .assign(ManagedIdentity::user_assigned(CLIENT_ID, OBJECT_ID).with_resource_id(resource));
    node.azure
        .imds()
        .assign(ManagedIdentity::user_assigned("33333333-a", "44444444-b"));
    node.vault.set_secret("S", "v");
    for id in [CLIENT_ID, resource, &format!("objectID:{OBJECT_ID}")] {
        let class = Class::of_secret("S")
            .with("useVMManagedIdentity", "true")
            .with("userAssignedIdentityID", id);
        assert_eq!(
            files(&node.mount(&class).await.unwrap()),
            [("S", 0o644, "v")],
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_service_principal_comes_from_the_pods_secret() {
    let node = Node::start().await;
    let app = node
        .azure
        .entra()
        .application(DEFAULT_TENANT, APP)
        .with_secret("s3cret~canary");
    node.vault.grant(&app.object_id(), Permissions::read());
    node.vault.revoke(OBJECT_ID);
    node.vault.set_secret("S", "v");
    // The order of precedence: the principal wins over a managed identity that is only implied.
    let class = Class::of_secret("S").secrets(&format!(
        r#"{{"ClientID":"{APP}","clientSecret":"s3cret~canary"}}"#
    ));
    for _ in 0..2 {
        assert_eq!(
            files(&node.mount(&class).await.unwrap()),
            [("S", 0o644, "v")]
        );
    }
    assert_eq!(node.azure.counters().entra().all_token_requests(), 1);
    let wrong = class
        .clone()
        .secrets(&format!(r#"{{"clientid":"{APP}","clientsecret":"wrong"}}"#));
    let words = [
        "[ENTRA_BAD_CLIENT_SECRET] ",
        "AADSTS7000215",
        "client 9b1d7f0e…",
        "nodePublishSecretRef",
    ];
    expect_status(node.mount(&wrong).await, Code::Unauthenticated, &words);
    for half in [
        format!(r#"{{"clientid":"{APP}"}}"#),
        r#"{"clientsecret":"s"}"#.to_owned(),
    ] {
        let words = ["nodePublishSecretRef: expected the keys clientid and clientsecret"];
        expect_status(
            node.mount(&class.clone().secrets(&half)).await,
            Code::InvalidArgument,
            &words,
        );
    }
    // The node's identity wins where it is asked for in so many words, and keys of no meaning are ignored.
    node.vault.grant(OBJECT_ID, Permissions::read());
    node.mount(&wrong.with("useVMManagedIdentity", "true"))
        .await
        .unwrap();
    node.mount(&Class::of_secret("S").secrets(r#"{"unrelated":"x"}"#))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_one_fresh_one_for_every_mount() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    node.mount(&class).await.unwrap();
    node.azure.entra().revoke_tokens();
    for result in futures::future::join_all((0..20).map(|_| node.mount(&class))).await {
        assert_eq!(files(&result.unwrap()), [("S", 0o644, "v")]);
    }
    assert_eq!(node.azure.counters().imds().requests, 2);
    assert!(node.azure.counters().vault(VAULT).unauthorized <= 20);
}

#[tokio::test]
async fn a_vault_that_takes_no_token_costs_one_more_token_and_not_one_per_mount() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::error(401));
    for _ in 0..5 {
        let result = node.mount(&class).await;
        expect_status(result, Code::Unauthenticated, &["[KV_TOKEN_REJECTED] "]);
    }
    assert_eq!(node.azure.counters().imds().requests, 2);
}

/// A class for a pod whose service account token is for these audiences, each with another application that trusts it.
fn class_with_tokens(node: &Node, cloud: &str, audiences: &[&str]) -> Class {
    let tokens: serde_json::Map<_, _> = audiences
        .iter()
        .map(|audience| {
            let token = node
                .azure
                .service_account_token("chat", "chat", audience, HOUR);
            (
                (*audience).to_owned(),
                serde_json::json!({ "token": token }),
            )
        })
        .collect();
    let tokens = serde_json::Value::Object(tokens).to_string();
    Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("clientID", APP)
        .with("cloudName", cloud)
        .with("csi.storage.k8s.io/serviceAccount.tokens", tokens)
}

#[tokio::test]
async fn the_cloud_and_the_operator_decide_which_audience_is_taken() {
    const GOV: &str = "api://AzureADTokenExchangeUSGov";
    const CHINA: &str = "api://AzureADTokenExchangeChina";
    const OWN: &str = "https://own.example/exchange";
    let gov = ("AzureUSGovernmentCloud", Cloud::UsGovernment);
    let china = ("AzureChinaCloud", Cloud::China);
    let public = ("AzurePublicCloud", Cloud::Public);
    for (cloud, flags, sent, taken) in [
        (public, &[][..], &[AUDIENCE, GOV, CHINA][..], AUDIENCE),
        (gov, &[], &[AUDIENCE, GOV, CHINA], GOV),
        (china, &[], &[AUDIENCE, GOV, CHINA], CHINA),
        // As before there was any other.
        (gov, &[], &[AUDIENCE], AUDIENCE),
        (china, &[], &[AUDIENCE, GOV], AUDIENCE),
        (public, &["--token-audience", OWN], &[AUDIENCE, OWN], OWN),
        (gov, &["--token-audience", OWN], &[AUDIENCE, GOV], GOV),
        (
            gov,
            &["--token-audience", OWN, "--token-audience", AUDIENCE],
            &[AUDIENCE, GOV],
            AUDIENCE,
        ),
    ] {
        let node = Node::start_in(cloud.1, flags).await;
        node.vault.set_secret("S", "v");
        let app = node.azure.entra().application(DEFAULT_TENANT, APP);
        let app = app.with_federated(FederatedCredential {
            issuer: SERVICE_ACCOUNT_ISSUER.to_owned(),
            subject: "system:serviceaccount:chat:chat".to_owned(),
            audience: taken.to_owned(),
        });
        node.vault.grant(&app.object_id(), Permissions::read());
        let class = class_with_tokens(&node, cloud.0, sent);
        node.mount(&class).await.unwrap();
        assert_eq!(node.azure.counters().entra().all_token_requests(), 1);
    }
}

#[tokio::test]
async fn a_refused_audience_is_not_followed_by_another_and_is_named_in_the_fix() {
    const GOV: &str = "api://AzureADTokenExchangeUSGov";
    let node = Node::start_in(Cloud::UsGovernment, &[]).await;
    node.vault.set_secret("S", "v");
    chat_app(&node, APP);
    let class = class_with_tokens(&node, "AzureUSGovernmentCloud", &[AUDIENCE, GOV]);
    let words = [
        "[ENTRA_NO_FEDERATED_CREDENTIAL] ",
        "--audiences api://AzureADTokenExchangeUSGov",
    ];
    expect_status(node.mount(&class).await, Code::Unauthenticated, &words);
    assert_eq!(node.azure.counters().entra().all_token_requests(), 1);
}

#[tokio::test]
async fn a_missing_audience_is_the_clouds_own() {
    for (cloud, audience) in [
        ("AzurePublicCloud", "api://AzureADTokenExchange (it sent"),
        (
            "AzureUSGovernmentCloud",
            "api://AzureADTokenExchangeUSGov or api://AzureADTokenExchange (it",
        ),
        (
            "AzureChinaCloud",
            "api://AzureADTokenExchangeChina or api://AzureADTokenExchange (it sent",
        ),
    ] {
        let node = Node::start().await;
        let class = class_with_tokens(&node, cloud, &[]);
        let patch = audience.split(' ').next().unwrap();
        let patch = format!("\"audience\":\"{patch}\"");
        let words = ["[TOKEN_AUDIENCE_MISSING] ", audience, &patch];
        expect_status(node.mount(&class).await, Code::InvalidArgument, &words);
    }
}
