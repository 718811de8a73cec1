//! Secrets, keys and certificates.

use azure_emulator::{CertificatePolicy, KeyType, NewSecret, ObjectKind, Settings};
use reqwest::Method;
use serde_json::json;

use crate::support::{VAULT, world, world_with};

#[tokio::test]
async fn a_secret_is_set_and_read_by_either_side() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    let first = vault.set_secret("app", "one");
    let set = world
        .ask(
            Method::PUT,
            "/secrets/app",
            Some(json!({ "value": "two", "contentType": "text/plain", "tags": { "a": "b" } })),
        )
        .await;
    assert_eq!(set.status, 200);
    for path in ["/secrets/app", "/secrets/app/"] {
        let latest = world.get(path).await;
        assert_eq!(latest.json["value"], "two");
        assert_eq!(latest.json["contentType"], "text/plain");
        assert_eq!(latest.json["tags"]["a"], "b");
        assert_eq!(latest.json["attributes"]["enabled"], true);
        assert_eq!(latest.json["id"], set.json["id"]);
    }
    let old = world.get(&format!("/secrets/app/{first}")).await;
    assert_eq!(old.json["value"], "one");
    assert_eq!(old.json["id"], format!("{VAULT}/secrets/app/{first}"));
    assert_eq!(vault.secret_value("app", None), Ok("two".to_owned()));
}

#[tokio::test]
async fn disabled_unknown_and_out_of_date() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    let old = vault.set_secret("app", "one");
    vault.set_secret_with("app", NewSecret::new("two").disabled());
    let disabled = world.get("/secrets/app/").await;
    assert_eq!(disabled.codes(), (403, "Forbidden", "SecretDisabled"));
    assert_eq!(
        disabled.message(),
        "Operation get is not allowed on a disabled secret."
    );
    assert_eq!(world.get(&format!("/secrets/app/{old}")).await.status, 200);
    let enabled = json!({ "attributes": { "enabled": true } });
    let newest = vault.versions(ObjectKind::Secret, "app").pop().unwrap();
    let path = format!("/secrets/app/{newest}");
    let patched = world.ask(Method::PATCH, &path, Some(enabled)).await;
    assert_eq!(patched.status, 200);
    assert!(patched.json.get("value").is_none());
    assert_eq!(world.get("/secrets/app/").await.json["value"], "two");

    let unknown = world.get("/secrets/nope/").await;
    assert_eq!(unknown.codes(), (404, "SecretNotFound", ""));
    assert!(unknown.message().starts_with(
        "A secret with (name/id) nope was not found in this key vault. If you recently deleted"
    ));
    let version = world.get("/secrets/app/latest").await;
    assert!(version.message().contains("(name/id) app/latest "));
    assert_eq!(world.get("/keys/nope").await.codes().1, "KeyNotFound");
    assert_eq!(
        world.get("/certificates/nope").await.codes().1,
        "CertificateNotFound"
    );

    let expired = NewSecret::new("stale").expires(1).not_before(4_000_000_000);
    vault.set_secret_with("app", expired);
    let stale = world.get("/secrets/app/").await;
    assert_eq!(stale.json["value"], "stale");
    assert_eq!(stale.json["attributes"]["exp"], 1);
}

#[tokio::test]
async fn deleted_recovered_purged() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    vault.set_secret("app", "one");
    let value = || Some(json!({ "value": "new" }));
    let deleted = world.ask(Method::DELETE, "/secrets/app", None).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(
        deleted.json["recoveryId"],
        format!("{VAULT}/deletedsecrets/app")
    );
    assert_eq!(world.get("/secrets/app/").await.status, 404);
    assert_eq!(world.get("/deletedsecrets/app").await.status, 200);
    assert_eq!(
        world.get("/deletedsecrets").await.json["value"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let reused = world.ask(Method::PUT, "/secrets/app", value()).await;
    assert_eq!(
        reused.codes(),
        (409, "Conflict", "ObjectIsDeletedButRecoverable")
    );
    let recovered = world
        .ask(Method::POST, "/deletedsecrets/app/recover", None)
        .await;
    assert_eq!(recovered.status, 200);
    assert_eq!(world.get("/secrets/app/").await.json["value"], "one");
    world.ask(Method::DELETE, "/secrets/app", None).await;
    let purged = world.ask(Method::DELETE, "/deletedsecrets/app", None).await;
    assert_eq!(purged.status, 204);
    assert_eq!(world.get("/deletedsecrets/app").await.status, 404);
    assert_eq!(
        world.ask(Method::PUT, "/secrets/app", value()).await.status,
        200
    );
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = world_with(Settings {
        page_size: 4,
        ..Settings::default()
    })
    .await
    .open();
    let vault = world.emulator.vault("kv1");
    for number in 0..10 {
        vault.set_secret("many", number.to_string());
        vault.set_secret(&format!("s{number}"), "x");
    }
    let token = world.token().await;
    for (path, total, sizes) in [
        ("/secrets/many/versions", 10, vec![4, 4, 2]),
        ("/secrets", 11, vec![4, 4, 3]),
        ("/secrets?maxresults=3", 11, vec![3, 3, 3, 2]),
        ("/secrets/none/versions", 0, vec![0]),
    ] {
        let mut page = world.ask_with(&token, Method::GET, path, None).await;
        let mut found = Vec::new();
        let mut ids = std::collections::BTreeSet::new();
        loop {
            let items = page.json["value"].as_array().unwrap().clone();
            found.push(items.len());
            ids.extend(items.iter().map(|item| item["id"].to_string()));
            assert!(items.iter().all(|item| item.get("value").is_none()));
            let Some(next) = page.json["nextLink"].as_str().map(str::to_owned) else {
                break;
            };
            assert!(next.starts_with(&format!("{VAULT}:443/secrets")), "{next}");
            assert!(next.contains("&$skiptoken=eyJOZXh0TWFya2VyIjoi"), "{next}");
            assert_eq!(next.contains("maxresults"), path.contains("maxresults"));
            let bearer = format!("Bearer {token}");
            page = world.fetch(&next, &[("authorization", &bearer)]).await;
        }
        assert_eq!((ids.len(), &found), (total, &sizes), "{path}");
    }
    for refused in ["0", "26", "x"] {
        let path = format!("/secrets?maxresults={refused}");
        assert_eq!(world.get(&path).await.codes().1, "BadParameter");
    }
    let unreadable = world.get("/secrets?$skiptoken=4").await;
    assert_eq!(unreadable.codes().1, "BadParameter");
    assert_eq!(
        world.emulator.counters().vault("kv1").lists["secrets/many/versions"],
        3
    );
}

#[tokio::test]
async fn keys_are_made_imported_and_served_as_they_are() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    for (body, member, value) in [
        (json!({ "kty": "RSA" }), "e", "AQAB"),
        (json!({ "kty": "RSA", "key_size": 3072 }), "kty", "RSA"),
        (json!({ "kty": "EC" }), "crv", "P-256"),
        (json!({ "kty": "EC", "crv": "P-521" }), "crv", "P-521"),
        (json!({ "kty": "EC-HSM", "crv": "P-256K" }), "kty", "EC-HSM"),
    ] {
        let made = world.ask(Method::POST, "/keys/k/create", Some(body)).await;
        assert_eq!(made.json["key"][member], value, "{made:?}");
        let kid = made.json["key"]["kid"].as_str().unwrap();
        let read = world.get(kid.strip_prefix(VAULT).unwrap()).await;
        assert_eq!(read.json["key"], made.json["key"]);
        assert!(read.json["key"].get("d").is_none());
    }
    let versions = world.get("/keys/k/versions").await;
    assert_eq!(versions.json["value"].as_array().unwrap().len(), 5);
    assert!(versions.json["value"][0]["kid"].is_string());
    let change = json!({ "key_ops": ["verify"], "tags": { "a": "b" } });
    let changed = world.ask(Method::PATCH, "/keys/k", Some(change)).await;
    assert_eq!(changed.json["key"]["key_ops"], json!(["verify"]));
    assert_eq!(world.get("/keys/k").await.json["tags"]["a"], "b");
    let imported = json!({ "key": { "kty": "RSA", "n": "AQ", "e": "AQAB", "d": "AQ" } });
    let made = world.ask(Method::PUT, "/keys/i", Some(imported)).await;
    assert_eq!(made.json["key"]["n"], "AQ");
    let lacking = json!({ "key": { "kty": "EC", "crv": "P-256" } });
    let refused = world.ask(Method::PUT, "/keys/i", Some(lacking)).await;
    assert_eq!(refused.codes(), (400, "BadParameter", ""));
    vault.set_key("odd", json!({ "kty": "OKP" }).as_object().unwrap().clone());
    assert_eq!(world.get("/keys/odd").await.json["key"]["kty"], "OKP");
    vault
        .set_enabled(ObjectKind::Key, "odd", None, false)
        .unwrap();
    let disabled = world.get("/keys/odd").await;
    assert_eq!(disabled.status, 200);
    assert_eq!(disabled.json["attributes"]["enabled"], false);
    assert_eq!(
        vault.key(&vault.name().replace("kv1", "k"), None).unwrap()["crv"],
        "P-256K"
    );
    assert_eq!(vault.create_key("p", KeyType::P384).len(), 32);
}

#[tokio::test]
async fn a_certificate_is_also_a_key_and_a_secret() {
    let world = world().await.open();
    let vault = world.emulator.vault("kv1");
    let policy = |key, pem| CertificatePolicy {
        subject: "CN=app.test, O=Test".to_owned(),
        dns_names: vec!["app.test".to_owned(), "127.0.0.1".to_owned()],
        key,
        pem,
        ..CertificatePolicy::default()
    };
    for (name, key, pem, content_type) in [
        ("rsa", KeyType::Rsa2048, false, "application/x-pkcs12"),
        ("rsa-pem", KeyType::Rsa4096, true, "application/x-pem-file"),
        ("ec", KeyType::P256, false, "application/x-pkcs12"),
        ("ec-pem", KeyType::P384, true, "application/x-pem-file"),
    ] {
        let version = vault.create_certificate(name, &policy(key, pem)).unwrap();
        let certificate = world.get(&format!("/certificates/{name}")).await.json;
        assert_eq!(
            certificate["sid"],
            format!("{VAULT}/secrets/{name}/{version}")
        );
        let secret = world.get(&format!("/secrets/{name}/{version}")).await.json;
        assert_eq!(secret["contentType"], content_type);
        assert_eq!(secret["kid"], certificate["kid"]);
        assert_eq!(secret["managed"], true);
        let of_key = world.get(&format!("/keys/{name}")).await.json;
        assert_eq!(of_key["key"]["kid"], certificate["kid"]);

        // What one vault gives out another takes in: the same certificate and the same key.
        let value = secret["value"].as_str().unwrap();
        let again = world.emulator.vault("kv2");
        again
            .import_certificate(name, value.as_bytes(), None)
            .unwrap();
        assert_eq!(
            again.certificate_der(name, None),
            vault.certificate_der(name, None)
        );
        assert_eq!(again.key(name, None), vault.key(name, None));
    }
    assert!(
        vault
            .create_certificate("no", &policy(KeyType::P521, false))
            .is_err()
    );

    world.ask(Method::DELETE, "/certificates/ec", None).await;
    assert_eq!(world.get("/secrets/ec/").await.status, 404);
    assert_eq!(world.get("/keys/ec").await.status, 404);
    vault.recover(ObjectKind::Certificate, "ec").unwrap();
    assert_eq!(world.get("/secrets/ec/").await.status, 200);
    let disable = json!({ "attributes": { "enabled": false } });
    world
        .ask(Method::PATCH, "/certificates/ec", Some(disable))
        .await;
    assert_eq!(world.get("/certificates/ec").await.status, 200);
    assert_eq!(world.get("/secrets/ec/").await.codes().2, "SecretDisabled");
}

#[tokio::test]
async fn certificates_over_the_api() {
    let world = world().await.open();
    let policy = json!({
        "key_props": { "kty": "EC", "crv": "P-256" },
        "secret_props": { "contentType": "application/x-pem-file" },
        "x509_props": { "subject": "CN=api" },
        "issuer": { "name": "Self" },
    });
    let body = json!({ "policy": policy });
    let pending = world
        .ask(Method::POST, "/certificates/c/create", Some(body))
        .await;
    assert_eq!(pending.status, 202);
    assert_eq!(pending.json["status"], "inProgress");
    assert_eq!(
        world.get("/certificates/c/pending").await.json["status"],
        "completed"
    );
    let policy = world.get("/certificates/c/policy").await.json;
    assert_eq!(policy["x509_props"]["subject"], "CN=api");
    let pem = world.get("/secrets/c/").await.json["value"].clone();
    let body = json!({ "value": pem });
    let imported = world
        .ask(Method::POST, "/certificates/i/import", Some(body))
        .await;
    assert_eq!(imported.json["policy"]["issuer"]["name"], "Unknown");
    assert_eq!(
        imported.json["cer"],
        world.get("/certificates/c").await.json["cer"]
    );
    let list = world.get("/certificates").await.json;
    assert_eq!(list["value"].as_array().unwrap().len(), 2);
    assert_eq!(list["value"][0]["subject"], "CN=api");
    let nonsense = Some(json!({ "value": "bm90IGEgcGZ4" }));
    let refused = world
        .ask(Method::POST, "/certificates/n/import", nonsense)
        .await;
    assert_eq!(refused.codes(), (400, "BadParameter", ""));
    let eternal = json!({ "policy": { "x509_props": { "subject": "CN=x",
                                                       "validity_months": 4_000_000_000_u32 } } });
    let refused = world
        .ask(Method::POST, "/certificates/n/create", Some(eternal))
        .await;
    assert_eq!(refused.codes(), (400, "BadParameter", ""));
    let foreign = json!({ "policy": { "issuer": { "name": "DigiCert" },
                                      "x509_props": { "subject": "CN=x" } } });
    let refused = world
        .ask(Method::POST, "/certificates/n/create", Some(foreign))
        .await;
    assert_eq!(refused.codes(), (400, "BadParameter", ""));
}
