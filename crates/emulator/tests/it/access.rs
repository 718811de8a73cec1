//! Who may do what in a vault, and which tokens it takes.

use std::time::Duration;

use azure_emulator::{Cloud, Permissions};
use reqwest::{Method, header};

use crate::support::{API, CLIENT, TENANT, VAULT, world};

#[tokio::test]
async fn without_a_token_there_is_a_challenge_by_host() {
    let world = world().await;
    let port = world.emulator.https_addr().port();
    world.emulator.vault("gov").set_cloud(Cloud::UsGovernment);
    world.emulator.vault("cn").set_cloud(Cloud::China);
    let cases = [
        (
            VAULT.to_owned(),
            "https://login.microsoftonline.com".to_owned(),
            "https://vault.azure.net".to_owned(),
        ),
        (
            "https://gov.vault.usgovcloudapi.net".to_owned(),
            "https://login.microsoftonline.us".to_owned(),
            "https://vault.usgovcloudapi.net".to_owned(),
        ),
        (
            "https://cn.vault.azure.cn".to_owned(),
            "https://login.chinacloudapi.cn".to_owned(),
            "https://vault.azure.cn".to_owned(),
        ),
        (
            world.emulator.vault_url("kv1"),
            world.emulator.authority_url().to_owned(),
            format!("https://vault.localhost:{port}"),
        ),
    ];
    for (vault, authority, resource) in cases {
        let answer = world.fetch(&format!("{vault}/secrets/a?{API}"), &[]).await;
        assert_eq!(answer.codes(), (401, "Unauthorized", ""));
        assert!(answer.message().starts_with("AKV10000"));
        assert_eq!(
            answer.headers[header::WWW_AUTHENTICATE],
            format!("Bearer authorization=\"{authority}/{TENANT}\", resource=\"{resource}\"")
        );
    }
    assert_eq!(world.emulator.counters().vault("kv1").challenges, 2);
}

#[tokio::test]
async fn nobody_has_access_until_it_is_granted() {
    let world = world().await;
    let vault = world.emulator.vault("kv1");
    vault.set_secret("a", "x");
    let object_id = world
        .emulator
        .entra()
        .application(TENANT, CLIENT)
        .object_id();

    let denied = world.get("/secrets/a/").await;
    assert_eq!(denied.codes(), (403, "Forbidden", "AccessDenied"));
    assert_eq!(
        denied.message(),
        format!(
            "The user, group or application 'appid={CLIENT};oid={object_id};\
             iss=https://sts.windows.net/{TENANT}/' does not have secrets get permission on key \
             vault 'kv1;location=centralus'. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125287"
        )
    );

    vault.set_rbac(true);
    let denied = world.get("/secrets/a/").await;
    assert_eq!(denied.codes(), (403, "Forbidden", "ForbiddenByRbac"));
    assert!(denied.message().contains(
        "\r\nAction: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\nResource: '"
    ));
    assert!(
        denied
            .message()
            .ends_with("\r\nVault: kv1;location=centralus\r\n")
    );

    vault.grant(&object_id, Permissions::default().on_secrets(&["get"]));
    assert_eq!(world.get("/secrets/a/").await.status, 200);
    assert_eq!(world.get("/secrets").await.status, 403);
    assert_eq!(world.get("/keys/a").await.status, 403);
    assert!(vault.revoke(&object_id));
    assert_eq!(world.get("/secrets/a/").await.status, 403);

    vault.allow_everyone();
    assert_eq!(world.get("/secrets/a/").await.status, 200);
    vault.set_firewall(true);
    let denied = world.get("/secrets/a/").await;
    assert_eq!(denied.codes(), (403, "Forbidden", "ForbiddenByFirewall"));
    assert!(denied.message().contains("\r\nClient address: 127.0.0.1"));
    assert_eq!(world.emulator.counters().vault("kv1").forbidden, 6);
}

#[tokio::test]
async fn a_token_is_refused_when_it_is_expired_revoked_or_of_another_tenant() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    vault.set_secret("a", "x");
    let token = world.token().await;
    let get = async |token: &str| {
        world
            .ask_with(token, Method::GET, "/secrets/a/", None)
            .await
    };
    assert_eq!(get(&token).await.status, 200);

    world.emulator.advance_clock(Duration::from_secs(3601));
    let expired = get(&token).await;
    assert_eq!(expired.status, 401);
    assert!(expired.headers.contains_key(header::WWW_AUTHENTICATE));
    world.emulator.reset_clock();
    assert_eq!(get(&token).await.status, 200);

    world.emulator.entra().revoke_tokens();
    assert_eq!(get(&token).await.status, 401);

    let token = world.token().await;
    vault.set_tenant("11111111-2222-3333-4444-555555555555");
    let other = get(&token).await;
    let message = other.message();
    assert!(
        message.starts_with(
            "AKV10032: Invalid issuer. Expected one of \
             https://sts.windows.net/11111111-2222-3333-4444-555555555555/, \
             https://sts.windows.net/f8cdef31-a31e-4b4a-93e4-5f571e91255a/, "
        ) && message.ends_with(&format!(", found https://sts.windows.net/{TENANT}/.")),
        "{message}"
    );
    assert_eq!(get("not.a.token").await.status, 401);
    assert_eq!(world.emulator.counters().vault("kv1").unauthorized, 4);
}

#[tokio::test]
async fn requests_that_the_service_does_not_take() {
    let world = world().await.open();
    let token = world.token().await;
    let bare = world
        .fetch(
            &format!("{VAULT}/secrets/a"),
            &[("authorization", &format!("Bearer {token}"))],
        )
        .await;
    assert_eq!(bare.codes(), (400, "BadParameter", ""));
    for path in [
        "/secrets/a_b",
        "/secrets/a%2fb/",
        "/secrets/%2e%2e%2fkeys",
        "/secrets/a/b/c",
        "/storage",
        "/",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.codes(), (400, "BadParameter", ""), "{path}");
    }
}
