//! The token proxy of an AKS cluster, and the API server at the same address.

use std::time::Duration;

use azure_emulator::{
    API_SERVER, Emulator, IDENTITY_BINDING_AUDIENCE, Seed, Settings, TOKEN_EXCHANGE_AUDIENCE,
};
use reqwest::header;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::support::{Answer, CLIENT, SECRET, TENANT, World, builder, world};

const HOUR: Duration = Duration::from_secs(3600);

/// Asks whoever answers to this name for a token.
async fn ask(world: &World, server_name: &str, credential: (&str, &str)) -> Answer {
    let address = world.emulator.token_proxy_addr();
    let client = builder(&world.emulator)
        .resolve(server_name, address)
        // In HTTP/2 the URL's host would go before `Host`.
        .http1_only()
        .build()
        .unwrap();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            credential,
            ("scope", "https://vault.azure.net/.default"),
        ])
        .finish();
    let port = address.port();
    let url = format!("https://{server_name}:{port}/{TENANT}/oauth2/v2.0/token");
    let request = client
        .post(url)
        .header(header::HOST, "proxy.test")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    Answer::of(request.send().await.unwrap()).await
}

fn token(world: &World, name: &str, audience: &str) -> String {
    world
        .emulator
        .service_account_token("ns", name, audience, HOUR)
}

#[tokio::test]
async fn a_bound_service_account_gets_a_token_that_opens_the_vault() {
    let world = world().await.open();
    world.emulator.vault("kv1").set_secret("a", "x");
    let seed = format!(
        r#"{{ "tenants": {{ "{TENANT}": {{ "applications": {{ "{CLIENT}": {{
            "identityBindings": [{{ "namespace": "ns", "name": "app" }}] }} }} }} }} }}"#
    );
    let seed = Seed::from_json(seed.as_bytes()).unwrap();
    world.emulator.seed(&seed).unwrap();
    let server_name = world.emulator.token_proxy_server_name().unwrap();
    let assertion = token(&world, "app", IDENTITY_BINDING_AUDIENCE);
    let answer = ask(&world, server_name, ("client_assertion", &assertion)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let access = answer.json["access_token"].as_str().unwrap();
    let secret = world
        .ask_with(access, reqwest::Method::GET, "/secrets/a/", None)
        .await;
    assert_eq!(secret.json["value"], "x");

    let counters = world.emulator.counters();
    assert_eq!(counters.token_proxy().tokens_issued[CLIENT], 1);
    assert_eq!(counters.entra().requests, 0);
    let record = &counters.requests()[0];
    assert_eq!(record.host, "proxy.test");
    assert_eq!(record.server_name.as_deref(), Some(server_name));
    assert_eq!((record.status, record.via_proxy), (Some(200), false));
}

#[tokio::test]
async fn everybody_else_is_refused_as_entra_id_refuses() {
    let world = world().await;
    world
        .emulator
        .entra()
        .application(TENANT, CLIENT)
        .with_service_account("ns", "app")
        .with_identity_binding("ns", "app");
    let server_name = world.emulator.token_proxy_server_name().unwrap();
    for (name, audience, status, code) in [
        ("app", IDENTITY_BINDING_AUDIENCE, 200, 0),
        ("other", IDENTITY_BINDING_AUDIENCE, 400, 70_021),
        ("app", TOKEN_EXCHANGE_AUDIENCE, 401, 700_212),
    ] {
        let assertion = token(&world, name, audience);
        let answer = ask(&world, server_name, ("client_assertion", &assertion)).await;
        let found = answer.json["error_codes"][0].as_u64().unwrap_or(0);
        assert_eq!(
            (answer.status.as_u16(), found),
            (status, code),
            "{answer:?}"
        );
    }
    let answer = ask(&world, server_name, ("client_secret", SECRET)).await;
    assert_eq!(answer.json["error_codes"][0], 7_000_216);
    // What is meant for the token proxy is nothing for Entra ID.
    let assertion = token(&world, "app", IDENTITY_BINDING_AUDIENCE);
    let url = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
    let direct = world
        .post_form(
            &url,
            &[
                ("grant_type", "client_credentials"),
                ("client_id", CLIENT),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", &assertion),
                ("scope", "https://vault.azure.net/.default"),
            ],
        )
        .await;
    assert_eq!(direct.json["error_codes"][0], 700_212);
}

#[tokio::test]
async fn the_api_server_tells_the_clusters_id_and_nothing_else() {
    let world = world().await;
    let assertion = token(&world, "app", IDENTITY_BINDING_AUDIENCE);
    for server_name in [API_SERVER, "a0.ests.aks"] {
        let answer = ask(&world, server_name, ("client_assertion", &assertion)).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json["kind"], "Status");
    }
    for (cluster_id, told) in [(Some("c1"), true), (None, false)] {
        let emulator = Emulator::start(Settings {
            cluster_id: cluster_id.map(str::to_owned),
            ..Settings::default()
        })
        .await
        .unwrap();
        let names = names_of_api_server(&emulator).await;
        assert!(names.contains(&API_SERVER.to_owned()));
        let name = "hcp-kubernetes.c1.svc.cluster.local".to_owned();
        assert_eq!(names.contains(&name), told, "{names:?}");
        assert_eq!(emulator.token_proxy_server_name().is_some(), told);
    }
}

/// The names in the certificate that the API server shows.
async fn names_of_api_server(emulator: &Emulator) -> Vec<String> {
    let address = emulator.token_proxy_addr();
    let client = builder(emulator)
        .resolve(API_SERVER, address)
        .tls_info(true)
        .build()
        .unwrap();
    let url = format!("https://{API_SERVER}:{}/version", address.port());
    let answer = client.get(url).send().await.unwrap();
    let info = answer
        .extensions()
        .get::<reqwest::tls::TlsInfo>()
        .unwrap()
        .peer_certificate()
        .unwrap();
    let (_, certificate) = X509Certificate::from_der(info).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect()
}
