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
