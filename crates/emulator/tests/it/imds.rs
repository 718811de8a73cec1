//! Tokens for managed identities.

use azure_emulator::{ManagedIdentity, Permissions};
use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, CLIENT, World, world};

const OBJECT: &str = "301f31b4-678d-4ace-a057-c5ddf471a810";
const RESOURCE: &str = "api-version=2018-02-01&resource=https://vault.azure.net";

/// Straight to IMDS, as a program asks that bypasses proxies.
async fn ask(world: &World, query: &str, headers: &[(&'static str, &str)]) -> Answer {
    let url = format!(
        "{}/metadata/identity/oauth2/token?{query}",
        world.emulator.imds_url()
    );
    let client = crate::support::builder(&world.emulator).build().unwrap();
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

const METADATA: &[(&str, &str)] = &[("metadata", "true")];

#[tokio::test]
async fn an_identity_reads_a_secret() {
    let world = world().await;
    let vault = world.emulator.vault("kv1");
    vault.set_secret("OPENAI-API-KEY", "sk");
    vault.grant(OBJECT, Permissions::read());
    let identity = ManagedIdentity::user_assigned(CLIENT, OBJECT).with_resource_id("/sub/id");
    world.emulator.imds().assign(identity);
    for named in [
        format!("&client_id={CLIENT}"),
        format!("&object_id={OBJECT}"),
        "&msi_res_id=/sub/id".to_owned(),
        "&mi_res_id=/SUB/ID".to_owned(),
        String::new(),
    ] {
        let answer = ask(&world, &format!("{RESOURCE}{named}"), METADATA).await;
        assert_eq!(answer.status, 200, "{named}");
        assert!(
            answer
                .json
                .as_object()
                .unwrap()
                .values()
                .all(Value::is_string)
        );
        let token = answer.json["access_token"].as_str().unwrap();
        let secret = world
            .ask_with(token, Method::GET, "/secrets/OPENAI-API-KEY/", None)
            .await;
        assert_eq!(secret.json["value"], "sk");
    }
    let counts = world.emulator.counters().imds();
    assert_eq!((counts.requests, counts.via_proxy), (5, 0));
    assert_eq!(counts.tokens_issued[CLIENT], 5);
    // `ask` makes a client, and so a connection, for each request.
    assert_eq!(world.emulator.counters().connections("169.254.169.254"), 5);
}

#[tokio::test]
async fn refusals() {
    let world = world().await;
    let error = async |query: &str, headers: &[(&'static str, &str)]| {
        let answer = ask(&world, query, headers).await;
        assert_eq!(answer.status, 400, "{query}");
        answer.json["error_description"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(error(RESOURCE, METADATA).await, "Identity not found");
    let imds = world.emulator.imds();
    imds.assign(ManagedIdentity::user_assigned("one", "1"));
    imds.assign(ManagedIdentity::user_assigned("two", "2"));
    assert_eq!(
        error(RESOURCE, METADATA).await,
        "Multiple user assigned identities exist, please specify the clientId / resourceId of the \
         identity in the token request"
    );
    let unknown = format!("{RESOURCE}&client_id=three");
    assert_eq!(error(&unknown, METADATA).await, "Identity not found");
    let named = format!("{RESOURCE}&client_id=one");
    assert_eq!(
        error(&named, &[]).await,
        "Required metadata header not specified"
    );
    let forwarded: &[_] = &[("metadata", "true"), ("x-forwarded-for", "1.2.3.4")];
    assert!(error(&named, forwarded).await.contains("X-Forwarded-For"));
    let no_version = "resource=https://vault.azure.net&client_id=one";
    assert!(error(no_version, METADATA).await.contains("api-version"));
    let no_resource = "api-version=2018-02-01&client_id=one";
    assert!(error(no_resource, METADATA).await.contains("resource"));
    let strange = "api-version=2018-02-01&resource=https://nowhere.test&client_id=one";
    assert!(error(strange, METADATA).await.starts_with("AADSTS500011"));

    imds.assign(ManagedIdentity::system_assigned("system", "3"));
    assert_eq!(
        ask(&world, RESOURCE, METADATA).await.json["client_id"],
        "system"
    );
    assert!(imds.unassign("system"));
    assert_eq!(ask(&world, RESOURCE, METADATA).await.status, 400);
}

#[tokio::test]
async fn requests_through_the_proxy_are_told_apart() {
    let world = world().await;
    world
        .emulator
        .imds()
        .assign(ManagedIdentity::user_assigned(CLIENT, OBJECT));
    let url = format!("http://169.254.169.254/metadata/identity/oauth2/token?{RESOURCE}");
    let answer = world.fetch(&url, METADATA).await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.emulator.counters().imds().via_proxy, 1);
    let log = world.emulator.counters().requests();
    assert_eq!(log[0].host, "169.254.169.254");
    assert!(log[0].via_proxy);
}
