//! The control API does what the handles do.

use azure_emulator::{Emulator, Settings};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{CLIENT, SECRET, TENANT, World, builder, client};

struct Control {
    emulator: Emulator,
    client: Client,
}

impl Control {
    async fn new() -> Self {
        let emulator = Emulator::start(Settings::default()).await.unwrap();
        let client = builder(&emulator).build().unwrap();
        Self { emulator, client }
    }

    /// Sends a request, checks its status, gives the body.
    async fn call(&self, method: Method, path: &str, body: Value, status: u16) -> Value {
        let url = format!("{}{path}", self.emulator.control_url());
        let request = self
            .client
            .request(method, url)
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        let found = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(found, status, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    async fn put(&self, path: &str, body: Value, status: u16) -> Value {
        self.call(Method::PUT, path, body, status).await
    }

    async fn post(&self, path: &str, body: Value, status: u16) -> Value {
        self.call(Method::POST, path, body, status).await
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, Value::Null, 200).await
    }

    async fn delete(&self, path: &str, status: u16) {
        self.call(Method::DELETE, path, Value::Null, status).await;
    }

    fn world(self) -> World {
        World {
            client: client(&self.emulator),
            emulator: self.emulator,
        }
    }
}

#[tokio::test]
async fn a_vault_and_its_client_are_made_and_used() {
    let control = Control::new().await;
    let application = format!("/tenants/{TENANT}/applications/{CLIENT}");
    let known = json!({ "secrets": [SECRET], "objectId": "me" });
    control.put("/vaults/kv1", json!({}), 204).await;
    control.put(&application, known, 204).await;
    let granted = json!({ "secrets": ["get", "list"], "keys": ["all"] });
    control.put("/vaults/kv1/access/me", granted, 204).await;
    let version = control
        .put("/vaults/kv1/secrets/a", json!("plain"), 200)
        .await;
    assert_eq!(version["version"].as_str().unwrap().len(), 32);
    let typed = json!({ "value": "typed", "contentType": "text/plain" });
    control.put("/vaults/kv1/secrets/a", typed, 200).await;
    control.put("/vaults/kv1/keys/k", json!("P-256"), 200).await;
    let policy = json!({ "subject": "CN=c", "key": "P-256", "pem": true });
    control.put("/vaults/kv1/certificates/c", policy, 200).await;
    control
        .put("/vaults/other/secrets/a", json!("x"), 404)
        .await;
    control
        .put("/vaults/kv1/secrets/a", json!({ "valu": "x" }), 422)
        .await;

    let world = control.world();
    assert_eq!(world.get("/secrets/a/").await.json["value"], "typed");
    assert_eq!(world.get("/keys/k").await.json["key"]["crv"], "P-256");
    assert_eq!(world.get("/certificates/c").await.status, 403);
    let control = Control {
        client: builder(&world.emulator).build().unwrap(),
        emulator: world.emulator,
    };
    let counters = control.get("/counters").await;
    assert_eq!(counters["vaults"]["kv1"]["gets"]["secrets/a"], 1);
    assert_eq!(counters["entra"]["tokensIssued"][CLIENT], 3);
    let log = control.get("/requests").await;
    assert_eq!(log[1]["path"], "/secrets/a/?api-version=7.4");
    assert!(log[1]["ended"].as_f64() >= log[1]["began"].as_f64());
    let opened = &counters["connections"]["tlsByHost"];
    assert_eq!(opened["kv1.vault.azure.net"], 1);
    assert!(
        !log.to_string().contains("Bearer"),
        "no authorization in the log"
    );
    control.delete("/counters", 204).await;
    assert_eq!(control.get("/requests").await, json!([]));
}

#[tokio::test]
async fn faults_objects_identities_and_tokens() {
    let control = Control::new().await;
    let fault = json!({
        "target": { "service": "vault", "vault": "kv1", "object": "secrets/a" },
        "effect": { "kind": "throttle", "retryAfter": 7 },
        "times": 1,
    });
    let number = control.post("/faults", fault.clone(), 200).await["number"].clone();
    let listed = control.get("/faults").await[0].clone();
    assert_eq!(listed["effect"], fault["effect"]);
    assert_eq!(listed["number"], number);
    control.delete(&format!("/faults/{number}"), 204).await;
    control.delete(&format!("/faults/{number}"), 404).await;
    let strange = json!({ "target": { "service": "moon" }, "effect": { "kind": "hang" } });
    control.post("/faults", strange, 422).await;
    control.delete("/faults", 204).await;

    let seed = json!({
        "managedIdentities": [{ "clientId": "mi" }],
        "vaults": { "kv1": { "secrets": { "a": [{ "value": "1" }, { "value": "2" }] } } },
    });
    control.post("/seed", seed, 204).await;
    assert_eq!(control.get("/identities").await[0]["clientId"], "mi");
    control.delete("/identities/mi", 204).await;
    let vault = control.emulator.vault("kv1");
    assert_eq!(vault.secret_value("a", None), Ok("2".to_owned()));
    control
        .post("/vaults/kv1/secrets/a/latest/disable", json!({}), 204)
        .await;
    control
        .post("/vaults/kv1/secrets/nope/latest/disable", json!({}), 404)
        .await;
    control.delete("/vaults/kv1/secrets/a", 204).await;
    assert_eq!(control.get("/vaults").await["kv1"]["secrets"], json!([]));
    control.delete("/vaults/kv1", 204).await;
    control.delete("/vaults/kv1", 404).await;

    let wanted = json!({ "namespace": "ns", "name": "app", "audience": "a" });
    let token = control.post("/service-account-tokens", wanted, 200).await;
    assert_eq!(token["token"].as_str().unwrap().split('.').count(), 3);
    for (path, body) in [
        ("/clock/advance", json!({ "seconds": 5 })),
        ("/clock/reset", json!({})),
        ("/tokens/revoke", json!({})),
        ("/tokens/lifetime", json!({ "seconds": 60 })),
    ] {
        control.post(path, body, 204).await;
    }
    assert_eq!(
        control.get("/").await["proxy"],
        control.emulator.proxy_url()
    );
    assert_eq!(control.get("/ca.pem").await, control.emulator.ca_pem());
    assert_eq!(control.get("/health").await, "ok\n");
    control
        .call(Method::GET, "/nowhere", Value::Null, 404)
        .await;
}
