//! What recorded answers of Azure showed that its documentation does not say.

use azure_emulator::{
    ApiVersion, CertificatePolicy, Effect, KeyType, ManagedIdentity, NewSecret, ObjectKind,
    Recovery, SERVICE_ACCOUNT_ISSUER, Seed, TOKEN_EXCHANGE_AUDIENCE, Target,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{CLIENT, SECRET, TENANT, VAULT, World, direct, world};

const TOKENS: &str =
    "https://login.microsoftonline.com/42ddc44e-97dd-4c3b-bf8a-31c785e24c67/oauth2/v2.0/token";

fn ec() -> CertificatePolicy {
    CertificatePolicy {
        subject: "CN=app.test".to_owned(),
        key: KeyType::P256,
        ..CertificatePolicy::default()
    }
}

fn members(json: &Value) -> Vec<&str> {
    json.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// A request to the control API.
async fn control(world: &World, method: Method, path: &str, body: Value) -> (u16, String) {
    let url = format!("{}{path}", world.emulator.control_url());
    let request = direct().build().unwrap();
    let request = request
        .request(method, url)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_pending_certificate_is_there_without_a_certificate() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    let version = vault.create_pending_certificate("web", &ec()).unwrap();
    let pending = world.get("/certificates/web").await;
    assert_eq!(pending.status, 200);
    assert_eq!(
        members(&pending.json),
        ["attributes", "id", "pending", "policy"]
    );
    assert_eq!(pending.json["attributes"]["enabled"], false);
    let of_version = world.get(&format!("/certificates/web/{version}")).await;
    assert_eq!(members(&of_version.json), ["attributes", "id"]);
    assert_eq!(
        world.get("/secrets/web").await.codes(),
        (403, "Forbidden", "SecretDisabled")
    );
    assert_eq!(
        world.get("/keys/web").await.json["attributes"]["enabled"],
        false
    );
    let operation = world.get("/certificates/web/pending").await.json;
    assert_eq!(operation["status"], "inProgress");
    assert_eq!(operation["issuer"]["name"], "Unknown");

    let (status, _) = control(
        &world,
        Method::POST,
        "/vaults/kv1/certificates/web/issue",
        Value::Null,
    )
    .await;
    assert_eq!(status, 200);
    let issued = world.get("/certificates/web").await.json;
    assert_eq!(issued["attributes"]["enabled"], true);
    assert!(issued["cer"].is_string() && issued["sid"].is_string());
    let of_version = world.get(&format!("/certificates/web/{version}")).await;
    assert_eq!(
        members(&of_version.json),
        ["attributes", "cer", "id", "kid", "sid", "x5t"]
    );
    assert_eq!(world.get("/secrets/web").await.status, 200);
    assert!(vault.issue_certificate("web").is_err());
}

#[tokio::test]
async fn a_pending_certificate_is_made_and_merged_over_the_api() {
    let world = world().await.open();
    let policy = json!({
        "key_props": { "kty": "EC", "crv": "P-256" },
        "x509_props": { "subject": "CN=api" },
        "issuer": { "name": "Unknown" },
    });
    let create = json!({ "policy": policy });
    let made = world
        .ask(Method::POST, "/certificates/c/create", Some(create))
        .await;
    assert_eq!(
        (made.status.as_u16(), &made.json["status"]),
        (202, &json!("inProgress"))
    );
    assert!(world.get("/certificates/c").await.json.get("cer").is_none());

    let other = world.emulator.vault("kv2");
    other.create_certificate("other", &ec()).unwrap();
    let stranger = STANDARD.encode(other.certificate_der("other", None).unwrap());
    let merge = async |x5c: &str| {
        let body = json!({ "x5c": [x5c] });
        world
            .ask(Method::POST, "/certificates/c/pending/merge", Some(body))
            .await
    };
    assert_eq!(merge(&stranger).await.codes(), (400, "BadParameter", ""));
    let own = world.emulator.vault("kv1").certificate_der("c", None);
    let merged = merge(&STANDARD.encode(own.unwrap())).await;
    assert_eq!(merged.status, 201, "{merged:?}");
    assert_eq!(merged.json["attributes"]["enabled"], true, "{merged:?}");
    assert_eq!(merge(&stranger).await.status, 404);
    assert_eq!(
        world.get("/certificates/c/pending").await.json["status"],
        "completed"
    );
}

#[tokio::test]
async fn the_secret_of_a_certificate_whose_key_stays_has_no_key() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    for pem in [true, false] {
        let policy = CertificatePolicy {
            exportable: false,
            pem,
            ..ec()
        };
        vault.create_certificate("stays", &policy).unwrap();
        let secret = world.get("/secrets/stays").await.json;
        let value = secret["value"].as_str().unwrap();
        assert_eq!(value.contains("BEGIN CERTIFICATE"), pem);
        assert!(!value.contains("PRIVATE KEY"));
        // What has no key is refused as an import; what is no PFX at all is refused too, so look inside.
        assert!(
            vault
                .import_certificate("again", value.as_bytes(), None)
                .is_err()
        );
        if !pem {
            let pfx = STANDARD.decode(value).unwrap();
            let policy = p12_keystore::Pkcs12ImportPolicy::Relaxed;
            let store = p12_keystore::KeyStore::from_pkcs12(&pfx, "", policy).unwrap();
            assert!(store.private_key_chain().is_none());
            assert_eq!(store.entries_len(), 1);
        }
        let certificate = world.get("/certificates/stays").await.json;
        assert_eq!(certificate["policy"]["key_props"]["exportable"], false);
    }
}

#[tokio::test]
async fn an_unknown_api_version_is_refused_in_azures_words() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    vault.set_secret("a", "x");
    let token = format!("Bearer {}", world.token().await);
    let ask = async |version: &str| {
        let url = format!("{VAULT}/secrets/a?api-version={version}");
        world.fetch(&url, &[("authorization", &token)]).await
    };
    assert_eq!(ask("2025-07-01").await.status, 200);
    assert_eq!(
        ask("7.99").await.message(),
        "The specified version (7.99) is not recognized. Consider using the latest supported version \
         (2026-04-01)."
    );
    vault.set_latest_api_version("7.1".parse::<ApiVersion>().unwrap());
    let refused = ask("2025-07-01").await;
    assert_eq!(refused.codes(), (400, "BadParameter", ""));
    assert_eq!(
        refused.message(),
        "The specified version (2025-07-01) is not recognized. Consider using the latest supported \
         version (7.1)."
    );
    assert_eq!(ask("7.1").await.json["value"], "x");
    let old = ask("7.0").await.json;
    assert!(old["attributes"].get("recoverableDays").is_none(), "{old}");
}

#[tokio::test]
async fn a_vault_without_public_access_tells_who_asks_and_from_where() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    vault.set_secret("a", "x");
    world
        .emulator
        .imds()
        .assign(ManagedIdentity::user_assigned("mi", "mi-object"));
    let imds = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&\
                resource=https://vault.azure.net";
    let token = world.fetch(imds, &[("metadata", "true")]).await.json;
    let token = token["access_token"].as_str().unwrap();
    let get = async || world.ask_with(token, Method::GET, "/secrets/a", None).await;
    let open = get().await;
    let network = open.headers["x-ms-keyvault-network-info"].to_str().unwrap();
    assert_eq!(
        network,
        "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;"
    );

    vault.set_public_network_access(false);
    let refused = get().await;
    assert_eq!(refused.codes(), (403, "Forbidden", "ForbiddenByConnection"));
    let message = refused.message();
    let machine = "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/\
                   MC_azure-emulator/providers/Microsoft.Compute/virtualMachineScaleSets/";
    assert!(
        message.starts_with(
            "Public network access is disabled and request is not from a trusted service nor via an \
             approved private link.\r\nCaller: appid=mi;oid=mi-object;iss=https://sts.windows.net/"
        ) && message.contains(";xms_mirid=/subscriptions/")
            && message.contains(&format!(";xms_az_rid={machine}"))
            && message.ends_with("\r\nVault: kv1;location=centralus"),
        "{message}"
    );
    vault.set_private_endpoint(Some("/subscriptions/s/privateEndpoints/pe".to_owned()));
    let private = get().await;
    assert_eq!(private.status, 200);
    assert_eq!(
        private.headers["x-ms-keyvault-network-info"],
        "conn_type=PrivateLink;private_endpoint=/subscriptions/s/privateEndpoints/pe;\
         addr=127.0.0.1;act_addr_fam=InterNetworkV6;"
    );
}

#[tokio::test]
async fn what_a_vault_says_of_recovery() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    vault.set_secret("a", "x");
    for (retention_days, purge_protection, level) in [
        (90, false, "Recoverable+Purgeable"),
        (90, true, "Recoverable"),
        (7, false, "CustomizedRecoverable+Purgeable"),
        (7, true, "CustomizedRecoverable"),
    ] {
        vault.set_recovery(Recovery {
            retention_days,
            purge_protection,
        });
        let attributes = world.get("/secrets/a").await.json["attributes"].take();
        assert_eq!(attributes["recoveryLevel"], level);
        assert_eq!(attributes["recoverableDays"], retention_days);
    }
    let deleted = world.ask(Method::DELETE, "/secrets/a", None).await.json;
    let days = |name: &str| deleted[name].as_i64().unwrap() / 86_400;
    assert_eq!(days("scheduledPurgeDate") - days("deletedDate"), 7);
    let purge = world.ask(Method::DELETE, "/deletedsecrets/a", None).await;
    assert_eq!(purge.codes(), (403, "Forbidden", "ForbiddenByPolicy"));
}

#[tokio::test]
async fn an_identifier_without_a_version() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    vault.set_secret_with("storage", NewSecret::new("key").versionless());
    let secret = world.get("/secrets/storage").await.json;
    assert_eq!(secret["id"], format!("{VAULT}/secrets/storage"));
    assert_eq!(secret["value"], "key");
}

#[tokio::test]
async fn members_and_headers_come_in_azures_order() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    vault.set_rbac(true);
    vault.set_secret_with(
        "a",
        NewSecret::new("x").content_type("text/plain").tag("b", "c"),
    );
    let request = world
        .client
        .get(format!("{VAULT}/secrets/a?api-version=7.4"))
        .header("x-ms-client-request-id", "mine")
        .bearer_auth(world.token().await);
    let answer = request.send().await.unwrap();
    let names: Vec<_> = answer.headers().keys().map(ToString::to_string).collect();
    assert_eq!(
        names[..13],
        [
            "cache-control",
            "pragma",
            "expires",
            "x-ms-keyvault-region",
            "x-ms-client-request-id",
            "x-ms-request-id",
            "x-ms-keyvault-service-version",
            "x-ms-keyvault-network-info",
            "x-ms-keyvault-rbac-assignment-id",
            "x-ms-keyvault-rbac-cache",
            "x-content-type-options",
            "strict-transport-security",
            "content-type",
        ]
    );
    let text = answer.text().await.unwrap();
    let order = [
        "value",
        "contentType",
        "id",
        "attributes",
        "enabled",
        "created",
        "updated",
        "recoveryLevel",
        "recoverableDays",
        "tags",
    ];
    let places = order.map(|name| text.find(&format!("\"{name}\":")).unwrap());
    assert!(places.is_sorted(), "{text}");
}

#[tokio::test]
async fn entra_names_its_servers_and_gives_cookies() {
    let world = world().await;
    let wrong = world.post_form(TOKENS, &[("grant_type", "x")]).await;
    assert_eq!(
        wrong.headers["x-ms-request-id"],
        wrong.json["trace_id"].as_str().unwrap()
    );
    let good = world
        .post_form(
            TOKENS,
            &[
                ("grant_type", "client_credentials"),
                ("client_id", CLIENT),
                ("client_secret", SECRET),
                ("scope", "https://vault.azure.net/.default"),
            ],
        )
        .await;
    assert_eq!(good.headers["cache-control"], "no-store, no-cache");
    for name in ["x-ms-request-id", "x-ms-ests-server", "p3p"] {
        assert!(good.headers.contains_key(name), "{:?}", good.headers);
    }
    assert_eq!(good.headers.get_all("set-cookie").iter().count(), 3);
    let unknown = TOKENS.replace("42ddc44e", "99999999");
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("scope", "https://vault.azure.net/.default"),
    ];
    let unknown = world.post_form(&unknown, &form).await;
    assert_eq!(unknown.json["error"], "invalid_tenant");
    assert_eq!(unknown.json["error_codes"][0], 90_002);
}

#[tokio::test]
async fn subjects_that_nearly_match_have_errors_of_their_own() {
    let world = world().await;
    world
        .emulator
        .entra()
        .application(TENANT, CLIENT)
        .with_service_account("chat", "chat");
    let ask = async |subject: &str| {
        let claims = json!({ "iss": SERVICE_ACCOUNT_ISSUER, "sub": subject,
                             "aud": TOKEN_EXCHANGE_AUDIENCE, "exp": 4_000_000_000_i64, "nbf": 0 });
        let assertion = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
            ("scope", "https://vault.azure.net/.default"),
        ];
        let answer = world.post_form(TOKENS, &form).await;
        let text = answer.json["error_description"].as_str().unwrap_or("");
        (
            answer.status.as_u16(),
            text.split("\r\n").next().unwrap().to_owned(),
        )
    };
    assert_eq!(ask("system:serviceaccount:chat:chat").await.0, 200);
    assert_eq!(
        ask("system:serviceaccount:chat:Chat").await,
        (
            401,
            "AADSTS7002138: No matching federated identity record found for presented assertion \
             subject 'system:serviceaccount:chat:Chat'. The subject matches with case-insensitive \
             comparison, but not with case-sensitive comparison. Check your federated identity \
             credential Subject, Audience and Issuer against the presented assertion. \
             https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
                .to_owned()
        )
    );
    assert_eq!(
        ask("/eid1/c/pub/t/x/a/y/z").await,
        (
            401,
            "AADSTS7002137: No matching federated identity record found for presented assertion \
             subject '/eid1/c/pub/t/x/a/y/z'. Please make sure the federated identity credential \
             Subject is '/eid1/c/pub/t/{tenantId}/a/y/z'."
                .to_owned()
        )
    );
}

#[tokio::test]
async fn a_seed_and_the_control_api_know_them_all() {
    let world = world().await;
    let vault = json!({
        "allowEveryone": true,
        "location": "southafricanorth",
        "publicNetworkAccess": false,
        "privateEndpoint": "/subscriptions/s/privateEndpoints/pe",
        "recovery": { "retentionDays": 7 },
        "latestApiVersion": "7.4",
        "secrets": { "storage": { "value": "x", "versionless": true } },
        "certificates": {
            "soon": { "pending": { "subject": "CN=soon", "key": "P-256" } },
            "stays": { "subject": "CN=stays", "key": "P-256", "exportable": false }
        }
    });
    let seed = json!({ "vaults": { "kv1": vault } }).to_string();
    let seed = Seed::from_json(seed.as_bytes()).unwrap();
    world.emulator.seed(&seed).unwrap();
    let secret = world.get("/secrets/storage").await;
    assert_eq!(secret.headers["x-ms-keyvault-region"], "southafricanorth");
    assert_eq!(secret.json["id"], format!("{VAULT}/secrets/storage"));
    assert_eq!(secret.json["attributes"]["recoverableDays"], 7);
    assert!(
        world
            .get("/certificates/soon")
            .await
            .json
            .get("cer")
            .is_none()
    );
    let stays = world.get("/certificates/stays").await.json;
    assert_eq!(stays["policy"]["key_props"]["exportable"], false);

    for (body, status) in [
        (json!({ "privateEndpoint": "" }), 204),
        (json!({ "latestApiVersion": "7.1" }), 204),
        (json!({ "latestApiVersion": "8" }), 422),
        (json!({ "recovery": { "retentionDays": 5 } }), 422),
    ] {
        let answer = control(&world, Method::PUT, "/vaults/kv1", body.clone()).await;
        assert_eq!(answer.0, status, "{body}: {answer:?}");
    }
    let url = format!("{VAULT}/secrets/storage?api-version=7.1");
    let bearer = format!("Bearer {}", world.token().await);
    let refused = world.fetch(&url, &[("authorization", &bearer)]).await;
    assert_eq!(refused.codes().2, "ForbiddenByConnection");
}

#[tokio::test]
async fn a_429_has_a_retry_after_only_if_it_is_told_to() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    vault.set_secret("a", "x");
    for (effect, told) in [(Effect::throttle(), false), (Effect::throttle_for(3), true)] {
        world
            .emulator
            .faults()
            .next(1, Target::vault("kv1").object("secrets/a"), effect);
        let answer = world.get("/secrets/a").await;
        assert_eq!(answer.codes(), (429, "Throttled", ""));
        assert_eq!(answer.headers.contains_key("retry-after"), told);
        assert!(answer.headers.contains_key("x-ms-keyvault-network-info"));
    }
    assert!(vault.versions(ObjectKind::Secret, "b").is_empty());
    let none = world.get("/secrets/b/versions").await;
    assert_eq!(none.json, json!({ "value": [], "nextLink": null }));
}
