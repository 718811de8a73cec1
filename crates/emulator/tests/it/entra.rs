//! The token endpoint and the metadata that clients read.

use std::time::Duration;

use azure_emulator::{FederationErrors, SERVICE_ACCOUNT_ISSUER, TOKEN_EXCHANGE_AUDIENCE};
use reqwest::Method;

use crate::support::{CLIENT, SECRET, TENANT, World, world};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SCOPE: &str = "https://vault.azure.net/.default";

async fn by_assertion(world: &World, assertion: &str) -> (u16, u64, String) {
    refusal(
        world,
        TENANT,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
            ("scope", SCOPE),
        ],
    )
    .await
}

/// Status, AADSTS code (0 for none) and text.
async fn refusal(world: &World, tenant: &str, form: &[(&str, &str)]) -> (u16, u64, String) {
    let url = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token");
    let answer = world.post_form(&url, form).await;
    let code = answer.json["error_codes"][0].as_u64().unwrap_or(0);
    let text = answer.json["error_description"].as_str().unwrap_or("");
    if code != 0 {
        assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
        assert!(text.contains("\r\nTrace ID: "), "{text}");
        assert!(answer.json["correlation_id"].is_string());
    }
    (answer.status.as_u16(), code, text.to_owned())
}

#[tokio::test]
async fn a_pod_exchanges_its_token() {
    let world = world().await.open();
    let token = |name| {
        let hour = Duration::from_secs(3600);
        world
            .emulator
            .service_account_token("ns", name, TOKEN_EXCHANGE_AUDIENCE, hour)
    };
    let app = world.emulator.entra().application(TENANT, CLIENT);
    let (status, code, text) = by_assertion(&world, &token("app")).await;
    assert_eq!((status, code), (400, 70_021));
    assert!(text.contains(&format!(
        "Assertion Issuer: '{SERVICE_ACCOUNT_ISSUER}'. Assertion Subject: \
         'system:serviceaccount:ns:app'. Assertion Audience: '{TOKEN_EXCHANGE_AUDIENCE}'. \
         https://learn.microsoft.com/entra/workload-id/workload-identity-federation\r\n"
    )));

    world
        .emulator
        .entra()
        .set_federation_errors(FederationErrors::Split);
    assert_eq!(by_assertion(&world, &token("app")).await.1, 700_211);
    let app = app.with_service_account("ns", "app");
    assert_eq!(by_assertion(&world, &token("other")).await.1, 700_213);
    assert_eq!(by_assertion(&world, &token("app")).await.0, 200);

    let wrong =
        world
            .emulator
            .service_account_token("ns", "app", "api://other", Duration::from_secs(600));
    assert_eq!(by_assertion(&world, &wrong).await.1, 700_212);
    let old = token("app");
    world.emulator.advance_clock(Duration::from_secs(4000));
    let (status, code, _) = by_assertion(&world, &old).await;
    assert_eq!((status, code), (401, 700_024));
    assert_eq!(by_assertion(&world, "nonsense").await.1, 50_027);
    app.remove_credentials();
    assert_eq!(by_assertion(&world, &token("app")).await.1, 700_211);

    let counts = world.emulator.counters().entra();
    assert_eq!(counts.tokens_issued[CLIENT], 1);
    assert_eq!(counts.token_requests[CLIENT], 8);
}

#[tokio::test]
async fn refusals_by_code() {
    let world = world().await;
    world
        .emulator
        .entra()
        .application(TENANT, CLIENT)
        .with_expired_secret("old");
    let unknown = "99999999-9999-9999-9999-999999999999";
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("scope", SCOPE),
    ];
    let with = |name: &str, value: Option<&'static str>| -> Vec<(&str, &str)> {
        fields
            .into_iter()
            .filter_map(|(field, usual)| match value {
                _ if field != name => Some((field, usual)),
                Some(value) => Some((field, value)),
                None => None,
            })
            .collect()
    };
    let cases = [
        (TENANT, with("", None), 200, 0),
        (unknown, with("", None), 400, 90_002),
        ("contoso", with("", None), 400, 900_023),
        (TENANT, with("client_id", Some("nobody")), 400, 700_016),
        (TENANT, with("client_secret", Some("wrong")), 401, 7_000_215),
        (TENANT, with("client_secret", Some("old")), 401, 7_000_222),
        (TENANT, with("client_secret", None), 401, 7_000_216),
        (TENANT, with("grant_type", None), 400, 900_144),
        (TENANT, with("grant_type", Some("password")), 400, 70_003),
        (TENANT, with("scope", Some("openid")), 400, 1_002_012),
        (
            TENANT,
            with("scope", Some("https://vault.azure.cn/.default")),
            400,
            500_011,
        ),
    ];
    for (tenant, form, status, code) in cases {
        let (found, found_code, text) = refusal(&world, tenant, &form).await;
        assert_eq!((found, found_code), (status, code), "{text}");
    }
}

#[tokio::test]
async fn metadata_for_clients_that_read_it() {
    let world = world().await;
    let base = format!("https://login.microsoftonline.com/{TENANT}");
    let metadata = world
        .fetch(
            &format!("{base}/v2.0/.well-known/openid-configuration"),
            &[],
        )
        .await;
    assert_eq!(
        metadata.json["token_endpoint"],
        format!("{base}/oauth2/v2.0/token")
    );
    let keys = world
        .fetch(&format!("{base}/discovery/v2.0/keys"), &[])
        .await;
    assert_eq!(keys.status, 200);
    let instance = world
        .fetch(
            &format!(
                "https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&\
                 authorization_endpoint={base}/oauth2/v2.0/authorize"
            ),
            &[],
        )
        .await;
    assert_eq!(
        instance.json["tenant_discovery_endpoint"],
        format!("{base}/v2.0/.well-known/openid-configuration")
    );
    let unknown = world
        .fetch(
            "https://login.microsoftonline.com/contoso.com/v2.0/.well-known/openid-configuration",
            &[],
        )
        .await;
    assert_eq!(unknown.json["error_codes"][0], 90_002);
}

#[tokio::test]
async fn a_token_of_the_loopback_authority_opens_the_loopback_vault() {
    let world = world().await.open();
    world.emulator.vault("kv1").set_secret("a", "x");
    let port = world.emulator.https_addr().port();
    let answer = world
        .post_form(
            &format!(
                "{}/{TENANT}/oauth2/v2.0/token",
                world.emulator.authority_url()
            ),
            &[
                ("grant_type", "client_credentials"),
                ("client_id", CLIENT),
                ("client_secret", SECRET),
                ("scope", &format!("https://vault.localhost:{port}/.default")),
            ],
        )
        .await;
    let token = answer.json["access_token"].as_str().unwrap();
    let url = format!(
        "{}/secrets/a/?api-version=7.4",
        world.emulator.vault_url("kv1")
    );
    let secret = world
        .fetch(&url, &[("authorization", &format!("Bearer {token}"))])
        .await;
    assert_eq!(secret.json["value"], "x");
    let refused = world
        .ask_with(token, Method::GET, "/secrets/a/", None)
        .await;
    assert!(refused.message().starts_with("AKV10022: Invalid audience."));
}
